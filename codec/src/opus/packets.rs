//! Audio to Opus packets and back, without a container.

use super::raw::{Decoder, Encoder, PACKET_SAMPLES_MAX, Refusal};
use crate::{Error, Result, audio::Audio, resample::resample};

/// Opus works inside at this rate, and Ogg counts in it.
pub(super) const OPUS_RATE_HZ: u32 = 48_000;

/// The frame of this encoder: 20 ms.
pub(super) const FRAME_SAMPLES: usize = 960;

/// Largest packet of one 20 ms frame that the encoder may write (1275 is the format's limit).
const PACKET_BYTES_MAX: usize = 1_500;

/// Bitrates that libopus takes, in bits a second.
pub const BITRATE_RANGE_BPS: (u32, u32) = (6_000, 510_000);

pub(super) fn refused(what: &'static str) -> impl Fn(Refusal) -> Error {
    move |refusal| Error::Library { what, reason: refusal.reason().into() }
}

/// Encoded audio: 20 ms packets at 48 kHz.
pub(super) struct Packets {
    pub(super) channels: usize,
    pub(super) packets: Vec<Vec<u8>>,
    /// Samples at 48 kHz that a decoder drops at the front.
    pub(super) pre_skip: usize,
    /// Samples a channel at 48 kHz before padding.
    pub(super) samples: usize,
}

pub(super) fn encode(audio: &Audio, bitrate_bps: u32) -> Result<Packets> {
    let channels = audio.channels.len();
    if !(1..=2).contains(&channels) {
        return Err(Error::Shape {
            what: "audio",
            expected: "1 or 2 channels".into(),
            got: format!("{channels} channels"),
        });
    }
    let (low, high) = BITRATE_RANGE_BPS;
    if !(low..=high).contains(&bitrate_bps) {
        return Err(Error::Config {
            field: "bitrate_bps",
            expected: format!("{low} to {high}"),
            got: bitrate_bps.to_string(),
        });
    }
    audio.check_finite("audio for Opus")?;
    let length = audio.len();
    let planes = audio
        .channels
        .iter()
        .map(|plane| resample(&plane[..length], audio.sample_rate_hz, OPUS_RATE_HZ))
        .collect::<Result<Vec<_>>>()?;
    let samples = planes.first().map_or(0, Vec::len);
    if samples == 0 {
        return Err(Error::Empty { path: "audio for Opus".into() });
    }

    let mut encoder = Encoder::new(OPUS_RATE_HZ, channels, bitrate_bps).map_err(refused("Opus encoder"))?;
    let pre_skip = encoder.lookahead().map_err(refused("Opus encoder"))?;
    let mut packets = Vec::new();
    let mut frame = vec![0.0_f32; FRAME_SAMPLES * channels];
    let mut bytes = vec![0_u8; PACKET_BYTES_MAX];
    // The delay pushes the last samples out of the last frame: silence flushes them.
    for start in (0..samples + pre_skip).step_by(FRAME_SAMPLES) {
        for (i, slot) in frame.iter_mut().enumerate() {
            *slot = planes[i % channels].get(start + i / channels).copied().unwrap_or(0.0);
        }
        let written = encoder.encode(&frame, &mut bytes).map_err(refused("Opus encoder"))?;
        packets.push(bytes[..written].to_vec());
    }
    Ok(Packets { channels, packets, pre_skip, samples })
}

/// Decodes packets one by one and appends them to planes.
pub(super) struct PacketDecoder {
    decoder: Decoder,
    interleaved: Vec<f32>,
    pub(super) planes: Vec<Vec<f32>>,
}

impl PacketDecoder {
    pub(super) fn new(streams: u8, coupled: u8, mapping: &[u8]) -> std::result::Result<Self, Refusal> {
        let decoder = Decoder::new(streams, coupled, mapping)?;
        let interleaved = vec![0.0; PACKET_SAMPLES_MAX * mapping.len()];
        Ok(Self { decoder, interleaved, planes: vec![Vec::new(); mapping.len()] })
    }

    /// Returns the samples a channel of this packet.
    pub(super) fn push(&mut self, packet: &[u8]) -> std::result::Result<usize, Refusal> {
        let frames = self.decoder.decode(packet, &mut self.interleaved)?;
        let channels = self.planes.len();
        for (channel, plane) in self.planes.iter_mut().enumerate() {
            let of_channel = self.interleaved[..frames * channels].iter().skip(channel).step_by(channels);
            plane.extend(of_channel);
        }
        Ok(frames)
    }

    pub(super) fn push_silence(&mut self, samples: usize) {
        for plane in &mut self.planes {
            plane.resize(plane.len() + samples, 0.0);
        }
    }
}

/// What Opus makes of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTrip {
    /// At the rate, length and channels of the original, delay compensated.
    pub audio: Audio,
    /// Bits a second that the packets really took, without any container.
    pub bitrate_bps: f64,
}

/// Encodes and decodes in memory.
///
/// # Shapes
/// - audio: 1 or 2 channels, any accepted rate; the result has the same channels, length and rate.
///
/// # Errors
/// Bitrates outside [`BITRATE_RANGE_BPS`], other channel counts, and samples that are not finite.
pub fn opus_roundtrip(audio: &Audio, bitrate_bps: u32) -> Result<RoundTrip> {
    let encoded = encode(audio, bitrate_bps)?;
    let mapping: &[u8] = if encoded.channels == 1 { &[0] } else { &[0, 1] };
    let coupled = (encoded.channels - 1) as u8;
    let mut decoder = PacketDecoder::new(1, coupled, mapping).map_err(refused("Opus decoder"))?;
    let mut bytes = 0_usize;
    for packet in &encoded.packets {
        bytes += packet.len();
        decoder.push(packet).map_err(refused("Opus decoder"))?;
    }
    let seconds = (encoded.packets.len() * FRAME_SAMPLES) as f64 / f64::from(OPUS_RATE_HZ);
    let length = audio.len();
    let back = |plane: &Vec<f32>| -> Result<Vec<f32>> {
        let end = (encoded.pre_skip + encoded.samples).min(plane.len());
        let mut samples = resample(&plane[encoded.pre_skip.min(end)..end], OPUS_RATE_HZ, audio.sample_rate_hz)?;
        samples.resize(length, 0.0);
        Ok(samples)
    };
    let channels = decoder.planes.iter().map(back).collect::<Result<Vec<_>>>()?;
    Ok(RoundTrip {
        audio: Audio { channels, sample_rate_hz: audio.sample_rate_hz },
        bitrate_bps: 8.0 * bytes as f64 / seconds,
    })
}
