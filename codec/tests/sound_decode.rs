//! Files in memory through the whole decoder: what is whole is whole, what is not is named.

use std::path::Path;

use musicrl_codec::{
    Error,
    audio::Audio,
    decode::{Decoded, Limits, decode_bytes},
    distance::{log_mel_distance, si_sdr},
    opus::{encode_ogg, opus_roundtrip},
    write::{wav_bytes, wav_bytes_float},
};
use musicrl_core::random::{Key, Purpose};
use proptest::prelude::*;

fn decode(bytes: Vec<u8>, name: &str) -> Result<Decoded, Error> {
    decode_bytes(bytes, Path::new(name), &Limits::default())
}

/// Chords with a beat, a little noise, and a difference between channels.
fn music(channels: usize, seconds: f64, rate_hz: u32) -> Audio {
    let samples = (seconds * f64::from(rate_hz)) as usize;
    let plane = |channel: usize| {
        let mut noise = Key::new(9, Purpose::Test).clip(channel as u64).stream();
        (0..samples)
            .map(|i| {
                let t = i as f64 / f64::from(rate_hz);
                let envelope = (-3.0 * (t * 2.0).fract()).exp();
                let chord: f64 = [220.0, 277.2, 329.6, 440.0 + 20.0 * channel as f64]
                    .iter()
                    .map(|hz| (std::f64::consts::TAU * hz * t).sin())
                    .sum();
                (0.1 * envelope * chord + 0.001 * noise.normal()) as f32
            })
            .collect()
    };
    Audio { channels: (0..channels).map(plane).collect(), sample_rate_hz: rate_hz }
}

/// Silent frames of MPEG-1 layer III at 44.1 kHz mono, one for each bitrate (the index of the header).
fn mp3(bitrate_indices: impl IntoIterator<Item = u8>) -> Vec<u8> {
    const KBPS: [usize; 16] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0];
    let mut bytes = Vec::new();
    for index in bitrate_indices {
        bytes.extend([0xff, 0xfb, index << 4, 0xc0]);
        let length = 144 * 1_000 * KBPS[usize::from(index)] / 44_100;
        bytes.resize(bytes.len() + length - 4, 0);
    }
    bytes
}

#[test]
fn an_mp3_has_the_length_of_its_frames_even_where_an_estimate_would_be_shorter() {
    let bytes = mp3([14; 20].into_iter().chain([1; 200]));
    let decoded = decode(bytes, "a.mp3").unwrap();
    assert_eq!((decoded.codec.as_str(), decoded.audio.sample_rate_hz), ("mp3", 44_100));
    assert_eq!(decoded.audio.len(), 220 * 1_152);
}

#[test]
fn a_cut_mp3_is_truncated_wherever_it_is_cut() {
    let whole = mp3([9; 60]);
    for cut in [1, 100, 416, 417 * 30 + 5, whole.len() - 900] {
        let error = decode(whole[..whole.len() - cut].to_vec(), "song.mp3").unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{cut}: {error}");
        assert!(error.to_string().contains("song.mp3"), "{error}");
    }
}

#[test]
fn cut_wav_files_are_truncated_and_whole_ones_are_exact() {
    let audio = music(2, 0.7, 32_000);
    let bytes = wav_bytes_float(&audio).unwrap();
    assert_eq!(decode(bytes.clone(), "a.wav").unwrap().audio, audio);
    for keep in [bytes.len() - 1, bytes.len() / 2, 200] {
        let error = decode(bytes[..keep].to_vec(), "a.wav").unwrap_err();
        assert!(matches!(error, Error::Truncated { .. } | Error::Empty { .. }), "{keep}: {error}");
    }
    let empty = wav_bytes(&Audio::from_mono(Vec::new(), 8_000)).unwrap();
    assert!(matches!(decode(empty, "a.wav"), Err(Error::Empty { .. } | Error::NotAudio { .. })));
}

#[test]
fn opus_keeps_length_channels_and_sound() {
    for (channels, rate_hz, seconds) in [(1, 48_000, 1.2345), (2, 44_100, 1.0), (1, 16_000, 0.01)] {
        let audio = music(channels, seconds, rate_hz);
        let bytes = encode_ogg(&audio, 160_000, &[("TITLE", "Chords"), ("BPM", "120")]).unwrap();
        assert_eq!(bytes, encode_ogg(&audio, 160_000, &[("TITLE", "Chords"), ("BPM", "120")]).unwrap());
        let decoded = decode(bytes, "a.opus").unwrap();
        assert_eq!((decoded.audio.sample_rate_hz, decoded.audio.channels.len()), (48_000, channels));
        let expected = (audio.len() as u64 * 48_000).div_ceil(u64::from(rate_hz));
        assert_eq!(decoded.audio.len() as u64, expected);
        assert_eq!((decoded.tags.title.as_deref(), decoded.tags.bpm), (Some("Chords"), Some(120.0)));

        let back = opus_roundtrip(&audio, 160_000).unwrap();
        assert_eq!((back.audio.len(), back.audio.channels.len()), (audio.len(), channels));
        if seconds > 0.5 {
            for (original, coded) in audio.channels.iter().zip(&back.audio.channels) {
                let ratio = si_sdr(original, coded).unwrap();
                assert!(ratio > 15.0, "delay not compensated, or worse: {ratio} dB");
            }
            assert!(back.bitrate_bps > 8_000.0 && back.bitrate_bps < 200_000.0, "{}", back.bitrate_bps);
        }
    }
}

