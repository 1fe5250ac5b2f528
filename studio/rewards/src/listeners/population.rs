//! Many listeners with much in common.

use musicrl_core::random::{Key, Purpose};
use serde::{Deserialize, Serialize};

use super::{
    listener::Listener,
    taste::{Taste, Term},
};
use crate::{Error, Result};

/// How a population rates single clips from 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatingHabits {
    /// Points for one unit of utility.
    pub gain: f64,
    /// Standard deviation over listeners of what each adds to all of its ratings, in points.
    pub bias_spread: f64,
    /// Standard deviation of the noise of one rating, in points.
    pub noise: f64,
}

/// A shared taste, how listeners differ from it, and the noise of their choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// Its name, as commands and records have it: the table's name in a file.
    #[serde(skip)]
    pub name: String,
    /// What these listeners like, in words.
    pub description: String,
    /// Seed of its listeners: another seed, other individuals with the same taste in common.
    pub seed: u64,
    /// The taste that the listeners share.
    pub taste: Taste,
    /// Standard deviation over listeners of each weight.
    pub weight_spread: f64,
    /// Standard deviation over listeners of each optimum.
    pub optimum_spread: f64,
    /// Utility that makes odds of e: larger means noisier choices.
    pub temperature: f64,
    /// Mean over listeners of what the clip that is offered first gains, in logits.
    pub position_bias: f64,
    /// Standard deviation over listeners of the same.
    pub position_bias_spread: f64,
    /// By what share the temperature grows with each pair that was judged before in the session.
    pub fatigue: f64,
    /// Davidson's nu: 0 for no ties.
    pub tie_strength: f64,
    /// Pairs that a listener judges before a rest.
    pub session_pairs: usize,
    /// How single clips are rated.
    pub rating: RatingHabits,
}

impl Population {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.taste.validate()?;
        let bad = |field, expected: &str, got: String| Err(Error::Config { field, expected: expected.into(), got });
        let RatingHabits { gain, bias_spread, noise } = self.rating;
        for (field, value) in [
            ("weight_spread", self.weight_spread),
            ("optimum_spread", self.optimum_spread),
            ("position_bias_spread", self.position_bias_spread),
            ("fatigue", self.fatigue),
            ("tie_strength", self.tie_strength),
            ("rating.gain", gain),
            ("rating.bias_spread", bias_spread),
            ("rating.noise", noise),
        ] {
            if !(0.0..=100.0).contains(&value) {
                return bad(field, "between 0 and 100", value.to_string());
            }
        }
        if !(self.temperature > 0.0 && self.temperature <= 1e6) {
            return bad("temperature", "above 0 and at most 1e6", self.temperature.to_string());
        }
        if !(-100.0..=100.0).contains(&self.position_bias) {
            return bad("position_bias", "between -100 and 100", self.position_bias.to_string());
        }
        if self.session_pairs == 0 {
            return bad("session_pairs", "at least 1", "0".into());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.name.is_empty() || self.name.len() > 100 || !self.name.chars().all(plain) {
            return bad("population", "a name of letters, digits and `_`", format!("{:?}", self.name));
        }
        Ok(())
    }

    /// The key of this population's own listeners: whoever collects, and whenever, `listener(3, key())` is the same one.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.seed, Purpose::Listener)
    }

    /// One listener, a function of the population, `index`, and the seed and purpose of `key`:
    ///
    /// - each weight gains `weight_spread` times a standard normal number (and stays at least 0 at an optimum),
    /// - each optimum gains `optimum_spread` times another,
    /// - position bias and the bias of ratings are drawn likewise.
    #[must_use]
    pub fn listener(&self, index: u64, key: Key) -> Listener {
        let mut stream = key.step(fnv(&self.name)).clip(index).stream();
        // Every listener draws the same numbers in the same order, whatever the terms are.
        let mut near = |mean: f64, spread: f64| mean + spread * stream.normal();
        let position_bias = near(self.position_bias, self.position_bias_spread);
        let rating_bias = near(0.0, self.rating.bias_spread);
        let terms = self.taste.terms.iter().map(|(property, term)| {
            let (weight, shift) = (near(term.weight, self.weight_spread), near(0.0, self.optimum_spread));
            let own = match term.optimum {
                None => Term { weight, optimum: None },
                Some(optimum) => Term { weight: weight.max(0.0), optimum: Some(optimum + shift) },
            };
            (*property, own)
        });
        Listener {
            taste: Taste { terms: terms.collect() },
            position_bias,
            rating_bias,
            name: format!("{}-{index:03}", self.name),
            temperature: self.temperature,
            fatigue: self.fatigue,
            tie_strength: self.tie_strength,
            rating: self.rating,
        }
    }

    /// The index of the listener of that name, if it is one of this population's.
    #[must_use]
    pub fn index_of(&self, listener: &str) -> Option<u64> {
        let digits = listener.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        let index = digits.parse().ok()?;
        (format!("{index:03}") == digits).then_some(index)
    }
}

