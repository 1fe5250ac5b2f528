//! One simulated listener: choices between two clips, and ratings of one.

use musicrl_core::{
    preference::{Outcome, reference::log_outcomes},
    random::Key,
};

use super::{population::RatingHabits, taste::Taste};

/// A listener with a taste of its own. Drawn by [`Population::listener`](super::Population::listener).
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Population and index, as records have it.
    pub name: String,
    /// What it likes.
    pub taste: Taste,
    /// What the clip that is offered first gains, in logits.
    pub position_bias: f64,
    /// Utility that makes odds of e, at the beginning of a session.
    pub temperature: f64,
    /// By what share the temperature grows with each pair judged before in the session.
    pub fatigue: f64,
    /// Davidson's nu.
    pub tie_strength: f64,
    /// What it adds to all of its ratings, in points.
    pub rating_bias: f64,
    /// How its population rates.
    pub rating: RatingHabits,
}

/// The action of a key that a choice draws.
const CHOICE: u64 = 0;

/// Steps in which a confidence is given, and the least one: 0 would say that the judgement does not count.
const CONFIDENCE_STEPS: f64 = 20.0;

impl Listener {
    /// The temperature after `nth` pairs of a session: T_n = T (1 + fatigue n).
    #[must_use]
    pub fn temperature_after(&self, nth: usize) -> f64 {
        self.temperature * (1.0 + self.fatigue * nth as f64)
    }

    /// P of [a better, b better, tie] for the utilities of a pair of which a was offered first, after `nth` other pairs
    /// in the session: Davidson's model with
    ///
    /// d = (u_a - u_b) / T_n + position bias.
    ///
    /// The bias does not shrink with fatigue, so a tired listener leans on position more.
    #[must_use]
    pub fn probabilities(&self, utility_a: f64, utility_b: f64, nth: usize) -> [f64; 3] {
        let difference = (utility_a - utility_b) / self.temperature_after(nth) + self.position_bias;
        // Beyond this the loser's probability is 0 in any case.
        log_outcomes(difference.clamp(-700.0, 700.0), self.tie_strength).map(libm::exp)
    }

    /// Chooses by those probabilities; the utilities are those of its own taste. `key` names this one judgement.
    #[must_use]
    pub fn choose(&self, utility_a: f64, utility_b: f64, nth: usize, key: Key) -> Outcome {
        let [a, b, _] = self.probabilities(utility_a, utility_b, nth);
        match key.uniform(CHOICE) {
            u if u < a => Outcome::BetterA,
            u if u < a + b || self.tie_strength == 0.0 => Outcome::BetterB,
            _ => Outcome::Tie,
        }
    }

    /// How sure it says it is of `outcome`, from 0.05 to 1 in steps of 0.05: what it feels of the difference, with an
    /// error of its own of standard deviation `noise` in logits,
    ///
    /// f = |(u_a - u_b) / T_n + noise e|, e standard normal; tanh(f / 2) for a choice, 1 - tanh(f / 2) for a tie.
    ///
    /// tanh(f / 2) = 2 P - 1, P being the chance of the better clip without ties. Position bias is not felt. `key` names
    /// this one judgement; the choice draws other numbers of it.
    #[must_use]
    pub fn confidence(
        &self,
        (utility_a, utility_b): (f64, f64),
        nth: usize,
        outcome: Outcome,
        noise: f64,
        key: Key,
    ) -> f64 {
        let mut stream = key.stream();
        // The first number of the key belongs to the choice, the second to the order of the clips.
        stream.words();
        stream.words();
        let felt = (utility_a - utility_b) / self.temperature_after(nth) + noise * stream.normal();
        let sure = libm::tanh(0.5 * felt.abs());
        let sure = if matches!(outcome, Outcome::BetterA | Outcome::BetterB) { sure } else { 1.0 - sure };
        ((CONFIDENCE_STEPS * sure).round() / CONFIDENCE_STEPS).clamp(1.0 / CONFIDENCE_STEPS, 1.0)
    }

