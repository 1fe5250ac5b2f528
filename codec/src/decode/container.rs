//! All containers and codecs that symphonia reads.

use std::{io, path::Path};

use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error as Symphonia,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint, well_known as formats},
    io::{MediaSourceStream, MediaSourceStreamOptions},
    meta::MetadataOptions,
};

use super::{Decoded, Limits, TagReader, check_damage, framing};
use crate::{
    Error, Result,
    audio::{Audio, check_sample_rate},
};

/// Samples a channel that a container of compressed sound may announce beyond what came, before the file counts as
/// truncated: encoders round the end of the last packet differently.
const MISSING_SAMPLES_MAX: u64 = 4_096;

/// Samples over all channels that one packet may announce: PCM and ADPCM readers take that memory at once, and some
/// containers (CAF, MP4) hold the number in 32 bits. Of the codecs read here none has more than 131,072 in a channel.
const PACKET_SAMPLES_MAX: u64 = 1 << 24;

fn is_end(error: &Symphonia) -> bool {
    matches!(error, Symphonia::IoError(source) if source.kind() == io::ErrorKind::UnexpectedEof)
}

/// Decodes the default audio track of any container.
pub(super) fn decode(bytes: Vec<u8>, path: &Path, limits: &Limits) -> Result<Decoded> {
    let not_audio = |reason: String| Error::NotAudio { path: path.into(), reason };
    let unsupported = |feature: String| Error::Unsupported { path: path.into(), feature };

    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
        hint.with_extension(extension);
    }
    // The frame walk needs the bytes that the reader takes for itself; it is quick, and only its result for an MPEG
    // stream is used.
    let mpeg_cut = framing::mpeg_cut(&bytes);
    let mpeg_announces_length = framing::mpeg_announces_length(&bytes);
    let stream = MediaSourceStream::new(Box::new(io::Cursor::new(bytes)), MediaSourceStreamOptions::default());
    let mut format = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| {
            not_audio(if is_end(&error) { "it ends inside its header".into() } else { error.to_string() })
        })?;

    let kind = format.format_info().format;
    let is_mpeg = [formats::FORMAT_ID_MP1, formats::FORMAT_ID_MP2, formats::FORMAT_ID_MP3].contains(&kind);
    let track = format.default_track(TrackType::Audio).ok_or_else(|| not_audio("it has no audio track".into()))?;
    let track_id = track.id;
    // MPEG streams have no length of their own: symphonia's is an estimate, and the frame walk judges them.
    let announced = if is_mpeg { None } else { track.num_frames };
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let params = params.ok_or_else(|| unsupported("the codec of its audio track".into()))?.clone();
    let name = path.display().to_string();
    if let Some(rate) = params.sample_rate {
        check_sample_rate(&name, rate)?;
        let channels = params.channels.as_ref().map_or(1, |channels| channels.count());
        limits.check(path, announced.unwrap_or(0), channels, rate)?;
    }
    check_packet(path, params.max_frames_per_packet, params.channels.as_ref().map_or(1, |channels| channels.count()))?;
    // Without a length in the file, symphonia would trim the stream to its estimate.
    let gapless = !is_mpeg || mpeg_announces_length;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&params, &AudioDecoderOptions::default().verify(true).gapless(gapless))
        .map_err(|error| unsupported(error.to_string()))?;
    let codec = decoder.codec_info().short_name.to_owned();

    let mut tags = TagReader::default();
    read_tags(format.as_mut(), &mut tags);
    let sound = read_sound(format.as_mut(), decoder.as_mut(), track_id, path, limits);
    read_tags(format.as_mut(), &mut tags);
    let sound = match (sound, mpeg_cut.filter(|_| is_mpeg)) {
        (_, Some(cut)) => return Err(Error::Truncated { path: path.into(), reason: cut.reason }),
        (sound, None) => sound?,
    };

    let frames = sound.audio.len() as u64;
    let rate = f64::from(sound.audio.sample_rate_hz.max(1));
    let announced = announced.unwrap_or(0);
    let is_exact = [formats::FORMAT_ID_WAVE, formats::FORMAT_ID_AIFF, formats::FORMAT_ID_FLAC].contains(&kind);
    let slack = if is_exact || sound.ended_early { 0 } else { MISSING_SAMPLES_MAX };
    if frames.saturating_add(slack) < announced {
        let (got, expected) = (frames as f64 / rate, announced as f64 / rate);
        let reason = format!("{got:.2} of {expected:.2} seconds could be decoded");
        return Err(Error::Truncated { path: path.into(), reason });
    }
    if decoder.finalize().verify_ok == Some(false) {
        let reason = "the checksum of the decoded sound is not the one in the file".into();
        return Err(Error::Damaged { path: path.into(), reason });
    }
    check_damage(path, sound.damaged, sound.packets, &sound.last_reason)?;
    Ok(Decoded { audio: sound.audio, tags: tags.finish(), codec, damaged_packets: sound.damaged })
}

