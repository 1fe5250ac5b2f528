//! How far apart a fitted head's scores should lie: [`Calibration`].

use musicrl_core::{
    preference::reference::log_outcomes,
    random::{Key, Purpose},
};
use rayon::prelude::*;

use super::head::{Choice, PreferenceHead};
use crate::Result;

/// Parts of the clusters that are left out of a fit in turn.
const FOLDS: usize = 4;
/// Steps of Newton's method, and how often one is halved.
const STEPS: usize = 50;
const HALVINGS: usize = 20;
/// What a slope may be. Scores that foretell nothing are made small and keep their order.
const SLOPES: [f64; 2] = [0.05, 20.0];
/// What Davidson's nu may be.
const TIE_STRENGTHS: [f64; 2] = [1e-3, 100.0];

/// What turns differences of fitted scores into chances: Davidson's model of `slope` times the difference.
///
/// A head with a penalty says too little of pairs that it has not seen, one without says too much, and its fit counts a tie as
/// half a win. The slope mends all three (scaling after Platt, "Probabilistic Outputs for Support Vector Machines", 1999; without
/// his intercept, since neither side of a pair is special). It is fitted to differences of clusters that were left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calibration {
    /// What scores are multiplied by, above 0.
    pub(crate) slope: f64,
    /// Davidson's nu at that slope.
    pub(crate) tie_strength: f64,
}

impl Calibration {
    /// Of heads that `fit` makes from choices of clips with the given vectors. `fixed` is a tie strength that stays as it is (0
    /// for ties that are half a win each). Too few clusters to leave some out give a slope of 1 and `start` for the tie strength.
    ///
    /// # Errors
    /// Those of `fit`.
    pub(crate) fn of(
        choices: &[Choice],
        vectors: &[Vec<f32>],
        seed: u64,
        (start, fixed): (f64, bool),
        fit: &(dyn Fn(&[Choice]) -> Result<PreferenceHead> + Sync),
    ) -> Result<Self> {
        let key = Key::new(seed, Purpose::Split).step(3);
        let fold = |choice: &Choice| (key.clip(choice.cluster as u64).uniform(0) * FOLDS as f64) as usize;
        let of_part = |part: usize| -> Result<Vec<(f64, f64, f64)>> {
            let (out, fitting): (Vec<Choice>, Vec<Choice>) = choices.iter().partition(|choice| fold(choice) == part);
            if out.is_empty() || fitting.is_empty() {
                return Ok(Vec::new());
            }
            let head = fit(&fitting)?;
            let difference = |choice: &Choice| head.score(&vectors[choice.a]) - head.score(&vectors[choice.b]);
            Ok(out.iter().map(|choice| (difference(choice), choice.share, choice.weight)).collect())
        };
        let parts: Vec<Result<Vec<_>>> = (0..FOLDS).into_par_iter().map(of_part).collect();
        let left_out = parts.into_iter().collect::<Result<Vec<_>>>()?.concat();
        let start = Self { slope: 1.0, tie_strength: start };
        Ok(if left_out.is_empty() { start } else { start.fitted(&left_out, fixed) })
    }

    /// With the least mean of -log P over `(difference, share, weight)`: convex in the slope and in log nu.
    fn fitted(self, said: &[(f64, f64, f64)], fixed: bool) -> Self {
        let learns = !fixed && self.tie_strength > 0.0;
        let mut now = self;
        let mut loss = now.loss(said);
        for _ in 0..STEPS {
            let (gradient, mut hessian) = now.derivatives(said);
            if !learns {
                (hessian[1], hessian[2]) = (0.0, 1.0);
            }
            let along_ties = if learns { gradient[1] } else { 0.0 };
            let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
            let slope = (hessian[2] * gradient[0] - hessian[1] * along_ties) / determinant;
            let ties = (hessian[0] * along_ties - hessian[1] * gradient[0]) / determinant;
            let step = |length: f64| Self {
                slope: (now.slope - length * slope).clamp(SLOPES[0], SLOPES[1]),
                tie_strength: match learns {
                    true => (now.tie_strength.ln() - length * ties).exp().clamp(TIE_STRENGTHS[0], TIE_STRENGTHS[1]),
                    false => now.tie_strength,
                },
            };
            let tried = (0..HALVINGS).map(|halving| step(0.5_f64.powi(halving as i32)));
            let Some((better, its)) = tried.map(|one| (one, one.loss(said))).find(|(_, its)| *its < loss) else {
                break;
            };
            (now, loss) = (better, its);
        }
        now
    }

    /// log P of [a better, b better, tie] at a difference of scores.
    fn log_outcomes(self, difference: f64) -> [f64; 3] {
        log_outcomes(self.slope * difference, self.tie_strength)
    }

    /// Sum of -log P of what was said, times its weight.
    fn loss(self, said: &[(f64, f64, f64)]) -> f64 {
        let loss = |(difference, share, weight): &(f64, f64, f64)| {
            let logs = self.log_outcomes(*difference);
            let targets = self.targets(*share);
            let terms = logs.iter().zip(targets).filter(|(_, target)| *target > 0.0).map(|(log, target)| -log * target);
            weight * terms.sum::<f64>()
        };
        said.iter().map(loss).sum()
    }

