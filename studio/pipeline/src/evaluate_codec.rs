//! How near a codec's sound is to its original, level by level, beside Opus at the same bit rate on the same clips.

use std::fmt;

use musicrl_codec::{
    audio::Audio,
    distance::{log_mel_distance, si_sdr},
    neural::NeuralCodec,
    opus::{BITRATE_RANGE_BPS, opus_roundtrip},
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The distances of one codec at one bit rate, means over clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecRow {
    /// `ours` or `opus`.
    pub codec: String,
    /// Quantiser levels that were decoded; 0 for Opus.
    pub levels: usize,
    /// Bits a second, without container.
    pub bits_per_second: f64,
    /// Multi-resolution log-mel distance in nats: lower is nearer.
    pub log_mel_distance: f64,
    /// Scale-invariant signal-to-distortion ratio in dB over clips that are not silent: higher is nearer. `None` when
    /// all are.
    pub si_sdr_db: Option<f64>,
}

/// How one quantiser level is used on the same clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelRow {
    /// The level, from 1.
    pub level: usize,
    /// Share of entries that were chosen at all.
    pub entries_used: f64,
    /// Exponential of the entropy of the choices, in nats.
    pub perplexity: f64,
}

/// A codec against Opus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecReport {
    /// Number of clips.
    pub clips: usize,
    /// Their length altogether.
    pub seconds: f64,
    /// One row a number of levels, then one for Opus.
    pub rows: Vec<CodecRow>,
    /// One row a level.
    pub levels: Vec<LevelRow>,
}

impl CodecReport {
    /// Ours with all levels.
    #[must_use]
    pub fn ours(&self) -> Option<&CodecRow> {
        self.rows.iter().rev().find(|row| row.levels > 0)
    }

    /// Opus on the same clips.
    #[must_use]
    pub fn opus(&self) -> Option<&CodecRow> {
        self.rows.iter().find(|row| row.levels == 0)
    }
}

