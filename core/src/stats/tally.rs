//! Side-by-side results: wins, ties, losses.

use serde::{Deserialize, Serialize};

use crate::preference::Outcome;

/// How often a won against b.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// a was better.
    pub wins: u64,
    /// Neither was ("both bad" included).
    pub ties: u64,
    /// b was better.
    pub losses: u64,
}

impl Tally {
    /// Counts outcomes; skipped ones count nowhere.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::BetterA => tally.wins += 1,
                Outcome::BetterB => tally.losses += 1,
                Outcome::Tie | Outcome::BothBad => tally.ties += 1,
                Outcome::Skipped => {}
            }
        }
        tally
    }

    /// Counts paired ratings: the higher wins, equal ones tie. Pairs with NaN, or beyond the shorter slice, count
    /// nowhere.
    #[must_use]
    pub fn of_ratings(a: &[f64], b: &[f64]) -> Self {
        let mut tally = Self::default();
        for (a, b) in a.iter().zip(b) {
            match a.partial_cmp(b) {
                Some(core::cmp::Ordering::Greater) => tally.wins += 1,
                Some(core::cmp::Ordering::Less) => tally.losses += 1,
                Some(core::cmp::Ordering::Equal) => tally.ties += 1,
                None => {}
            }
        }
        tally
    }

    /// All comparisons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.wins.saturating_add(self.ties).saturating_add(self.losses)
    }

    /// Wins, ties and losses in percent; `None` of nothing.
    #[must_use]
    pub fn percent(&self) -> Option<[f64; 3]> {
        let total = self.total();
        (total > 0).then(|| [self.wins, self.ties, self.losses].map(|count| 100.0 * count as f64 / total as f64))
    }

    /// wins / (wins + losses), ties left out (as in arXiv 2402.04229); `None` when every comparison is a tie.
    #[must_use]
    pub fn win_rate(&self) -> Option<f64> {
        let decided = self.wins.saturating_add(self.losses);
        (decided > 0).then(|| self.wins as f64 / decided as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_win_rate() {
        // 303 ratings of R against base: 65.0 / 22.1 / 12.9 percent, win rate 83 percent.
        let tally = Tally { wins: 197, ties: 67, losses: 39 };
        let [wins, ties, losses] = tally.percent().unwrap_or_default();
        assert_eq!([wins, ties, losses].map(|p| (p * 10.0).round() / 10.0), [65.0, 22.1, 12.9]);
        assert_eq!(tally.win_rate().map(|rate| (100.0 * rate).round()), Some(83.0));
    }

    #[test]
    fn outcomes_and_ratings_are_counted() {
        let outcomes = [Outcome::BetterA, Outcome::BothBad, Outcome::Skipped, Outcome::BetterB, Outcome::Tie];
        assert_eq!(Tally::of(&outcomes), Tally { wins: 1, ties: 2, losses: 1 });
        let tally = Tally::of_ratings(&[3.0, 2.0, 2.0, f64::NAN], &[1.0, 2.0, 5.0, 1.0]);
        assert_eq!(tally, Tally { wins: 1, ties: 1, losses: 1 });
        assert_eq!((Tally::default().percent(), Tally { ties: 4, ..tally }.win_rate()), (None, Some(0.5)));
        assert_eq!(Tally { wins: 0, ties: 4, losses: 0 }.win_rate(), None);
    }
}