    /// What was said, as shares of [a better, b better, tie]; without ties one is half a win each.
    fn targets(self, share: f64) -> [f64; 3] {
        let tie = if self.tie_strength > 0.0 && share == 0.5 { 1.0 } else { 0.0 };
        [share - tie / 2.0, 1.0 - share - tie / 2.0, tie]
    }

    /// The loss's gradient by [slope, log nu] and its Hessian's [slope slope, slope log nu, log nu log nu]: those of a softmax
    /// over the logits [slope d / 2, -slope d / 2, log nu].
    fn derivatives(self, said: &[(f64, f64, f64)]) -> ([f64; 2], [f64; 3]) {
        let (mut gradient, mut hessian) = ([0.0; 2], [0.0; 3]);
        for (difference, share, weight) in said {
            let [a, b, tie] = self.log_outcomes(*difference).map(f64::exp);
            let [said_a, said_b, said_tie] = self.targets(*share);
            let half = difference / 2.0;
            gradient[0] += weight * half * ((a - b) - (said_a - said_b));
            gradient[1] += weight * (tie - said_tie);
            hessian[0] += weight * half * half * (a + b - (a - b) * (a - b));
            hessian[1] -= weight * half * (a - b) * tie;
            hessian[2] += weight * tie * (1.0 - tie);
        }
        // Where scores do not differ, or no tie is thought of, nothing bends the loss: the step is 0 along it.
        let least = 1e-9 * said.iter().map(|(.., weight)| weight).sum::<f64>();
        (gradient, [hessian[0] + least, hessian[1], hessian[2] + least])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What listeners of a known slope and tie strength say of differences.
    fn said(slope: f64, nu: f64, count: usize) -> Vec<(f64, f64, f64)> {
        let mut stream = Key::new(7, Purpose::Test).stream();
        (0..count)
            .map(|_| {
                let difference = 1.5 * stream.normal();
                let [a, b, _] = log_outcomes(slope * difference, nu).map(f64::exp);
                let draw = stream.uniform();
                let share = if draw < a { 1.0 } else { [0.0, 0.5][usize::from(draw >= a + b)] };
                (difference, share, 1.0)
            })
            .collect()
    }

    #[test]
    fn the_slope_and_the_ties_of_listeners_are_found() {
        for (slope, nu) in [(0.6, 0.4), (1.0, 0.8), (2.5, 0.3)] {
            let start = Calibration { slope: 1.0, tie_strength: 0.5 };
            let found = start.fitted(&said(slope, nu, 40_000), false);
            assert!((found.slope / slope - 1.0).abs() < 0.05, "{found:?} for {slope}");
            assert!((found.tie_strength / nu - 1.0).abs() < 0.05, "{found:?} for {nu}");
        }
        // Without ties, and with ties at a strength that stays.
        let none = Calibration { slope: 1.0, tie_strength: 0.0 }.fitted(&said(1.7, 0.0, 40_000), false);
        assert!((none.slope / 1.7 - 1.0).abs() < 0.05 && none.tie_strength == 0.0, "{none:?}");
        let fixed = Calibration { slope: 1.0, tie_strength: 0.8 }.fitted(&said(1.7, 0.8, 40_000), true);
        assert!((fixed.slope / 1.7 - 1.0).abs() < 0.05 && fixed.tie_strength == 0.8, "{fixed:?}");
    }

    #[test]
    fn no_pair_near_the_minimum_is_better() {
        let said = said(0.7, 0.5, 500);
        let found = Calibration { slope: 1.0, tie_strength: 0.8 }.fitted(&said, false);
        let least = found.loss(&said);
        for (slope, nu) in [(1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99), (1.01, 0.99), (0.99, 1.01)] {
            let near = Calibration { slope: found.slope * slope, tie_strength: found.tie_strength * nu };
            assert!(near.loss(&said) > least, "{near:?} against {found:?}");
        }
    }

    #[test]
    fn scores_that_foretell_nothing_or_the_reverse_are_made_small() {
        let start = Calibration { slope: 1.0, tie_strength: 0.5 };
        let reverse: Vec<_> = said(1.0, 0.5, 500).into_iter().map(|(d, share, weight)| (-d, share, weight)).collect();
        assert_eq!(start.fitted(&reverse, false).slope, SLOPES[0]);
        let same: Vec<_> = said(1.0, 0.5, 500).into_iter().map(|(_, share, weight)| (0.0, share, weight)).collect();
        let found = start.fitted(&same, false);
        let ties = same.iter().filter(|(_, share, _)| *share == 0.5).count() as f64 / 500.0;
        // At equal scores Davidson's model gives ties nu / (2 + nu).
        assert!(found.slope == 1.0 && (found.tie_strength - 2.0 * ties / (1.0 - ties)).abs() < 1e-6, "{found:?}");
    }
}
