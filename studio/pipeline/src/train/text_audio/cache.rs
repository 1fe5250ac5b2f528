//! Features of clips, computed once where memory allows.

use std::{collections::BTreeMap, sync::Arc};

use musicrl_core::reward::AudioView;
use musicrl_rewards::{TextAudioModel, front_end::Features};

use super::{Pairs, RoundTrip};
use crate::Result;

/// Features of clips that were heard, as they are and through the codec.
#[derive(Default)]
pub(super) struct FeatureCache {
    pub(super) features: BTreeMap<(usize, bool), Arc<Features>>,
    bytes: usize,
}

/// The features of a clip, through the codec where `round_trip` is given; kept as long as `cache_mib` lasts.
pub(super) fn cached_features(
    cache: &mut FeatureCache,
    model: &TextAudioModel,
    pairs: &dyn Pairs,
    clip: usize,
    round_trip: Option<&RoundTrip>,
    cache_mib: usize,
) -> Result<Arc<Features>> {
    let key = (clip, round_trip.is_some());
    if let Some(features) = cache.features.get(&key) {
        return Ok(Arc::clone(features));
    }
    let audio = pairs.audio(clip)?;
    let audio = match round_trip {
        Some(round_trip) => round_trip(&audio),
        None => audio,
    };
    let view = AudioView { samples: &audio, sample_rate_hz: pairs.sample_rate_hz() };
    let features = Arc::new(model.front_end().features(view)?);
    let bytes = features.frames() * features.bands() * size_of::<f32>();
    if (cache.bytes + bytes) >> 20 < cache_mib {
        cache.bytes += bytes;
        cache.features.insert(key, Arc::clone(&features));
    }
    Ok(features)
}
