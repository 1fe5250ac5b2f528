//! One file: decoded, mixed, resampled, levelled, cut.

use musicrl_codec::{
    decode::{Decoded, Tags, decode_file_within},
    loudness::normalise,
    resample::resample,
};

use super::{ImportSettings, measured::Measured, walk::Candidate};

/// A segment without a sample above this (-72 dB of full scale) is silent.
const SILENT_PEAK: f32 = 2.5e-4;

/// A recording that can be used.
pub(super) struct Recording {
    pub(super) tags: Tags,
    pub(super) source_rate_hz: u32,
    pub(super) pieces: Vec<Piece>,
    /// Whether pieces are segments.
    pub(super) segmented: bool,
    pub(super) silent_segments: usize,
}

/// A clip to be.
pub(super) struct Piece {
    pub(super) start_seconds: f64,
    pub(super) samples: Vec<f32>,
    /// Empty unless asked for.
    pub(super) measured: Measured,
}

/// Everything that is done to one file; the error is the reason to set it aside.
pub(super) fn prepare(candidate: &Candidate, settings: &ImportSettings) -> Result<Recording, String> {
    // Reasons stand beside the file's name: they need not repeat where it lies.
    let folder = candidate.path.display().to_string();
    let reason = |error: musicrl_codec::Error| {
        let text = error.to_string();
        text.strip_prefix(&folder).map_or(text.as_str(), |rest| rest.trim_start_matches([':', ' '])).to_owned()
    };
    let Decoded { audio, tags, .. } = decode_file_within(&candidate.path, &settings.limits()).map_err(reason)?;
    let source_rate_hz = audio.sample_rate_hz;
    let mono = audio.mono();
    drop(audio);
    let rate_hz = settings.sample_rate_hz;
    let mut samples = resample(&mono, source_rate_hz, rate_hz).map_err(reason)?;
    drop(mono);
    let seconds = samples.len() as f64 / f64::from(rate_hz);
    if seconds < settings.shortest_seconds {
        return Err(format!("{seconds:.2} seconds, shorter than {}", settings.shortest_seconds));
    }
    if samples.iter().all(|x| x.abs() < SILENT_PEAK) {
        return Err("silent".into());
    }
    if let Some(target) = &settings.loudness {
        samples = normalise(&samples, rate_hz, target).map_err(reason)?.samples;
    }
    let measure = |part: &[f32]| {
        if settings.measured_words { Measured::of(part, rate_hz) } else { Measured::default() }
    };
    let Some(segment_seconds) = settings.segment_seconds else {
        let pieces = vec![Piece { start_seconds: 0.0, measured: measure(&samples), samples }];
        return Ok(Recording { tags, source_rate_hz, pieces, segmented: false, silent_segments: 0 });
    };
    let segment = ((segment_seconds * f64::from(rate_hz)).round() as usize).max(1);
    let shortest = (settings.shortest_seconds * f64::from(rate_hz)) as usize;
    let mut silent_segments = 0;
    let mut pieces = Vec::new();
    for (index, part) in samples.chunks(segment).enumerate() {
        if part.len() < segment && part.len() < shortest {
            continue;
        }
        if part.iter().all(|x| x.abs() < SILENT_PEAK) {
            silent_segments += 1;
            continue;
        }
        let start_seconds = (index * segment) as f64 / f64::from(rate_hz);
        pieces.push(Piece { start_seconds, samples: part.to_vec(), measured: measure(part) });
    }
    Ok(Recording { tags, source_rate_hz, pieces, segmented: true, silent_segments })
}