/// FNV-1a: the name's share of the key, so that populations of one seed have different listeners.
fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::{super::catalogue, *};

    #[test]
    fn a_listener_is_a_function_of_population_index_and_seed() {
        let village = catalogue::population("village").unwrap();
        let (first, again) = (village.listener(3, village.key()), village.listener(3, village.key()));
        assert_eq!(first, again);
        assert_eq!(first, village.listener(3, village.key().step(9).clip(9)));
        assert_ne!(first.taste, village.listener(4, village.key()).taste);
        assert_ne!(first.taste, village.listener(3, Key::new(village.seed + 1, Purpose::Listener)).taste);
        // The same numbers under another name are other individuals.
        let renamed = Population { name: "elsewhere".into(), ..village.clone() };
        assert_ne!(first.taste, renamed.listener(3, village.key()).taste);
    }

    #[test]
    fn listeners_spread_around_the_shared_taste() {
        let village = catalogue::population("village").unwrap();
        let listeners: Vec<Listener> = (0..2000).map(|index| village.listener(index, village.key())).collect();
        let n = listeners.len() as f64;
        for (property, term) in village.taste.terms.iter().filter(|(_, term)| term.optimum.is_none()) {
            let weights: Vec<f64> = listeners.iter().map(|l| l.taste.terms[property].weight).collect();
            let mean = weights.iter().sum::<f64>() / n;
            let spread = (weights.iter().map(|w| (w - mean) * (w - mean)).sum::<f64>() / n).sqrt();
            assert!((mean - term.weight).abs() < 5.0 * village.weight_spread / n.sqrt(), "{property:?}: {mean}");
            assert!((spread / village.weight_spread - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "{property:?}: {spread}");
        }
        assert!(listeners.iter().all(|listener| listener.taste.validate().is_ok()));
    }

    #[test]
    fn names_lead_back_to_the_index() {
        let village = catalogue::population("village").unwrap();
        for index in [0, 7, 999, 1000, 123_456] {
            assert_eq!(village.index_of(&village.listener(index, village.key()).name), Some(index));
        }
        for other in ["town-003", "village-3", "village003", "village-", "village--03", "village-003x", "anna"] {
            assert_eq!(village.index_of(other), None, "{other}");
        }
    }

    #[test]
    fn bad_settings_are_named() {
        let good = catalogue::population("village").unwrap();
        let check = |population: Population, expected: &str| match population.validate() {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        };
        check(Population { temperature: 0.0, ..good.clone() }, "temperature");
        check(Population { temperature: f64::NAN, ..good.clone() }, "temperature");
        check(Population { tie_strength: -0.1, ..good.clone() }, "tie_strength");
        check(Population { fatigue: f64::INFINITY, ..good.clone() }, "fatigue");
        check(Population { position_bias: f64::NAN, ..good.clone() }, "position_bias");
        check(Population { session_pairs: 0, ..good.clone() }, "session_pairs");
        check(Population { name: "a b".into(), ..good.clone() }, "population");
        check(Population { rating: RatingHabits { noise: -1.0, ..good.rating }, ..good.clone() }, "rating.noise");
        check(Population { taste: Taste::default(), ..good }, "taste");
    }
}
