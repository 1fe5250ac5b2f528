//! Files and bytes to audio: WAV, AIFF, FLAC, MP3, Ogg Vorbis, AAC (M4A, ADTS), ALAC, Matroska by symphonia; Ogg Opus
//! by [`crate::opus`]. Opus in other containers is refused, and AAC keeps the delay of its encoder (23 ms at 44.1 kHz)
//! at the front.
//!
//! What comes in is other people's files, so every rule has a refusal with a reason: a file that ends before its
//! sound does is [`Error::Truncated`], never a shorter song; one with undecodable parts is [`Error::Damaged`] (a few
//! packets, at most [`DAMAGED_SHARE_MAX`] of all, are replaced by silence and counted); samples that are not finite,
//! rates outside [`crate::audio::SAMPLE_RATE_RANGE_HZ`], files without a sample and files beyond [`Limits`] are
//! refused before they cost memory where the header allows it.

mod container;
mod framing;
mod tags;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

pub(crate) use tags::TagReader;
pub use tags::Tags;

use crate::{
    Error, Result,
    audio::{Audio, check_sample_rate},
    opus,
};

/// The share of undecodable packets from which on a file is refused.
pub const DAMAGED_SHARE_MAX: f64 = 0.01;

/// What a file may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Longest recording, in seconds.
    pub seconds: f64,
    /// Most samples over all channels; each takes four bytes.
    pub samples: usize,
    /// Largest file, in bytes.
    pub file_bytes: u64,
}

impl Default for Limits {
    /// Three hours, 2 GiB of decoded samples (1.7 hours of 44.1 kHz stereo), 2 GiB of file.
    fn default() -> Self {
        Self { seconds: 3.0 * 3_600.0, samples: 1 << 29, file_bytes: 1 << 31 }
    }
}

impl Limits {
    /// Refuses a recording of `frames` samples a channel that breaks a limit.
    pub(crate) fn check(&self, path: &Path, frames: u64, channels: usize, sample_rate_hz: u32) -> Result<()> {
        let seconds = frames as f64 / f64::from(sample_rate_hz.max(1));
        let samples = frames.saturating_mul(channels as u64);
        if seconds <= self.seconds && samples <= self.samples as u64 {
            return Ok(());
        }
        Err(Error::TooLong {
            path: path.into(),
            expected: format!("{} seconds and {} samples", self.seconds, self.samples),
            got: format!("{seconds:.0} seconds and {samples} samples or more"),
        })
    }
}

/// A decoded file.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The sound: finite, not empty, at the file's own rate and with its own channels.
    pub audio: Audio,
    /// What the file says about it.
    pub tags: Tags,
    /// Short name of the codec, e.g. "vorbis".
    pub codec: String,
    /// Packets that could not be decoded and are silent here.
    pub damaged_packets: usize,
}

/// Decodes a file within the default [`Limits`].
///
/// # Errors
/// As [`decode_bytes`], and [`Error::Io`] when the file cannot be read.
pub fn decode_file(path: &Path) -> Result<Decoded> {
    decode_file_within(path, &Limits::default())
}

/// Decodes a file within `limits`.
///
/// # Errors
/// As [`decode_bytes`], and [`Error::Io`] when the file cannot be read.
pub fn decode_file_within(path: &Path, limits: &Limits) -> Result<Decoded> {
    let io = |source| Error::Io { doing: "read", path: path.into(), source };
    let bytes = fs::metadata(path).map_err(io)?.len();
    if bytes > limits.file_bytes {
        return Err(Error::TooLong {
            path: path.into(),
            expected: format!("{} bytes", limits.file_bytes),
            got: format!("{bytes} bytes"),
        });
    }
    decode_bytes(fs::read(path).map_err(io)?, path, limits)
}

/// Decodes the bytes of a file. `path` names them in errors and its extension is a hint; nothing is read from it.
///
/// # Errors
/// Every rule in the module's notes has its variant of [`Error`].
pub fn decode_bytes(bytes: Vec<u8>, path: &Path, limits: &Limits) -> Result<Decoded> {
    if bytes.is_empty() {
        return Err(Error::NotAudio { path: path.into(), reason: "the file has no bytes".into() });
    }
    let is_ogg = bytes.starts_with(b"OggS");
    let cut = if is_ogg { framing::ogg_cut(&bytes) } else { None };
    // The decoders are other people's; one that panics on a strange file must cost that file, not the import of a
    // folder. Nothing they touched is used afterwards.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if is_ogg && opus::is_ogg_opus(&bytes) {
            opus::decode_ogg(&bytes, path, limits)
        } else {
            container::decode(bytes, path, limits)
        }
    }));
    let decoded = outcome.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Error::Damaged { path: path.into(), reason: format!("the decoder gave up: {said}") })
    });
    let refused_anyway = matches!(&decoded, Err(Error::NotAudio { .. } | Error::Unsupported { .. }));
    if let (Some(cut), false) = (cut, refused_anyway) {
        return Err(Error::Truncated { path: path.into(), reason: cut.reason });
    }
    let decoded = decoded?;
    let name = path.display().to_string();
    // Without a packet there is no rate either.
    if decoded.audio.is_empty() {
        return Err(Error::Empty { path: path.into() });
    }
    check_sample_rate(&name, decoded.audio.sample_rate_hz)?;
    decoded.audio.check_finite(&name)?;
    Ok(decoded)
}

/// Refuses a file with too many undecodable packets.
pub(crate) fn check_damage(path: &Path, damaged: usize, packets: usize, last_reason: &str) -> Result<()> {
    // A single bad packet is let through in short files too: an MP3 that was cut at its front often has one.
    if damaged <= 1.max((packets as f64 * DAMAGED_SHARE_MAX) as usize) && damaged < packets.max(1) {
        return Ok(());
    }
    let reason = format!("{damaged} of {packets} packets cannot be decoded ({last_reason})");
    Err(Error::Damaged { path: path.into(), reason })
}
