//! Walks the frames of a file to see whether it ends where they do.
//!
//! MP3 and Ogg have no total length at the front, and decoders stop quietly at the end of the bytes: a file cut in
//! half decodes as a shorter song. These walks read headers only.

/// A file whose last frame is not whole, or that has fewer frames than it announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) reason: String,
}

/// Sample rates of MPEG-1; MPEG-2 halves them, MPEG-2.5 halves them again.
const MPEG_RATES_HZ: [u32; 3] = [44_100, 48_000, 32_000];

/// kbit/s by index 1..=14 for (MPEG-1 layer I, II, III), (MPEG-2 layer I, II and III).
const MPEG_KBPS: [[u32; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// What one MPEG audio frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MpegFrame {
    /// Version, layer and rate bits: the same in every frame of one stream.
    kind: (u8, u8, u8),
    bytes: usize,
    samples: u32,
    sample_rate_hz: u32,
    /// Bytes between the header and a Xing or Info tag (layer III).
    side_bytes: usize,
}

fn mpeg_frame(bytes: &[u8]) -> Option<MpegFrame> {
    let header = bytes.get(..4)?;
    if header[0] != 0xff || header[1] & 0xe0 != 0xe0 {
        return None;
    }
    let (version, layer) = ((header[1] >> 3) & 3, (header[1] >> 1) & 3);
    let (bitrate, rate, padding) = (header[2] >> 4, (header[2] >> 2) & 3, u32::from((header[2] >> 1) & 1));
    // Reserved values; a bitrate of 0 is "free format", whose frame length is not in the header.
    if version == 1 || layer == 0 || rate == 3 || bitrate == 0 || bitrate == 15 {
        return None;
    }
    let mpeg1 = version == 3;
    // The layer is coded backwards: 3 is layer I.
    let row = match (mpeg1, layer) {
        (true, 3) => 0,
        (true, 2) => 1,
        (true, _) => 2,
        (false, 3) => 3,
        (false, _) => 4,
    };
    let bits_per_second = MPEG_KBPS[row][usize::from(bitrate) - 1] * 1_000;
    let shift = match version {
        3 => 0,
        2 => 1,
        _ => 2,
    };
    let sample_rate_hz = MPEG_RATES_HZ[usize::from(rate)] >> shift;
    let (samples, length) = match (layer, mpeg1) {
        (3, _) => (384, (12 * bits_per_second / sample_rate_hz + padding) * 4),
        (1, false) => (576, 72 * bits_per_second / sample_rate_hz + padding),
        _ => (1_152, 144 * bits_per_second / sample_rate_hz + padding),
    };
    let mono = header[3] >> 6 == 3;
    let side_bytes = match (mpeg1, mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    let checksum_bytes = if header[1] & 1 == 0 { 2 } else { 0 };
    Some(MpegFrame {
        kind: (version, layer, rate),
        bytes: length as usize,
        samples,
        sample_rate_hz,
        side_bytes: side_bytes + checksum_bytes,
    })
}

/// Length of an ID3v2 tag at the front; 0 without one.
fn id3v2_bytes(bytes: &[u8]) -> usize {
    let Some(header) = bytes.get(..10).filter(|header| header.starts_with(b"ID3")) else { return 0 };
    let size = header[6..10].iter().fold(0_usize, |size, b| (size << 7) | usize::from(b & 0x7f));
    let footer = if header[5] & 0x10 == 0 { 0 } else { 10 };
    10 + size + footer
}

/// The frame count in a Xing or Info tag of the first frame.
fn announced_frames(bytes: &[u8], frame: &MpegFrame) -> Option<u32> {
    // Tags are written behind the side information; writers disagree whether a checksum shifts them.
    [4 + frame.side_bytes, 4 + frame.side_bytes.saturating_sub(2)].into_iter().find_map(|at| {
        let tag = bytes.get(at..at + 12)?;
        let known = tag.starts_with(b"Xing") || tag.starts_with(b"Info");
        (known && tag[7] & 1 == 1).then(|| u32::from_be_bytes([tag[8], tag[9], tag[10], tag[11]]))
    })
}

/// The first frame of an MPEG audio stream and where it starts.
fn first_mpeg_frame(bytes: &[u8]) -> Option<(usize, MpegFrame)> {
    let mut at = id3v2_bytes(bytes);
    // Some writers pad behind the tag.
    while bytes.get(at) == Some(&0) {
        at += 1;
    }
    Some((at, mpeg_frame(bytes.get(at..)?)?))
}

/// Whether an MPEG audio stream carries its own length. Without it a reader can only guess.
pub(super) fn mpeg_announces_length(bytes: &[u8]) -> bool {
    first_mpeg_frame(bytes).is_some_and(|(at, first)| announced_frames(&bytes[at..], &first).is_some())
}

/// Whether an MPEG audio stream (MP1, MP2, MP3) is cut: its last frame is not whole, or a Xing tag announced more.
/// `None` also for streams that cannot be walked; the decoder then has the word.
///
/// A file without a Xing tag that was cut exactly between two frames is a whole, shorter file.
pub(super) fn mpeg_cut(bytes: &[u8]) -> Option<Cut> {
    let (mut at, first) = first_mpeg_frame(bytes)?;
    let announced = announced_frames(&bytes[at..], &first);
    let seconds = |frames: u64| frames as f64 * f64::from(first.samples) / f64::from(first.sample_rate_hz);
    let mut frames = 0_u64;
    while let Some(frame) = bytes.get(at..).and_then(mpeg_frame).filter(|frame| frame.kind == first.kind) {
        if at + frame.bytes > bytes.len() {
            let whole = seconds(frames);
            let missing = at + frame.bytes - bytes.len();
            let of = announced.map(|n| format!(" of {:.2}", seconds(n.into()))).unwrap_or_default();
            let reason = format!("the last MPEG frame lacks {missing} bytes; {whole:.2}{of} seconds are whole");
            return Some(Cut { reason });
        }
        at += frame.bytes;
        frames += 1;
    }
    // A file that ends inside a frame's header.
    let rest = &bytes[at.min(bytes.len())..];
    let start = first_mpeg_frame(bytes).and_then(|(at, _)| bytes.get(at..at + 2)).unwrap_or_default();
    if (1..4).contains(&rest.len()) && rest.iter().zip(start).all(|(a, b)| a == b) {
        let reason = format!("the last MPEG frame ends in its header; {:.2} seconds are whole", seconds(frames));
        return Some(Cut { reason });
    }
    // The tag frame itself is not counted by Xing. One frame of slack: writers disagree about the last one.
    let announced = u64::from(announced?);
    (frames + 1 < announced && at + 4 > bytes.len()).then(|| Cut {
        reason: format!("{:.2} of {:.2} seconds are there", seconds(frames.saturating_sub(1)), seconds(announced)),
    })
}

/// Whether the last page of an Ogg file is cut.
pub(super) fn ogg_cut(bytes: &[u8]) -> Option<Cut> {
    const HEADER_BYTES: usize = 27;
    let mut at = 0;
    let mut pages = 0_u64;
    loop {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        // A beginning of the capture pattern is a page that was cut very early; anything else is a trailer.
        if !rest.starts_with(b"OggS") && !b"OggS".starts_with(rest) {
            return None;
        }
        let whole = rest.get(..HEADER_BYTES).and_then(|header| {
            let segments = usize::from(header[26]);
            let lengths = rest.get(HEADER_BYTES..HEADER_BYTES + segments)?;
            let body: usize = lengths.iter().map(|&length| usize::from(length)).sum();
            let page = HEADER_BYTES + segments + body;
            (page <= rest.len()).then_some(page)
        });
        match whole {
            Some(page) => at += page,
            None => {
                let reason = format!("the last Ogg page ends early; {pages} pages ({at} bytes) are whole");
                return Some(Cut { reason });
            }
        }
        pages += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono: 417 or 418 bytes a frame.
    fn mp3(frames: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..frames {
            bytes.extend([0xff, 0xfb, 0x90, 0xc0]);
            bytes.resize(bytes.len() + 413, 0);
        }
        bytes
    }

    #[test]
    fn a_known_header_is_read() {
        let frame = mpeg_frame(&[0xff, 0xfb, 0x92, 0x64]).unwrap();
        assert_eq!((frame.bytes, frame.samples, frame.sample_rate_hz, frame.side_bytes), (418, 1_152, 44_100, 32));
        // MPEG-2 layer III, 64 kbit/s, 22.05 kHz.
        let frame = mpeg_frame(&[0xff, 0xf3, 0x80, 0xc4]).unwrap();
        assert_eq!((frame.bytes, frame.samples, frame.sample_rate_hz, frame.side_bytes), (208, 576, 22_050, 9));
        assert_eq!(mpeg_frame(&[0xff, 0xfb, 0xf0, 0]), None);
        assert_eq!(mpeg_frame(&[0xff, 0xfb]), None);
    }

    #[test]
    fn only_a_cut_mp3_is_called_cut() {
        let whole = mp3(10);
        assert_eq!(mpeg_cut(&whole), None);
        assert!(mpeg_cut(&whole[..whole.len() - 1]).unwrap().reason.contains("lacks 1 bytes"));
        assert!(mpeg_cut(&whole[..417 * 9 + 4]).is_some());
        let mut with_trailer = whole.clone();
        with_trailer.extend(b"TAG");
        with_trailer.resize(with_trailer.len() + 125, b' ');
        assert_eq!(mpeg_cut(&with_trailer), None);
    }

    #[test]
    fn fewer_frames_than_the_xing_tag_announces() {
        let mut bytes = mp3(101);
        bytes[4 + 17..4 + 17 + 12].copy_from_slice(b"Xing\0\0\0\x01\0\0\0\x64");
        assert_eq!(mpeg_cut(&bytes), None);
        assert!(mpeg_announces_length(&bytes) && !mpeg_announces_length(&mp3(101)));
        let reason = mpeg_cut(&bytes[..417 * 51]).unwrap().reason;
        assert_eq!(reason, "1.31 of 2.61 seconds are there");
    }

    #[test]
    fn only_a_cut_ogg_is_called_cut() {
        let mut page = b"OggS".to_vec();
        page.resize(26, 0);
        page.extend([2, 255, 3]);
        page.resize(29 + 258, 7);
        let file = [page.clone(), page].concat();
        assert_eq!(ogg_cut(&file), None);
        for cut in [1, 3, 26, 28, 100] {
            assert!(ogg_cut(&file[..287 + cut]).is_some(), "{cut}");
        }
        let with_trailer = [file, b"garbage".to_vec()].concat();
        assert_eq!(ogg_cut(&with_trailer), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = (mpeg_cut(&bytes), ogg_cut(&bytes));
            bytes.splice(0..0, [0xff, 0xfb, 0x90, 0x64]);
            let _ = mpeg_cut(&bytes);
            bytes.splice(0..0, *b"OggS");
            let _ = ogg_cut(&bytes);
        }
    }
}
