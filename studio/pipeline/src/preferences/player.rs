//! Systems that play pairs of clips.

use std::ops::Range;

use burn::tensor::Device;
use musicrl_core::{
    policy::{HierarchicalPolicy, Policy as _},
    random::{Key, Purpose},
    tokens::Tokens,
};
use musicrl_feedback::{ClipOrigin, ClipRecord, set::AUDIO_DIR};
use musicrl_rewards::Properties;
use rayon::prelude::*;

use super::settings::{CollectSettings, System};
use crate::{
    Result,
    align::play::{PlaySettings, play_clips},
    music::{Music, load_policy},
};

/// The step whose random numbers collections use: no training step reaches it, and evaluations have another.
pub const COLLECTION_STEP: u64 = 1 << 40;

/// A system, ready to play.
pub(super) struct Player<'a> {
    name: &'a str,
    identity: String,
    policy: HierarchicalPolicy,
    music: Music,
    settings: PlaySettings,
    keep_sound: bool,
}

/// One clip of a chunk, heard.
pub(super) struct Heard {
    pub(super) record: ClipRecord,
    pub(super) properties: Properties,
    pub(super) samples: Vec<f32>,
    pub(super) sample_rate_hz: u32,
}

impl<'a> Player<'a> {
    pub(super) fn new(system: &'a System, settings: &CollectSettings, device: &Device) -> Result<Self> {
        let policy = load_policy(&system.bundle, device)?;
        let music = Music::load(&system.bundle, device)?;
        let seconds = settings.clip_seconds.unwrap_or(system.bundle.clip_seconds());
        let frames = policy.layout().frames_in(seconds).max(1);
        let sampling = settings.sampling.clone();
        Ok(Self {
            name: &system.name,
            identity: system.bundle.identity(),
            policy,
            music,
            settings: PlaySettings { sampling, frames, seed: settings.seed, batch: settings.batch, given: None },
            keep_sound: settings.audio,
        })
    }

    /// Plays and measures clips, each of a number with its caption.
    fn play(&self, clips: &[(u64, &str)]) -> Result<Vec<Heard>> {
        let (numbers, captions): (Vec<u64>, Vec<&str>) = clips.iter().copied().unzip();
        let place = (COLLECTION_STEP, numbers.as_slice());
        let played = play_clips(&self.policy, &self.music, &captions, &self.settings, place, true)?;
        let sample_rate_hz = self.music.sample_rate_hz();
        let sounds: Vec<(Tokens, Vec<f32>)> = played.tokens.into_iter().zip(played.audio).collect();
        let heard = sounds.into_par_iter().zip(clips).map(|((tokens, samples), (number, caption))| Heard {
            record: ClipRecord {
                tokens: tokens.ids,
                slots: tokens.slots,
                audio: self.keep_sound.then(|| format!("{AUDIO_DIR}/{}.wav", clip_id(*number))),
                origin: Some(ClipOrigin {
                    bundle: self.identity.clone(),
                    seed: self.settings.seed,
                    step: COLLECTION_STEP,
                    clip: *number,
                }),
                ..ClipRecord::new(clip_id(*number), *caption, self.name)
            },
            properties: Properties::of(&samples, sample_rate_hz),
            samples,
            sample_rate_hz,
        });
        Ok(heard.collect())
    }
}

/// "p000012-a": the pair and its side.
fn clip_id(number: u64) -> String {
    format!("p{:06}-{}", number / 2, if number.is_multiple_of(2) { 'a' } else { 'b' })
}

/// The systems that play the sides of a pair: every two in turn.
fn systems_of(pair: usize, systems: usize) -> [usize; 2] {
    let mut left = pair % (systems * systems.saturating_sub(1) / 2).max(1);
    for first in 0..systems {
        let meets = systems - first - 1;
        if left < meets {
            return [first, first + 1 + left];
        }
        left -= meets;
    }
    [0, 0]
}

/// The caption of a pair: epochs, each in a new order.
fn captions_of(pairs: Range<usize>, settings: &CollectSettings) -> Vec<&str> {
    let count = settings.captions.len();
    let mut order: (usize, Vec<usize>) = (usize::MAX, Vec::new());
    pairs
        .map(|pair| {
            let epoch = pair / count;
            if order.0 != epoch {
                let mut indices: Vec<usize> = (0..count).collect();
                let key = Key::new(settings.seed, Purpose::Batch).step(COLLECTION_STEP).clip(epoch as u64);
                key.stream().shuffle(&mut indices);
                order = (epoch, indices);
            }
            settings.captions[order.1[pair % count]].as_str()
        })
        .collect()
}

/// The clips of a chunk, the two sides of each pair side by side.
pub(super) fn play_pairs(
    players: &[Player<'_>],
    settings: &CollectSettings,
    pairs: Range<usize>,
) -> Result<Vec<Heard>> {
    let captions = captions_of(pairs.clone(), settings);
    let mut wanted: Vec<Vec<(u64, &str)>> = vec![Vec::new(); players.len()];
    for (pair, caption) in pairs.zip(captions) {
        for (side, system) in systems_of(pair, players.len()).into_iter().enumerate() {
            wanted[system].push(((2 * pair + side) as u64, caption));
        }
    }
    let mut heard = Vec::new();
    for (player, clips) in players.iter().zip(&wanted).filter(|(_, clips)| !clips.is_empty()) {
        heard.extend(player.play(clips)?.into_iter().zip(clips.iter().map(|(number, _)| *number)));
    }
    heard.sort_by_key(|(_, number)| *number);
    Ok(heard.into_iter().map(|(heard, _)| heard).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_systems_meet_in_turn() {
        assert_eq!((0..3).map(|pair| systems_of(pair, 1)).collect::<Vec<_>>(), [[0, 0]; 3]);
        assert_eq!((0..3).map(|pair| systems_of(pair, 2)).collect::<Vec<_>>(), [[0, 1]; 3]);
        let three: Vec<_> = (0..4).map(|pair| systems_of(pair, 3)).collect();
        assert_eq!(three, [[0, 1], [0, 2], [1, 2], [0, 1]]);
    }

    #[test]
    fn clips_are_named_by_pair_and_side() {
        assert_eq!([clip_id(0), clip_id(25), clip_id(2_000_000)], ["p000000-a", "p000012-b", "p1000000-a"]);
    }
}
