//! Audio to files: WAV and Ogg Opus. A file appears under its name when it is whole, or not at all.

use std::{
    fs::{self, File},
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use hound::{SampleFormat, WavSpec, WavWriter};

use crate::{
    Error, Result,
    audio::{Audio, check_sample_rate},
    opus,
};

/// Writes bytes beside their place, syncs them, and renames: readers and crashes never see half a file.
///
/// # Errors
/// [`Error::Io`] naming the path; nothing is left behind.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut aside = path.file_name().unwrap_or_default().to_os_string();
    aside.push(".partial");
    let aside: PathBuf = path.with_file_name(aside);
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(|source| {
        // The first error is the one worth telling.
        let _ = fs::remove_file(&aside);
        Error::Io { doing: "write", path: path.into(), source }
    })
}

/// A 16-bit WAV file in memory: rounded to the nearest step of 1/32768, limited to full scale, no dither.
///
/// # Errors
/// Samples that are not finite, no channel, a rate that is not accepted, or more than a WAV file can hold.
pub fn wav_bytes(audio: &Audio) -> Result<Vec<u8>> {
    encode_wav(audio, 16, |writer, sample| {
        let step = (f64::from(sample) * 32_768.0).round().clamp(-32_768.0, 32_767.0);
        writer.write_sample(step as i16)
    })
}

/// A 32-bit float WAV file in memory: every bit of the samples is kept.
///
/// # Errors
/// As [`wav_bytes`].
pub fn wav_bytes_float(audio: &Audio) -> Result<Vec<u8>> {
    encode_wav(audio, 32, |writer, sample| writer.write_sample(sample))
}

/// Writes a 16-bit WAV file.
///
/// # Errors
/// As [`wav_bytes`] and [`write_atomic`].
pub fn write_wav(path: &Path, audio: &Audio) -> Result<()> {
    write_atomic(path, &wav_bytes(audio)?)
}

/// Writes a 32-bit float WAV file.
///
/// # Errors
/// As [`wav_bytes`] and [`write_atomic`].
pub fn write_wav_float(path: &Path, audio: &Audio) -> Result<()> {
    write_atomic(path, &wav_bytes_float(audio)?)
}

/// Writes an Ogg Opus file.
///
/// # Errors
/// As [`opus::encode_ogg`] and [`write_atomic`].
pub fn write_opus(path: &Path, audio: &Audio, bitrate_bps: u32) -> Result<()> {
    write_atomic(path, &opus::encode_ogg(audio, bitrate_bps, &[])?)
}

type Writer<'a> = WavWriter<&'a mut Cursor<Vec<u8>>>;

fn encode_wav(
    audio: &Audio,
    bits: u16,
    mut write: impl FnMut(&mut Writer<'_>, f32) -> hound::Result<()>,
) -> Result<Vec<u8>> {
    audio.check_finite("audio for WAV")?;
    check_sample_rate("audio for WAV", audio.sample_rate_hz)?;
    let (channels, length) = (audio.channels.len(), audio.len());
    let bytes = channels.saturating_mul(length).saturating_mul(usize::from(bits) / 8);
    if channels == 0 || channels > 64 || bytes > u32::MAX as usize - 1_024 {
        return Err(Error::Shape {
            what: "audio for WAV",
            expected: "1 to 64 channels and less than 4 GiB".into(),
            got: format!("{channels} channels, {bytes} bytes"),
        });
    }
    let library = |error: hound::Error| Error::Library { what: "WAV writer", reason: error.to_string() };
    let spec = WavSpec {
        channels: channels as u16,
        sample_rate: audio.sample_rate_hz,
        bits_per_sample: bits,
        sample_format: if bits == 32 { SampleFormat::Float } else { SampleFormat::Int },
    };
    let mut buffer = Cursor::new(Vec::with_capacity(bytes + 128));
    let mut writer = WavWriter::new(&mut buffer, spec).map_err(library)?;
    for i in 0..length {
        for plane in &audio.channels {
            write(&mut writer, plane[i]).map_err(library)?;
        }
    }
    writer.finalize().map_err(library)?;
    Ok(buffer.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Limits, decode_bytes, decode_file};

    fn ramp(channels: usize) -> Audio {
        let plane = |c: usize| (0..500).map(|i| ((i * 7 + c * 31) % 400) as f32 / 200.0 - 1.0).collect();
        Audio { channels: (0..channels).map(plane).collect(), sample_rate_hz: 22_050 }
    }

    #[test]
    fn float_files_keep_every_bit_and_16_bit_files_half_a_step() {
        for channels in [1, 2, 6] {
            let audio = ramp(channels);
            let limits = Limits::default();
            let back = decode_bytes(wav_bytes_float(&audio).unwrap(), Path::new("a.wav"), &limits).unwrap();
            assert_eq!(back.audio, audio);
            let back = decode_bytes(wav_bytes(&audio).unwrap(), Path::new("a.wav"), &limits).unwrap();
            for (got, want) in back.audio.channels.iter().flatten().zip(audio.channels.iter().flatten()) {
                assert!((got - want).abs() <= 1.0 / 65_536.0, "{got} {want}");
            }
        }
    }

    #[test]
    fn too_loud_is_limited_not_wrapped() {
        let audio = Audio::from_mono(vec![1.5, -1.5, 1.0, -1.0], 8_000);
        let back = decode_bytes(wav_bytes(&audio).unwrap(), Path::new("a.wav"), &Limits::default()).unwrap();
        let top = 32_767.0 / 32_768.0;
        assert_eq!(back.audio.channels[0], [top, -1.0, top, -1.0]);
    }

    #[test]
    fn files_are_whole_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        write_wav(&path, &ramp(2)).unwrap();
        assert_eq!(decode_file(&path).unwrap().audio.len(), 500);
        let missing = folder.path().join("no/such/folder/a.wav");
        assert!(matches!(write_wav(&missing, &ramp(1)), Err(Error::Io { .. })));
        let mut bad = ramp(1);
        bad.channels[0][3] = f32::NAN;
        assert!(matches!(write_wav(&path, &bad), Err(Error::NonFinite { .. })));
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a.wav"]);
    }
}
