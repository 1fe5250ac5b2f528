//! TensorBoard event files, written by ourselves: TFRecord framing around a few protocol buffer fields.
//!
//! A record is `length: u64`, `masked CRC-32C of the length: u32`, the bytes, `masked CRC-32C of the bytes: u32`, all
//! little-endian. The bytes are an `Event` message: `wall_time` (field 1, double), `step` (2, varint) and either
//! `file_version` (3, string) or `summary` (5), which repeats `Value { tag (1, string), simple_value (2, float) }` in
//! field 1.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::PathBuf,
};

use crate::{Error, Result};

/// Castagnoli's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// The two lengths and checksums around a record's bytes.
const FRAME_BYTES: usize = 16;
const FILE_VERSION: &str = "brain.Event:2";

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize])
}

/// TFRecord's mask, so that the checksum of data that hold checksums stays strong.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// One event: scalars of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Seconds since 1970; TensorBoard's horizontal axis "wall".
    pub wall_seconds: f64,
    /// Steps done.
    pub step: u64,
    /// Tag and value.
    pub scalars: Vec<(String, f32)>,
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A length-delimited field.
fn delimited(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push((field << 3) | 2);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn event_header(wall_seconds: f64, step: u64) -> Vec<u8> {
    let mut bytes = vec![(1 << 3) | 1];
    bytes.extend(wall_seconds.to_le_bytes());
    bytes.push(2 << 3);
    varint(step, &mut bytes);
    bytes
}

impl Event {
    fn encode(&self) -> Vec<u8> {
        let mut summary = Vec::new();
        for (tag, scalar) in &self.scalars {
            let mut value = Vec::new();
            delimited(1, tag.as_bytes(), &mut value);
            value.push((2 << 3) | 5);
            value.extend(scalar.to_le_bytes());
            delimited(1, &value, &mut summary);
        }
        let mut bytes = event_header(self.wall_seconds, self.step);
        delimited(5, &summary, &mut bytes);
        bytes
    }

    /// Reads an `Event` message; fields that we do not write are passed over.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut event = Self { wall_seconds: 0.0, step: 0, scalars: Vec::new() };
        for (field, value) in fields(bytes)? {
            match (field, value) {
                (1, Field::Fixed64(bits)) => event.wall_seconds = f64::from_bits(bits),
                (2, Field::Varint(step)) => event.step = step,
                (5, Field::Bytes(summary)) => {
                    for (field, value) in fields(summary)? {
                        if let (1, Field::Bytes(value)) = (field, value) {
                            event.scalars.push(decode_scalar(value)?);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(event)
    }
}

fn decode_scalar(bytes: &[u8]) -> Option<(String, f32)> {
    let mut scalar = (String::new(), 0.0);
    for (field, value) in fields(bytes)? {
        match (field, value) {
            (1, Field::Bytes(tag)) => scalar.0 = String::from_utf8(tag.to_vec()).ok()?,
            (2, Field::Fixed32(bits)) => scalar.1 = f32::from_bits(bits),
            _ => {}
        }
    }
    Some(scalar)
}

enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, or `None` when it is cut or malformed.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = read_varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Field::Varint(read_varint(&mut bytes)?),
            1 => Field::Fixed64(u64::from_le_bytes(*take(&mut bytes, 8)?.first_chunk()?)),
            2 => {
                let length = usize::try_from(read_varint(&mut bytes)?).ok()?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(*take(&mut bytes, 4)?.first_chunk()?)),
            _ => return None,
        };
        found.push((key >> 3, value));
    }
    Some(found)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(count)?;
    *bytes = tail;
    Some(head)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = bytes.split_first()?;
        *bytes = tail;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + FRAME_BYTES);
    record.extend(length);
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(bytes);
    record.extend(masked(crc32c(bytes)).to_le_bytes());
    record
}

/// The first record's bytes and the rest; `None` when it is cut or a checksum fails.
fn unframe(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    let length = take(&mut rest, 8)?;
    let sum = |rest: &mut &[u8]| Some(u32::from_le_bytes(*take(rest, 4)?.first_chunk()?));
    if sum(&mut rest)? != masked(crc32c(length)) {
        return None;
    }
    let data = take(&mut rest, usize::try_from(u64::from_le_bytes(*length.first_chunk()?)).ok()?)?;
    (sum(&mut rest)? == masked(crc32c(data))).then_some((data, rest))
}

/// The events of a file's bytes, up to the first record that is cut or damaged. The file-version event has no
/// scalars.
#[must_use]
pub fn read_events(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((data, rest)) = unframe(bytes) {
        let Some(event) = Event::decode(data) else { break };
        events.push(event);
        bytes = rest;
    }
    events
}

/// The writer of one event file.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Opens `path`, whose name must hold "tfevents", for appending after the last event of step `keep`; what came
    /// later is cut off. With `None` everything is.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, cut or created.
    pub fn open(path: PathBuf, keep: Option<u64>, wall_seconds: f64) -> Result<Self> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let kept = keep.map_or(0, |step| kept_bytes(&bytes, step));
            file.set_len(kept)?;
            file.seek(io::SeekFrom::Start(kept))?;
            if kept == 0 {
                let mut version = event_header(wall_seconds, 0);
                delimited(3, FILE_VERSION.as_bytes(), &mut version);
                file.write_all(&frame(&version))?;
            }
            Ok(file)
        };
        let file = open().map_err(Error::io("open", &path))?;
        Ok(Self { file, path })
    }

    /// Appends one event.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn append(&mut self, event: &Event) -> Result<()> {
        self.file.write_all(&frame(&event.encode())).map_err(Error::io("write", &self.path))
    }
}

