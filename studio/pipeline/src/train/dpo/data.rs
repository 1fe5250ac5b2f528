//! Pairs of which one clip was preferred: [`DpoData`].

use musicrl_core::{preference::Outcome, tokens::Tokens};

use super::DpoConfig;
use crate::{
    Error, Result,
    evaluate_preference::{PreferenceReport, measure},
    preference::{Division, Pair, PreferenceData},
};

/// Two clips of one caption of which one was preferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpoPair {
    /// The caption's condition tokens; `None`: no condition.
    pub condition: Option<Vec<u32>>,
    /// The preferred clip.
    pub chosen: Tokens,
    /// The other one, of the same length.
    pub rejected: Tokens,
}

/// The decided pairs of a set, divided as the preference model's are. Ties, pairs that were both called bad, recorded margins
/// and confidence have no place in the loss: the first two are left out and counted, the others are not used.
#[derive(Debug, Clone, PartialEq)]
pub struct DpoData {
    /// To learn from.
    pub learning: Vec<DpoPair>,
    /// Held out, by caption.
    pub held_out: Vec<DpoPair>,
    /// Pairs without a preferred clip, which are left out.
    pub undecided: usize,
    /// Pairs of clips of two lengths: the longer one's end is left out.
    pub cut: usize,
    held_out_judgements: Vec<Pair>,
}

impl DpoData {
    /// Takes the decided pairs of `data`.
    ///
    /// # Errors
    /// [`Error::Config`] when no pair is left to learn from, or all pairs are of one cluster and some are to be held out.
    pub fn new(data: &PreferenceData, config: &DpoConfig) -> Result<Self> {
        let Division { learning, held_out } = data.split(config.held_out_share, config.split_seed)?;
        let (mut undecided, mut cut) = (0, 0);
        let mut take = |pairs: &[usize]| {
            let (mut taken, mut judgements) = (Vec::new(), Vec::new());
            for judged in pairs.iter().map(|pair| data.pairs()[*pair]) {
                let (chosen, rejected) = match judged.judgement.outcome {
                    Outcome::BetterA => (judged.a, judged.b),
                    Outcome::BetterB => (judged.b, judged.a),
                    _ => {
                        undecided += 1;
                        continue;
                    }
                };
                let [chosen, rejected] = [chosen, rejected].map(|clip| &data.clips()[clip]);
                let frames = chosen.tokens.frames.min(rejected.tokens.frames);
                cut += usize::from(chosen.tokens.frames != rejected.tokens.frames);
                taken.push(DpoPair {
                    condition: chosen.condition.clone(),
                    chosen: first_frames(&chosen.tokens, frames),
                    rejected: first_frames(&rejected.tokens, frames),
                });
                judgements.push(judged);
            }
            (taken, judgements)
        };
        let (learning, _) = take(&learning);
        let (held_out, held_out_judgements) = take(&held_out);
        if learning.is_empty() {
            let got = format!("none, and {undecided} without a preferred clip");
            return Err(Error::config("preferences", "pairs to learn from in which one clip was preferred", got));
        }
        Ok(Self { learning, held_out, undecided, cut, held_out_judgements })
    }

    /// Frames of the longest clip.
    #[must_use]
    pub fn frames_max(&self) -> usize {
        self.learning.iter().chain(&self.held_out).map(|pair| pair.chosen.frames).max().unwrap_or(0)
    }

    /// How well implicit rewards foretell the held-out choices; `margins` are
    /// [`DpoTraining::held_out_margins`](super::DpoTraining::held_out_margins). `None` where nothing is held out.
    ///
    /// # Errors
    /// As [`measure`].
    pub fn report(&self, margins: &[f64], config: &DpoConfig, seed: u64) -> Result<Option<PreferenceReport>> {
        if self.held_out_judgements.is_empty() {
            return Ok(None);
        }
        let differences: Vec<f64> = self
            .held_out_judgements
            .iter()
            .zip(margins)
            .map(|(pair, margin)| if pair.judgement.outcome == Outcome::BetterA { *margin } else { -margin })
            .collect();
        // One model: there is no spread. A decided pair has no use for a tie strength.
        let spread = vec![0.0; differences.len()];
        measure(&self.held_out_judgements, &differences, &spread, 0.0, &config.bootstrap, seed).map(Some)
    }
}

fn first_frames(clip: &Tokens, frames: usize) -> Tokens {
    let ids = clip.ids[..(frames * clip.slots).min(clip.ids.len())].to_vec();
    Tokens { ids, frames, slots: clip.slots }
}
