//! The Opus codec: reading and making Ogg Opus, and the round trip that comparisons with the neural codec need.

mod ogg;
mod packets;
mod raw;

pub use ogg::encode_ogg;
pub(crate) use ogg::{decode_ogg, is_ogg_opus};
pub use packets::{BITRATE_RANGE_BPS, RoundTrip, opus_roundtrip};