    /// A rating in whole numbers from 1 to 5: 3 + gain * utility + the rater's bias + noise, rounded and clipped. `key`
    /// names this one rating.
    #[must_use]
    pub fn rate(&self, utility: f64, key: Key) -> f64 {
        let mut stream = key.stream();
        // The first number of the key belongs to choices.
        stream.words();
        let points = 3.0 + self.rating.gain * utility + self.rating_bias + self.rating.noise * stream.normal();
        points.round().clamp(1.0, 5.0)
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;

    use super::{super::catalogue, *};

    fn listener() -> Listener {
        let village = catalogue::population("village").unwrap();
        Listener {
            temperature: 0.5,
            position_bias: 0.0,
            fatigue: 0.0,
            tie_strength: 0.0,
            ..village.listener(0, village.key())
        }
    }

    fn shares(listener: &Listener, a: f64, b: f64, nth: usize, draws: u64) -> [f64; 3] {
        let mut counts = [0.0; 3];
        for draw in 0..draws {
            match listener.choose(a, b, nth, Key::new(5, Purpose::Test).clip(draw)) {
                Outcome::BetterA => counts[0] += 1.0,
                Outcome::BetterB => counts[1] += 1.0,
                _ => counts[2] += 1.0,
            }
        }
        counts.map(|count| count / draws as f64)
    }

    #[test]
    fn choices_follow_the_closed_form() {
        let draws = 40_000;
        for (tie_strength, position_bias, nth) in [(0.0, 0.0, 0), (0.4, 0.0, 0), (0.4, 0.3, 10), (1.0, -0.5, 3)] {
            let listener = Listener { tie_strength, position_bias, fatigue: 0.05, ..listener() };
            let (a, b) = (0.7, 0.2);
            // Davidson's model, written out.
            let half = 0.5 * ((a - b) / (0.5 * (1.0 + 0.05 * nth as f64)) + position_bias);
            let total = half.exp() + (-half).exp() + tie_strength;
            let expected = [half.exp() / total, (-half).exp() / total, tie_strength / total];
            let probabilities = listener.probabilities(a, b, nth);
            for ((p, q), share) in expected.iter().zip(probabilities).zip(shares(&listener, a, b, nth, draws)) {
                assert!((p - q).abs() < 1e-12, "{probabilities:?} {expected:?}");
                // Five standard errors.
                assert!((share - p).abs() <= 5.0 * (p * (1.0 - p) / draws as f64).sqrt(), "{share} for {p}");
            }
        }
    }

    #[test]
    fn the_first_of_two_equal_clips_wins_by_the_position_bias() {
        let biased = Listener { position_bias: 0.4, ..listener() };
        let [first, second, _] = biased.probabilities(1.0, 1.0, 0);
        assert!(((first / second).ln() - 0.4).abs() < 1e-12);
        assert!(shares(&biased, 1.0, 1.0, 0, 20_000)[0] > 0.57);
        let [first, second, _] = listener().probabilities(1.0, 1.0, 0);
        assert!((first - second).abs() < 1e-12);
    }

    #[test]
    fn a_sure_listener_is_right_more_often() {
        let listener = Listener { tie_strength: 0.4, ..listener() };
        let (mut sure, mut unsure) = ([0.0_f64; 2], [0.0_f64; 2]);
        let mut random = Key::new(3, Purpose::Test).stream();
        for draw in 0..20_000 {
            let (utilities, key) = ((random.normal(), random.normal()), Key::new(9, Purpose::Test).clip(draw));
            let outcome = listener.choose(utilities.0, utilities.1, 0, key);
            let confidence = listener.confidence(utilities, 0, outcome, 0.5, key);
            assert!((0.05..=1.0).contains(&confidence) && (20.0 * confidence).fract().abs() < 1e-9, "{confidence}");
            let better = if utilities.0 > utilities.1 { Outcome::BetterA } else { Outcome::BetterB };
            if matches!(outcome, Outcome::BetterA | Outcome::BetterB) {
                let group = if confidence >= 0.7 { &mut sure } else { &mut unsure };
                group[0] += f64::from(u8::from(outcome == better));
                group[1] += 1.0;
            }
        }
        let share = |group: [f64; 2]| group[0] / group[1];
        assert!(share(sure) > share(unsure) + 0.15, "{sure:?} {unsure:?}");
        // Without noise it is the difference alone: tanh(1 / 2) of one logit; a tie of it is unsure.
        let key = Key::new(1, Purpose::Test);
        let said = |outcome| listener.confidence((0.5, 0.0), 0, outcome, 0.0, key);
        assert_eq!((said(Outcome::BetterA), said(Outcome::BetterB), said(Outcome::Tie)), (0.45, 0.45, 0.55));
    }

    #[test]
    fn a_tired_listener_tells_clips_apart_less() {
        let tired = Listener { fatigue: 0.1, position_bias: 0.2, ..listener() };
        let right = |nth| tired.probabilities(1.0, 0.0, nth)[0];
        assert!((1..50).all(|nth| right(nth) < right(nth - 1)));
        // Without limit only the position is left.
        assert!((right(10_000_000) - 1.0 / (1.0 + (-0.2_f64).exp())).abs() < 1e-5);
        let steady = listener();
        assert_eq!(steady.probabilities(1.0, 0.0, 0), steady.probabilities(1.0, 0.0, 50));
    }

    #[test]
    fn the_mean_rating_rises_with_utility_and_stays_on_the_scale() {
        let listener = listener();
        let mean = |utility: f64| {
            let rate = |draw| listener.rate(utility, Key::new(6, Purpose::Test).clip(draw));
            let ratings: Vec<f64> = (0..2000).map(rate).collect();
            assert!(ratings.iter().all(|r| [1.0, 2.0, 3.0, 4.0, 5.0].contains(r)), "{utility}");
            ratings.iter().sum::<f64>() / ratings.len() as f64
        };
        let means: Vec<f64> = [-3.0, -1.5, -0.5, 0.0, 0.5, 1.5, 3.0].map(mean).into();
        assert!(means.windows(2).all(|pair| pair[0] + 0.05 < pair[1]), "{means:?}");
        assert_eq!((mean(-1e9), mean(1e9)), (1.0, 5.0));
    }

    #[test]
    fn another_key_may_choose_and_rate_otherwise_and_the_same_does_not() {
        let listener = Listener { tie_strength: 0.5, ..listener() };
        let key = |draw| Key::new(7, Purpose::Test).clip(draw);
        let run = || -> Vec<_> {
            (0..50).map(|i| (listener.choose(0.1, 0.0, 0, key(i)), listener.rate(0.1, key(i)))).collect()
        };
        assert_eq!(run(), run());
        let outcomes: std::collections::BTreeSet<String> = run().iter().map(|(o, _)| format!("{o:?}")).collect();
        assert_eq!(outcomes.len(), 3);
    }

    #[test]
    fn utilities_that_are_no_numbers_do_not_panic() {
        let listener = listener();
        let key = Key::new(8, Purpose::Test);
        let _ = listener.choose(f64::NAN, f64::INFINITY, 0, key);
        assert!(listener.probabilities(f64::MAX, -f64::MAX, 0)[0] <= 1.0);
    }
}
