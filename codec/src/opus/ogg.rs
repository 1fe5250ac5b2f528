//! Ogg Opus files (RFC 7845).

use std::{io::Cursor, path::Path};

use ::ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};

use super::packets::{FRAME_SAMPLES, OPUS_RATE_HZ, PacketDecoder, encode};
use crate::{
    Error, Result,
    audio::Audio,
    decode::{Decoded, Limits, TagReader, Tags, check_damage},
};

const HEAD: &[u8] = b"OpusHead";
const TAGS: &[u8] = b"OpusTags";

/// The serial number of the one stream in files written here: fixed, so that the same sound gives the same bytes.
const SERIAL: u32 = 0x6d75_7369;

/// Packets a page: one second.
const PAGE_PACKETS: usize = 50;

/// Whether the first packet of an Ogg file says Opus.
pub(crate) fn is_ogg_opus(bytes: &[u8]) -> bool {
    // A page header is 27 bytes and one length byte a segment; the identification packet is alone on its page.
    bytes
        .get(26)
        .is_some_and(|&segments| bytes.get(27 + usize::from(segments)..).is_some_and(|body| body.starts_with(HEAD)))
}

/// The identification header.
#[derive(Debug, Clone, PartialEq)]
struct Head {
    pre_skip: usize,
    /// Linear.
    gain: f32,
    streams: u8,
    coupled: u8,
    mapping: Vec<u8>,
}

impl Head {
    fn parse(packet: &[u8]) -> std::result::Result<Self, String> {
        let short = || "its identification header is too short".to_owned();
        let body = packet.strip_prefix(HEAD).and_then(|body| body.get(..11)).ok_or_else(short)?;
        let (version, channels, family) = (body[0], body[1], body[10]);
        if version >= 16 || channels == 0 {
            return Err(format!("version {version} with {channels} channels"));
        }
        let gain_db = f32::from(i16::from_le_bytes([body[8], body[9]])) / 256.0;
        let (streams, coupled, mapping) = match (family, channels) {
            (0, 1) => (1, 0, vec![0]),
            (0, 2) => (1, 1, vec![0, 1]),
            (1 | 255, _) => {
                let table = packet.get(19..21 + usize::from(channels)).ok_or_else(short)?;
                (table[0], table[1], table[2..].to_vec())
            }
            _ => return Err(format!("channel mapping family {family} with {channels} channels")),
        };
        let pre_skip = usize::from(u16::from_le_bytes([body[2], body[3]]));
        Ok(Self { pre_skip, gain: 10.0_f32.powf(gain_db / 20.0), streams, coupled, mapping })
    }
}

/// Reads the comment header; a broken one has no tags.
fn read_tags(packet: &[u8]) -> Tags {
    fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let text = tail.get(..length)?;
        *rest = &tail[length..];
        Some(text)
    }
    let mut tags = TagReader::default();
    let Some(mut rest) = packet.strip_prefix(TAGS) else { return Tags::default() };
    // Vendor, then a count that is not trusted: fields are read as long as there are any.
    if field(&mut rest).is_none() || rest.len() < 4 {
        return Tags::default();
    }
    rest = &rest[4..];
    while let Some(comment) = field(&mut rest) {
        let comment = String::from_utf8_lossy(comment);
        if let Some((key, value)) = comment.split_once('=') {
            tags.add_field(key, value);
        }
    }
    tags.finish()
}