/// Refuses a packet size that no codec has, before a decoder makes room for it.
fn check_packet(path: &Path, frames: Option<u64>, channels: usize) -> Result<()> {
    let samples = frames.unwrap_or(0).saturating_mul(channels as u64);
    if samples <= PACKET_SAMPLES_MAX {
        return Ok(());
    }
    let reason = format!("it announces packets of {samples} samples; expected at most {PACKET_SAMPLES_MAX}");
    Err(Error::Damaged { path: path.into(), reason })
}

fn read_tags(format: &mut dyn FormatReader, tags: &mut TagReader) {
    let mut metadata = format.metadata();
    while let Some(revision) = metadata.current() {
        tags.add_revision(revision);
        if metadata.pop().is_none() {
            break;
        }
    }
}

/// What the packets of a track became.
struct Sound {
    audio: Audio,
    packets: usize,
    damaged: usize,
    last_reason: String,
    /// The bytes ended inside a packet.
    ended_early: bool,
}

fn read_sound(
    format: &mut dyn FormatReader,
    decoder: &mut dyn AudioDecoder,
    track_id: u32,
    path: &Path,
    limits: &Limits,
) -> Result<Sound> {
    let damaged = |reason: String| Error::Damaged { path: path.into(), reason };
    let audio = Audio { channels: Vec::new(), sample_rate_hz: 0 };
    let mut sound = Sound { audio, packets: 0, damaged: 0, last_reason: String::new(), ended_early: false };
    let mut planes: Vec<Vec<f32>> = Vec::new();
    // Silence owed for packets that failed before the number of channels was known.
    let mut owed = 0_usize;
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) if is_end(&error) => {
                sound.ended_early = true;
                break;
            }
            Err(Symphonia::ResetRequired) => {
                let feature = "several recordings chained in one file".into();
                return Err(Error::Unsupported { path: path.into(), feature });
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        if packet.track_id != track_id {
            continue;
        }
        sound.packets += 1;
        match decoder.decode(&packet) {
            Ok(buffer) => {
                let (rate, channels) = (buffer.spec().rate(), buffer.num_planes());
                if sound.audio.channels.is_empty() {
                    check_sample_rate(&path.display().to_string(), rate)?;
                    limits.check(path, (owed + buffer.frames()) as u64, channels, rate)?;
                    sound.audio = Audio { channels: vec![vec![0.0; owed]; channels], sample_rate_hz: rate };
                }
                let (known_rate, known_channels) = (sound.audio.sample_rate_hz, sound.audio.channels.len());
                if (rate, channels) != (known_rate, known_channels) {
                    return Err(damaged(format!(
                        "it changes from {known_rate} Hz and {known_channels} channels to {rate} Hz and {channels}"
                    )));
                }
                limits.check(path, (sound.audio.len() + buffer.frames()) as u64, channels, rate)?;
                buffer.copy_to_vecs_planar::<f32>(&mut planes);
                for (all, new) in sound.audio.channels.iter_mut().zip(&planes) {
                    all.extend_from_slice(new);
                }
            }
            // The packet is lost; its time is kept.
            Err(Symphonia::DecodeError(_) | Symphonia::IoError(_)) if packet.dur.get() <= 1 << 16 => {
                let silence = packet.dur.get() as usize;
                sound.damaged += 1;
                sound.last_reason = "packet refused by the decoder".into();
                owed += silence;
                limits.check(path, (sound.audio.len().max(owed) + silence) as u64, 1.max(planes.len()), 48_000)?;
                for plane in &mut sound.audio.channels {
                    plane.resize(plane.len() + silence, 0.0);
                }
            }
            Err(error) => return Err(damaged(error.to_string())),
        }
    }
    Ok(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_no_codec_has_is_refused_before_it_costs_memory() {
        let check = |frames, channels| check_packet(Path::new("x.caf"), frames, channels);
        for (frames, channels) in [(None, 2), (Some(1_152), 64), (Some(131_072), 8)] {
            assert!(check(frames, channels).is_ok(), "{frames:?} frames of {channels} channels");
        }
        for (frames, channels) in [(u64::from(u32::MAX), 1), (u64::MAX, 2), (1_152, 65_535)] {
            let error = check(Some(frames), channels).unwrap_err().to_string();
            assert!(error.contains("samples; expected at most 16777216"), "{error}");
        }
    }
}
