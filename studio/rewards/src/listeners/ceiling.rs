//! How well the best possible scorer can agree with noisy choices.

/// One choice with its exact probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExactChoice {
    /// u_a - u_b by the shared taste: what the ideal scorer goes by.
    pub shared_difference: f64,
    /// P of [a better, b better, tie], of the listener who was asked, with its own taste, bias and fatigue.
    pub probabilities: [f64; 3],
}

impl ExactChoice {
    /// Probability that the pair is decided as the shared taste says; half where that says neither.
    #[must_use]
    pub fn right(&self) -> f64 {
        let [a, b, _] = self.probabilities;
        match self.shared_difference {
            d if d > 0.0 => a,
            d if d < 0.0 => b,
            _ => 0.5 * (a + b),
        }
    }

    /// Probability that it is decided at all.
    #[must_use]
    pub fn decided(&self) -> f64 {
        let [a, b, _] = self.probabilities;
        a + b
    }
}

/// The accuracy that a scorer with the shared taste can expect: expected number of decided pairs that go its way over
/// the expected number of decided pairs, computed from the probabilities, not from draws. A scorer hears clips without
/// knowing who listens, in which place or how tired, so no other scorer does better by more than the listeners' mean
/// taste differs from the shared one. `None` when nothing can be decided.
#[must_use]
pub fn noise_ceiling(choices: &[ExactChoice]) -> Option<f64> {
    let (right, decided) =
        choices.iter().fold((0.0, 0.0), |(right, all), choice| (right + choice.right(), all + choice.decided()));
    (decided > 0.0).then(|| right / decided)
}

#[cfg(test)]
mod tests {
    use musicrl_core::{
        preference::agreement,
        random::{Key, Purpose},
    };

    use super::{super::catalogue, *};

    #[test]
    fn it_is_what_many_choices_come_to() {
        let village = catalogue::population("village").unwrap();
        let mut stream = Key::new(1, Purpose::Test).stream();
        let (mut exact, mut outcomes) = (Vec::new(), Vec::new());
        let (mut scores_a, mut scores_b) = (Vec::new(), Vec::new());
        for draw in 0..20_000 {
            let listener = village.listener(draw % 20, village.key());
            let (a, b, nth) = (0.5 * stream.normal(), 0.5 * stream.normal(), stream.below(20));
            // The listener's own utilities are near the shared ones.
            let (own_a, own_b) = (a + 0.2 * stream.normal(), b + 0.2 * stream.normal());
            let probabilities = listener.probabilities(own_a, own_b, nth);
            exact.push(ExactChoice { shared_difference: a - b, probabilities });
            outcomes.push(listener.choose(own_a, own_b, nth, Key::new(2, Purpose::Test).clip(draw)));
            scores_a.push(a);
            scores_b.push(b);
        }
        let ceiling = noise_ceiling(&exact).unwrap();
        let observed = agreement(&scores_a, &scores_b, &outcomes).unwrap();
        assert!((ceiling - observed).abs() < 5.0 * 0.5 / 20_000_f64.sqrt(), "{ceiling} {observed}");
        assert!(ceiling > 0.55);
    }

    #[test]
    fn ends_of_the_range() {
        let choice = |shared_difference, probabilities| ExactChoice { shared_difference, probabilities };
        assert_eq!(noise_ceiling(&[]), None);
        assert_eq!(noise_ceiling(&[choice(1.0, [0.0, 0.0, 1.0])]), None);
        assert_eq!(noise_ceiling(&[choice(1.0, [1.0, 0.0, 0.0]), choice(-2.0, [0.0, 1.0, 0.0])]), Some(1.0));
        assert_eq!(noise_ceiling(&[choice(0.0, [0.9, 0.1, 0.0])]), Some(0.5));
        // Ties do not count.
        assert_eq!(noise_ceiling(&[choice(1.0, [0.3, 0.1, 0.6])]), Some(0.3 / 0.4));
    }
}