/// Decodes the first Opus stream of an Ogg file: pre-skip dropped, end trimmed to the last granule position, output
/// gain applied.
pub(crate) fn decode_ogg(bytes: &[u8], path: &Path, limits: &Limits) -> Result<Decoded> {
    let damaged = |reason: String| Error::Damaged { path: path.into(), reason };
    let mut reader = PacketReader::new(Cursor::new(bytes));
    let first = reader.read_packet_expected().map_err(|error| damaged(error.to_string()))?;
    let serial = first.stream_serial();
    let head = Head::parse(&first.data)
        .map_err(|feature| Error::Unsupported { path: path.into(), feature: format!("Opus: {feature}") })?;
    let channels = head.mapping.len();
    let mut decoder = PacketDecoder::new(head.streams, head.coupled, &head.mapping)
        .map_err(|refusal| damaged(format!("Opus header: {}", refusal.reason())))?;

    let mut tags = None;
    let (mut packets, mut bad, mut last_reason) = (0, 0, "");
    let mut last_frames = FRAME_SAMPLES;
    // The granule position at which the stream starts, and the one of its end.
    let (mut start, mut end) = (None, None);
    while let Some(packet) = reader.read_packet().map_err(|error| damaged(error.to_string()))? {
        if packet.stream_serial() != serial {
            if packet.data.starts_with(HEAD) {
                let feature = "several recordings chained or mixed in one file".into();
                return Err(Error::Unsupported { path: path.into(), feature });
            }
            continue;
        }
        if tags.is_none() {
            tags = Some(read_tags(&packet.data));
            continue;
        }
        packets += 1;
        match decoder.push(&packet.data) {
            Ok(frames) => last_frames = frames,
            Err(refusal) => {
                bad += 1;
                last_reason = refusal.reason();
                decoder.push_silence(last_frames);
            }
        }
        let decoded = decoder.planes[0].len() as u64;
        limits.check(path, decoded, channels, OPUS_RATE_HZ)?;
        if packet.last_in_page() {
            let granule = packet.absgp_page();
            // A stream need not start at 0: the first page tells. One that is also the last cannot, as it may end
            // anywhere, and is taken to start at 0.
            let from_here = if packet.last_in_stream() { 0 } else { granule.saturating_sub(decoded) };
            let start = *start.get_or_insert(from_here);
            if packet.last_in_stream() {
                end = Some(granule.saturating_sub(start));
            }
        }
    }
    check_damage(path, bad, packets, last_reason)?;

    let decoded = decoder.planes[0].len();
    let end = end.map_or(decoded, |end| usize::try_from(end).unwrap_or(decoded).min(decoded));
    let trim =
        |plane: &Vec<f32>| -> Vec<f32> { plane[head.pre_skip.min(end)..end].iter().map(|x| x * head.gain).collect() };
    let channels = decoder.planes.iter().map(trim).collect();
    Ok(Decoded {
        audio: Audio { channels, sample_rate_hz: OPUS_RATE_HZ },
        tags: tags.unwrap_or_default(),
        codec: "opus".into(),
        damaged_packets: bad,
    })
}

/// Makes an Ogg Opus file in memory. The same sound gives the same bytes.
///
/// # Errors
/// As [`super::opus_roundtrip`].
pub fn encode_ogg(audio: &Audio, bitrate_bps: u32, comments: &[(&str, &str)]) -> Result<Vec<u8>> {
    let encoded = encode(audio, bitrate_bps)?;
    let library = |reason: String| Error::Library { what: "Ogg writer", reason };
    let pre_skip = u16::try_from(encoded.pre_skip).map_err(|error| library(error.to_string()))?;

    let mut head = HEAD.to_vec();
    head.extend([1, encoded.channels as u8]);
    head.extend(pre_skip.to_le_bytes());
    head.extend(audio.sample_rate_hz.to_le_bytes());
    // Gain 0 dB, mapping family 0.
    head.extend([0, 0, 0]);

    let mut tags = TAGS.to_vec();
    let mut field = |text: &str| {
        tags.extend((text.len() as u32).to_le_bytes());
        tags.extend(text.as_bytes());
    };
    field("musicrl");
    let count = (comments.len() as u32).to_le_bytes();
    tags.extend(count);
    for (key, value) in comments {
        let text = format!("{key}={value}");
        tags.extend((text.len() as u32).to_le_bytes());
        tags.extend(text.as_bytes());
    }

    let io = |error: std::io::Error| library(error.to_string());
    let mut writer = PacketWriter::new(Vec::new());
    writer.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0).map_err(io)?;
    writer.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0).map_err(io)?;
    let count = encoded.packets.len();
    let total = (encoded.pre_skip + encoded.samples) as u64;
    for (i, packet) in encoded.packets.into_iter().enumerate() {
        let granule = (((i + 1) * FRAME_SAMPLES) as u64).min(total);
        let end = if i + 1 == count {
            PacketWriteEndInfo::EndStream
        } else if (i + 1) % PAGE_PACKETS == 0 {
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        writer.write_packet(packet, SERIAL, end, granule).map_err(io)?;
    }
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked() {
        let mut head = [HEAD, &[1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0xfa, 0]].concat();
        let parsed = Head::parse(&head).unwrap();
        assert_eq!((parsed.pre_skip, parsed.streams, parsed.coupled), (312, 1, 1));
        // -1536 / 256 = -6 dB.
        assert!((parsed.gain - 0.501).abs() < 1e-3, "{}", parsed.gain);
        head[18] = 1;
        assert!(Head::parse(&head).is_err(), "family 1 needs a table");
        head.extend([1, 1, 0, 1]);
        assert_eq!(Head::parse(&head).unwrap().mapping, [0, 1]);
        head[9] = 0;
        assert!(Head::parse(&head).is_err(), "no channels");
        assert!(Head::parse(b"OpusHead").is_err());
    }

    #[test]
    fn broken_comments_give_what_is_readable() {
        let bytes = [TAGS, &1_u32.to_le_bytes(), b"v", &9_u32.to_le_bytes(), &7_u32.to_le_bytes(), b"TITLE=x"].concat();
        assert_eq!(read_tags(&bytes).title.as_deref(), Some("x"));
        let endless = [TAGS, &u32::MAX.to_le_bytes()].concat();
        assert!(read_tags(&endless).is_empty());
    }
}