impl fmt::Display for CodecReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} clips, {:.1} s", self.clips, self.seconds)?;
        writeln!(f, "codec  levels   bit/s  log-mel (nats)  SI-SDR (dB)")?;
        for row in &self.rows {
            let levels = if row.levels == 0 { "-".to_string() } else { row.levels.to_string() };
            let ratio = row.si_sdr_db.map_or("-".to_string(), |ratio| format!("{ratio:.2}"));
            let (bits, mel) = (row.bits_per_second, row.log_mel_distance);
            writeln!(f, "{:<5}  {levels:>6}  {bits:>6.0}  {mel:>14.4}  {ratio:>11}", row.codec)?;
        }
        for row in &self.levels {
            writeln!(
                f,
                "level {}: {:.0} % of entries used, perplexity {:.1}",
                row.level,
                100.0 * row.entries_used,
                row.perplexity
            )?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Sums {
    log_mel: f64,
    si_sdr: f64,
    audible: usize,
}

impl Sums {
    fn add(&mut self, original: &[f32], made: &[f32], sample_rate_hz: u32) -> Result<()> {
        self.log_mel += log_mel_distance(original, made, sample_rate_hz).map_err(codec_error)?;
        // Silence has no ratio: it counts for the mel distance alone.
        if let Ok(ratio) = si_sdr(original, made) {
            self.si_sdr += ratio;
            self.audible += 1;
        }
        Ok(())
    }

    fn row(&self, codec: &str, levels: usize, bits_per_second: f64, clips: usize) -> CodecRow {
        CodecRow {
            codec: codec.into(),
            levels,
            bits_per_second,
            log_mel_distance: self.log_mel / clips as f64,
            si_sdr_db: (self.audible > 0).then(|| self.si_sdr / self.audible as f64),
        }
    }
}

fn codec_error(error: musicrl_codec::Error) -> Error {
    Error::Codec(error.to_string())
}

/// Encodes and decodes `clips` (mono, at the codec's rate, of any length) with 1, 2, ... all levels, and with Opus at
/// the codec's full bit rate or the lowest that Opus has. `progress` is told the clips done and their number.
///
/// # Errors
/// When there is no clip, one has no sample, or a sample is not finite; whatever `progress` says.
pub fn evaluate_codec(
    codec: &NeuralCodec,
    clips: &[Vec<f32>],
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<CodecReport> {
    let (config, all) = (codec.config(), codec.levels());
    let rate = config.sample_rate_hz;
    if clips.is_empty() {
        let (expected, got) = ("at least one clip".into(), "none".into());
        return Err(Error::Config { field: "held-out clips".into(), expected, got });
    }
    let (lowest, highest) = BITRATE_RANGE_BPS;
    let opus_rate = (config.bits_per_second(all).round() as u32).clamp(lowest, highest);
    let mut ours: Vec<Sums> = (0..all).map(|_| Sums::default()).collect();
    let (mut opus, mut opus_bits, mut samples) = (Sums::default(), 0.0, 0);
    let mut counts = vec![vec![0_u64; config.quantiser.entries]; all];
    for (done, clip) in clips.iter().enumerate() {
        progress(done, clips.len())?;
        let codes = codec.encode_track(clip)?;
        for (position, id) in codes.ids.iter().enumerate() {
            if let Some(count) = counts[position % all].get_mut(*id as usize) {
                *count += 1;
            }
        }
        for (index, sums) in ours.iter_mut().enumerate() {
            let mut made = codec.decode_track(&codes.first_levels(index + 1))?;
            made.truncate(clip.len());
            sums.add(clip, &made, rate)?;
        }
        let heard = opus_roundtrip(&Audio::from_mono(clip.clone(), rate), opus_rate).map_err(codec_error)?;
        opus.add(clip, &heard.audio.mono(), rate)?;
        opus_bits += heard.bitrate_bps * clip.len() as f64;
        samples += clip.len();
    }
    progress(clips.len(), clips.len())?;
    let mut rows: Vec<CodecRow> = ours
        .iter()
        .enumerate()
        .map(|(index, sums)| sums.row("ours", index + 1, config.bits_per_second(index + 1), clips.len()))
        .collect();
    rows.push(opus.row("opus", 0, opus_bits / samples.max(1) as f64, clips.len()));
    let levels = counts.iter().enumerate().map(|(index, counts)| level_row(index + 1, counts)).collect();
    Ok(CodecReport { clips: clips.len(), seconds: samples as f64 / f64::from(rate), rows, levels })
}

fn level_row(level: usize, counts: &[u64]) -> LevelRow {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let shares = || counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / total);
    LevelRow {
        level,
        entries_used: shares().count() as f64 / counts.len() as f64,
        perplexity: shares().map(|share| -share * share.ln()).sum::<f64>().exp(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_codec::neural::CodecConfig;
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    #[test]
    fn a_report_has_every_level_and_opus() {
        let codec = CodecConfig::base().init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
        let tone = |pitch: f64| (0..9_000).map(|n| (0.2 * (pitch * f64::from(n)).sin()) as f32).collect::<Vec<f32>>();
        let mut seen = Vec::new();
        let clips = [tone(0.1), vec![0.0; 3_000], tone(0.3)];
        let report = evaluate_codec(&codec, &clips, &mut |done, total| {
            seen.push((done, total));
            Ok(())
        });
        let report = report.unwrap();
        assert_eq!(seen, [(0, 3), (1, 3), (2, 3), (3, 3)]);
        assert_eq!(report.rows.len(), 9);
        assert_eq!(report.ours().unwrap().levels, 8);
        assert_eq!(report.ours().unwrap().bits_per_second, 1_600.0);
        assert!((report.seconds - 21_000.0 / 16_000.0).abs() < 1e-9);
        let opus = report.opus().unwrap();
        // A fresh codec knows nothing; Opus does.
        assert!(opus.log_mel_distance < report.ours().unwrap().log_mel_distance);
        assert!(report.rows.iter().all(|row| row.log_mel_distance.is_finite()));
        assert!(report.rows.iter().all(|row| row.si_sdr_db.is_some_and(f64::is_finite)));
        assert_eq!(report.levels.len(), 8);
        let text = report.to_string();
        assert_eq!(text.lines().count(), 2 + 9 + 8);
    }

    #[test]
    fn use_of_entries_is_counted() {
        let row = level_row(1, &[5, 5, 0, 0]);
        assert_eq!(row.entries_used, 0.5);
        assert!((row.perplexity - 2.0).abs() < 1e-12);
    }

    #[test]
    fn bad_clips_are_refused() {
        let codec = CodecConfig::base().init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
        let evaluate = |clips: &[Vec<f32>]| evaluate_codec(&codec, clips, &mut |_, _| Ok(()));
        assert!(matches!(evaluate(&[]), Err(Error::Config { .. })));
        assert!(evaluate(&[vec![]]).is_err());
        assert!(evaluate(&[vec![f32::NAN; 700]]).is_err());
        let stopped = evaluate_codec(&codec, &[vec![0.1; 700]], &mut |_, _| Err(Error::Interrupted));
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }

    #[test]
    fn silence_alone_has_no_ratio() {
        let codec = CodecConfig::base().init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
        let report = evaluate_codec(&codec, &[vec![0.0; 700]], &mut |_, _| Ok(())).unwrap();
        assert!(report.rows.iter().all(|row| row.si_sdr_db.is_none()));
        assert!(report.to_string().contains(" -\n"));
    }
}