#[test]
fn more_opus_bits_are_nearer() {
    let audio = music(1, 2.0, 24_000);
    let distance = |bitrate_bps| {
        let back = opus_roundtrip(&audio, bitrate_bps).unwrap().audio;
        log_mel_distance(&audio.channels[0], &back.channels[0], 24_000).unwrap()
    };
    let distances = [6_000, 24_000, 128_000].map(distance);
    assert!(distances[0] > distances[1] && distances[1] > distances[2] && distances[2] > 0.0, "{distances:?}");
}

#[test]
fn opus_refuses_what_it_cannot_do() {
    let audio = music(3, 0.1, 48_000);
    assert!(matches!(opus_roundtrip(&audio, 64_000), Err(Error::Shape { .. })));
    let mono = music(1, 0.1, 48_000);
    for bitrate_bps in [0, 5_999, 1_000_000] {
        assert!(matches!(opus_roundtrip(&mono, bitrate_bps), Err(Error::Config { field: "bitrate_bps", .. })));
    }
    assert!(matches!(encode_ogg(&Audio::from_mono(Vec::new(), 48_000), 64_000, &[]), Err(Error::Empty { .. })));
    assert!(matches!(encode_ogg(&Audio::from_mono(vec![f32::NAN], 48_000), 64_000, &[]), Err(Error::NonFinite { .. })));
}

#[test]
fn cut_chained_and_flipped_opus_files_are_named() {
    let bytes = encode_ogg(&music(1, 3.0, 48_000), 64_000, &[]).unwrap();
    for keep in [bytes.len() - 1, bytes.len() / 2, 60] {
        let error = decode(bytes[..keep].to_vec(), "a.opus").unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{keep}: {error}");
    }
    let chained = [bytes.clone(), bytes.clone()].concat();
    assert!(matches!(decode(chained, "a.opus"), Err(Error::Unsupported { .. } | Error::Damaged { .. })));
    let mut flipped = bytes;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    assert!(matches!(decode(flipped, "a.opus"), Err(Error::Damaged { .. })), "the page's checksum tells");
}

#[test]
fn limits_are_kept_before_and_while_decoding() {
    let second = wav_bytes(&music(2, 1.0, 16_000)).unwrap();
    for limits in [Limits { seconds: 0.9, ..Limits::default() }, Limits { samples: 31_999, ..Limits::default() }] {
        let result = decode_bytes(second.clone(), Path::new("a.wav"), &limits);
        assert!(matches!(result, Err(Error::TooLong { .. })), "{result:?}");
    }
    let exact = Limits { seconds: 1.0, samples: 32_000, ..Limits::default() };
    assert!(decode_bytes(second, Path::new("a.wav"), &exact).is_ok());
    // A stream without a length is stopped on its way.
    let limits = Limits { seconds: 2.0, ..Limits::default() };
    assert!(matches!(decode_bytes(mp3([9; 100]), Path::new("a.mp3"), &limits), Err(Error::TooLong { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No bytes make the decoder panic, run away, or give samples that are not finite.
    #[test]
    fn damaged_files_are_refused_or_finite(seed in 0_u64..1_000, kind in 0_usize..3, flips in 1_usize..40) {
        let audio = music(1, 0.3, 16_000);
        let mut bytes = match kind {
            0 => wav_bytes(&audio).unwrap(),
            1 => encode_ogg(&audio, 32_000, &[]).unwrap(),
            _ => mp3([9; 30]),
        };
        let mut stream = Key::new(seed, Purpose::Test).stream();
        for _ in 0..flips {
            let at = stream.below(bytes.len());
            bytes[at] = stream.below(256) as u8;
        }
        let limits = Limits { seconds: 60.0, ..Limits::default() };
        if let Ok(decoded) = decode_bytes(bytes, Path::new("x"), &limits) {
            prop_assert!(decoded.audio.check_finite("x").is_ok() && !decoded.audio.is_empty());
        }
    }
}
