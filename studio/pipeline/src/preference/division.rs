//! Pairs to learn from and held-out ones: no caption is on both sides.

use std::collections::BTreeSet;

use musicrl_core::random::{Key, Purpose};

use super::PreferenceData;
use crate::{Error, Result, bundle::sha256_hex};

/// Pairs by index, those to learn from and those held out; whole clusters of captions on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// Pairs to learn from.
    pub learning: Vec<usize>,
    /// Pairs that are measured.
    pub held_out: Vec<usize>,
}

/// Most parts of a cross-validation.
pub const FOLDS_MAX: usize = 20;

impl PreferenceData {
    /// Pairs to learn from and held-out ones. Whole clusters go to one side, so that no caption is on both: those whose
    /// keyed number is smallest are held out. A cluster's number depends on `seed` and its first caption alone, so
    /// judgements that come in later move few others. At least one cluster stays on each side.
    ///
    /// # Errors
    /// [`Error::Config`] when all pairs are of one cluster and some are to be held out.
    pub fn split(&self, share: f64, seed: u64) -> Result<Division> {
        if share <= 0.0 {
            return Ok(Division { learning: (0..self.pairs().len()).collect(), held_out: Vec::new() });
        }
        let count = self.clusters().len();
        if count < 2 {
            let expected = "0 where all pairs hang together by their captions (nothing can be held out by caption)";
            return Err(Error::config("held_out_share", expected, share));
        }
        let held_out = ((share * count as f64).round() as usize).clamp(1, count - 1);
        let order = self.order(seed);
        Ok(self.holding_out(&order[..held_out].iter().copied().collect()))
    }

    /// `folds` divisions of which each holds other clusters out, and each cluster is held out once: those at the places
    /// i, i + folds, i + 2 folds, ... of the order in which [`split`](Self::split) holds clusters out.
    ///
    /// # Errors
    /// [`Error::Config`] for fewer than 2 folds, more than [`FOLDS_MAX`], or more than there are clusters.
    pub fn folds(&self, folds: usize, seed: u64) -> Result<Vec<Division>> {
        let most = FOLDS_MAX.min(self.clusters().len());
        if !(2..=most).contains(&folds) {
            let expected = format!("2 to {most} ({} clusters of captions can be divided)", self.clusters().len());
            return Err(Error::config("folds", expected, folds));
        }
        let order = self.order(seed);
        let fold = |fold| self.holding_out(&order.iter().copied().skip(fold).step_by(folds).collect());
        Ok((0..folds).map(fold).collect())
    }

    fn holding_out(&self, clusters: &BTreeSet<usize>) -> Division {
        let (learning, held_out) =
            (0..self.pairs().len()).partition(|pair| !clusters.contains(&self.pairs()[*pair].cluster));
        Division { learning, held_out }
    }

    /// The clusters by their keyed numbers.
    fn order(&self, seed: u64) -> Vec<usize> {
        let key = Key::new(seed, Purpose::Split);
        let number = |caption: &String| key.clip(text_hash(caption)).uniform(0);
        let mut order: Vec<(f64, usize)> =
            self.clusters().iter().enumerate().map(|(cluster, caption)| (number(caption), cluster)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        order.into_iter().map(|(_, cluster)| cluster).collect()
    }
}

/// A text as a number, the same on every machine.
fn text_hash(text: &str) -> u64 {
    u64::from_str_radix(&sha256_hex(text.as_bytes())[..16], 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use musicrl_core::{preference::Outcome, tokens::Tokens};

    use super::*;
    use crate::{preference::PreferenceClip, train::preference::fixture};

    /// Pair p is of caption `captions[p]`.
    fn data(captions: &[String]) -> PreferenceData {
        let tokens = Tokens::new(vec![0, 1, 2, 3], 2).unwrap();
        let clip = PreferenceClip { condition: None, tokens, descriptors: None };
        let clips =
            captions.iter().flat_map(|caption| [(caption.clone(), clip.clone()), (caption.clone(), clip.clone())]);
        let pairs: Vec<_> = (0..captions.len()).map(|p| (2 * p, 2 * p + 1, Outcome::BetterA.into())).collect();
        PreferenceData::new(&fixture::layout(), clips.collect(), &pairs).unwrap()
    }

    fn captions(count: usize, pairs_of_each: usize) -> Vec<String> {
        (0..count * pairs_of_each).map(|pair| format!("caption {}", pair / pairs_of_each)).collect()
    }

    #[test]
    fn no_caption_is_on_both_sides_and_later_pairs_move_few() {
        let (all, fewer) = (data(&captions(40, 1)), data(&captions(36, 1)));
        let division = all.split(0.25, 3).unwrap();
        assert_eq!((division.learning.len(), division.held_out.len()), (30, 10));
        let before = fewer.split(0.25, 3).unwrap().held_out;
        let moved = before.iter().filter(|pair| !division.held_out.contains(pair)).count();
        assert!(moved <= 2, "{before:?} {division:?}");
        assert_ne!(all.split(0.25, 4).unwrap(), division);
        assert_eq!(all.split(0.0, 3).unwrap().held_out, [0_usize; 0]);
        assert_eq!(all.split(0.001, 3).unwrap().held_out.len(), 1);
        assert!(data(&captions(1, 1)).split(0.5, 1).is_err());
    }

    #[test]
    fn folds_hold_every_cluster_out_once() {
        let all = data(&captions(11, 3));
        let folds = all.folds(3, 5).unwrap();
        let clusters = |pairs: &[usize]| -> BTreeSet<usize> { pairs.iter().map(|p| all.pairs()[*p].cluster).collect() };
        let mut held_out: Vec<usize> = Vec::new();
        for fold in &folds {
            assert!(clusters(&fold.learning).is_disjoint(&clusters(&fold.held_out)), "{fold:?}");
            assert_eq!(fold.learning.len() + fold.held_out.len(), 33);
            assert!((3..=4).contains(&clusters(&fold.held_out).len()), "{fold:?}");
            held_out.extend(&fold.held_out);
        }
        held_out.sort_unstable();
        assert_eq!(held_out, (0..33).collect::<Vec<usize>>());
        assert_ne!(all.folds(3, 6).unwrap(), folds);
        for wrong in [0, 1, 12, 21] {
            let error = all.folds(wrong, 5).unwrap_err().to_string();
            assert!(error.contains("folds") && error.contains("11"), "{error}");
        }
    }
}
