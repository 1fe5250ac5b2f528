//! The one file with `unsafe`: `unsafe-libopus` is libopus 1.3.1 translated from C, with C's interface.
//!
//! # Why it is sound
//! - A state is made by `*_create` only, is checked for null and for the returned error code before it is kept, is
//!   owned by exactly one wrapper, and is freed once, in `Drop`, by the matching `*_destroy`. It holds no pointer into
//!   memory of ours, and it is plain memory without thread affinity, so the wrapper may move between threads.
//! - Every slice that is handed over is a live Rust slice for the whole call, and its length goes with it: packets as
//!   `(pointer, len)` with `0 < len <= i32::MAX`; sample buffers with a frame size such that `frames * channels` is
//!   at most their length (checked here, not at call sites). The library writes at most that many samples and
//!   returns how many it wrote, or a negative code.
//! - The channel mapping given to the multistream decoder has one entry a channel and is copied by the callee, which
//!   also refuses entries that name streams that do not exist.
//! - `*_ctl` requests are variadic in C; here they carry one argument of the type that the request documents.
#![allow(unsafe_code)]

// The alias drops the word from the name; this header and the attribute above keep it.
#[allow(clippy::unsafe_removed_from_name)]
use unsafe_libopus as lib;

/// Longest Opus packet: 120 ms at 48 kHz.
pub(super) const PACKET_SAMPLES_MAX: usize = 5_760;

/// What libopus said no to, with its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) i32);

impl Refusal {
    pub(super) fn reason(self) -> &'static str {
        match self.0 {
            lib::OPUS_BAD_ARG => "bad argument",
            lib::OPUS_BUFFER_TOO_SMALL => "buffer too small",
            lib::OPUS_INTERNAL_ERROR => "internal error",
            lib::OPUS_INVALID_PACKET => "invalid packet",
            lib::OPUS_UNIMPLEMENTED => "unimplemented",
            lib::OPUS_INVALID_STATE => "invalid state",
            lib::OPUS_ALLOC_FAIL => "out of memory",
            _ => "unknown error",
        }
    }
}

/// A decoder of one or more Opus streams at 48 kHz.
pub(super) struct Decoder {
    state: *mut lib::OpusMSDecoder,
    channels: usize,
}

// SAFETY: the state is plain heap memory owned by this wrapper alone; libopus keeps nothing per thread.
unsafe impl Send for Decoder {}

impl Decoder {
    /// `mapping` has one entry a channel (RFC 7845, section 5.1.1).
    pub(super) fn new(streams: u8, coupled: u8, mapping: &[u8]) -> Result<Self, Refusal> {
        let channels = mapping.len();
        if channels == 0 || channels > 255 || streams == 0 || coupled > streams {
            return Err(Refusal(lib::OPUS_BAD_ARG));
        }
        let mut code = lib::OPUS_OK;
        // SAFETY: `mapping` has `channels` entries and outlives the call; `code` is a live i32.
        let state = unsafe {
            lib::opus_multistream_decoder_create(
                48_000,
                channels as i32,
                streams.into(),
                coupled.into(),
                mapping.as_ptr(),
                &mut code,
            )
        };
        if state.is_null() || code != lib::OPUS_OK {
            return Err(Refusal(code));
        }
        Ok(Self { state, channels })
    }

    /// Decodes one packet into interleaved samples; returns how many a channel.
    pub(super) fn decode(&mut self, packet: &[u8], interleaved: &mut [f32]) -> Result<usize, Refusal> {
        let frames = interleaved.len() / self.channels;
        let (Ok(bytes), Ok(frames)) = (i32::try_from(packet.len()), i32::try_from(frames)) else {
            return Err(Refusal(lib::OPUS_BAD_ARG));
        };
        if bytes == 0 || frames == 0 {
            return Err(Refusal(lib::OPUS_INVALID_PACKET));
        }
        // SAFETY: `state` is live (type invariant); both slices live through the call, and `frames * channels` is at
        // most the length of `interleaved`.
        let written = unsafe {
            lib::opus_multistream_decode_float(self.state, packet.as_ptr(), bytes, interleaved.as_mut_ptr(), frames, 0)
        };
        usize::try_from(written).map_err(|_| Refusal(written))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: `state` came from `create`, is not null and is freed only here.
        unsafe { lib::opus_multistream_decoder_destroy(self.state) }
    }
}

/// An encoder of mono or stereo at one of Opus's own rates.
pub(super) struct Encoder {
    state: *mut lib::OpusEncoder,
    channels: usize,
}

// SAFETY: as for `Decoder`.
unsafe impl Send for Encoder {}

impl Encoder {
    /// Variable bitrate, full complexity, tuned for music.
    pub(super) fn new(sample_rate_hz: u32, channels: usize, bitrate_bps: u32) -> Result<Self, Refusal> {
        let (Ok(rate), Ok(channel_count), Ok(bitrate)) =
            (i32::try_from(sample_rate_hz), i32::try_from(channels), i32::try_from(bitrate_bps))
        else {
            return Err(Refusal(lib::OPUS_BAD_ARG));
        };
        let mut code = lib::OPUS_OK;
        // SAFETY: `code` is a live i32; bad rates and channel counts are refused by the callee.
        let state = unsafe { lib::opus_encoder_create(rate, channel_count, lib::OPUS_APPLICATION_AUDIO, &mut code) };
        if state.is_null() || code != lib::OPUS_OK {
            return Err(Refusal(code));
        }
        let encoder = Self { state, channels };
        for (request, value) in [
            (lib::OPUS_SET_BITRATE_REQUEST, bitrate),
            (lib::OPUS_SET_COMPLEXITY_REQUEST, 10),
            (lib::OPUS_SET_SIGNAL_REQUEST, lib::OPUS_SIGNAL_MUSIC),
        ] {
            // SAFETY: `state` is live; these requests take one i32.
            let code = unsafe { lib::opus_encoder_ctl!(encoder.state, request, value) };
            if code != lib::OPUS_OK {
                return Err(Refusal(code));
            }
        }
        Ok(encoder)
    }

    /// Samples at the encoder's rate by which the sound is delayed.
    pub(super) fn lookahead(&mut self) -> Result<usize, Refusal> {
        let mut samples = 0_i32;
        // SAFETY: `state` is live; this request takes one `&mut i32`.
        let code = unsafe { lib::opus_encoder_ctl!(self.state, lib::OPUS_GET_LOOKAHEAD_REQUEST, &mut samples) };
        if code != lib::OPUS_OK {
            return Err(Refusal(code));
        }
        usize::try_from(samples).map_err(|_| Refusal(samples))
    }

    /// Encodes one frame of interleaved samples (2.5 to 60 ms long).
    pub(super) fn encode(&mut self, interleaved: &[f32], packet: &mut [u8]) -> Result<usize, Refusal> {
        let frames = interleaved.len() / self.channels;
        let (Ok(frames), Ok(room)) = (i32::try_from(frames), i32::try_from(packet.len())) else {
            return Err(Refusal(lib::OPUS_BAD_ARG));
        };
        if frames == 0 || room == 0 {
            return Err(Refusal(lib::OPUS_BAD_ARG));
        }
        // SAFETY: `state` is live; `interleaved` holds `frames * channels` samples and `packet` has `room` bytes.
        let written =
            unsafe { lib::opus_encode_float(self.state, interleaved.as_ptr(), frames, packet.as_mut_ptr(), room) };
        usize::try_from(written).map_err(|_| Refusal(written))
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: `state` came from `create`, is not null and is freed only here.
        unsafe { lib::opus_encoder_destroy(self.state) }
    }
}