fn kept_bytes(bytes: &[u8], step: u64) -> u64 {
    let mut rest = bytes;
    while let Some((data, next)) = unframe(rest) {
        if Event::decode(data).is_none_or(|event| event.step > step) {
            break;
        }
        rest = next;
    }
    (bytes.len() - rest.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(step: u64) -> Event {
        let scalars = vec![("train/loss".into(), 0.25), ("train/ü".into(), f32::MIN_POSITIVE)];
        Event { wall_seconds: 1.7e9 + 0.5, step, scalars }
    }

    #[test]
    fn crc32c_matches_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn the_first_record_says_the_file_version_where_tensorboard_looks_for_it() {
        // Field by field: wall time 0, step 0 written out, "brain.Event:2".
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("events.out.tfevents.1");
        EventFile::open(path.clone(), None, 0.0).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes[..8], 26_u64.to_le_bytes());
        assert_eq!(bytes[12], 9);
        assert_eq!(bytes[21..25], [0x10, 0, 0x1A, 13]);
        assert_eq!(&bytes[25..38], b"brain.Event:2");
        assert_eq!(bytes.len(), 26 + FRAME_BYTES);
    }

    #[test]
    fn events_are_read_back_and_later_or_cut_ones_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("events.out.tfevents.1");
        let mut file = EventFile::open(path.clone(), None, 1.0).unwrap();
        for step in [1, 300, u64::MAX] {
            file.append(&event(step)).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        let events = read_events(&bytes);
        assert_eq!(events[1..], [event(1), event(300), event(u64::MAX)]);
        assert_eq!(read_events(&bytes[..bytes.len() - 1]).len(), 3, "a cut record is not an event");
        let mut file = EventFile::open(path.clone(), Some(300), 1.0).unwrap();
        file.append(&event(301)).unwrap();
        let steps: Vec<u64> = read_events(&std::fs::read(&path).unwrap()).iter().map(|event| event.step).collect();
        assert_eq!(steps, [0, 1, 300, 301]);
    }

    #[test]
    fn a_flipped_bit_ends_the_reading() {
        let mut bytes = frame(&event(1).encode());
        bytes.extend(frame(&event(2).encode()));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read_events(&damaged).len() < 2, "bit {bit}");
        }
    }
}
