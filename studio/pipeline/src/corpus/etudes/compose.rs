//! Attributes to a score, a score to sound.

use musicrl_core::random::{Key, Purpose};

use super::{
    accompaniment,
    attributes::Attributes,
    melody, render,
    score::{Plan, Score},
};

/// Purposes of the corpus' random numbers inside a clip: composing never disturbs drawing or playing.
pub(super) const DRAWING: u64 = 0;
const COMPOSING: u64 = 1;
const PLAYING: u64 = 2;

/// Composes a piece.
fn compose(attributes: &Attributes, seconds: f64, key: Key) -> Score {
    let mut random = key.step(COMPOSING).stream();
    let plan = Plan::new(attributes, seconds, &mut random);
    let mut score = Score::default();
    melody::lead(attributes, &plan, &mut score, &mut random);
    accompaniment::accompany(attributes, &plan, &mut score, &mut random);
    accompaniment::bass(attributes, &plan, &mut score, &mut random);
    accompaniment::percussion(attributes, &plan, &mut score, &mut random);
    score
}

/// Composes and plays clip `clip` of `seed`: `samples` samples, none above full scale.
#[must_use]
pub fn synthesise(seed: u64, clip: u64, attributes: &Attributes, sample_rate_hz: u32, samples: usize) -> Vec<f32> {
    let key = Key::new(seed, Purpose::Corpus).clip(clip);
    let seconds = samples as f64 / f64::from(sample_rate_hz.max(1));
    let score = compose(attributes, seconds, key);
    render::render(&score, attributes, sample_rate_hz, samples, &mut key.step(PLAYING).stream())
}
