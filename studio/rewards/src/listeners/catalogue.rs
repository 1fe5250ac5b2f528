//! The populations that ship, and how files of others are read.

use std::collections::BTreeMap;

use super::population::Population;
use crate::{Error, Result};

/// The committed tastes.
pub const TASTES: &str = include_str!("tastes.toml");

/// The populations of a file like `tastes.toml`, in the order of their names.
///
/// # Errors
/// [`Error::Config`] for text that does not parse and for a number out of its range.
pub fn parse(text: &str) -> Result<Vec<Population>> {
    let tables: BTreeMap<String, Population> = toml::from_str(text).map_err(|error| Error::Config {
        field: "populations",
        expected: "a table for each population, as in tastes.toml".into(),
        got: error.to_string(),
    })?;
    tables
        .into_iter()
        .map(|(name, population)| {
            let population = Population { name, ..population };
            population.validate()?;
            Ok(population)
        })
        .collect()
}

/// All populations that ship.
///
/// # Errors
/// None in practice: a test reads the file.
pub fn populations() -> Result<Vec<Population>> {
    parse(TASTES)
}

/// One of them.
///
/// # Errors
/// [`Error::Config`] for a name that is none of theirs.
pub fn population(name: &str) -> Result<Population> {
    let all = populations()?;
    let names = all.iter().map(|population| population.name.clone()).collect::<Vec<_>>().join(", ");
    all.into_iter().find(|population| population.name == name).ok_or_else(|| Error::Config {
        field: "population",
        expected: format!("one of {names}"),
        got: name.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Property, *};
    use crate::properties::Properties;

    /// Properties that standardise to the given numbers.
    fn at(z: [f64; 6]) -> Properties {
        let value = |index: usize| {
            let (mean, spread) = Property::ALL[index].mean_and_spread();
            mean + spread * z[index]
        };
        Properties {
            tempo_steadiness: value(0),
            consonance: value(1),
            loudness_db: value(2),
            dynamics_db: value(3),
            brightness_hz: value(4).exp2(),
            repetition: value(5),
        }
    }

    #[test]
    fn what_ships_is_sound() {
        let all = populations().unwrap();
        let names: Vec<&str> = all.iter().map(|population| population.name.as_str()).collect();
        assert_eq!(names, ["chapel", "club", "salon", "town", "village"]);
        for population in &all {
            // Each utility has about unit spread over sounds like the base's.
            let squares: f64 = population.taste.terms.values().map(|term| term.weight * term.weight).sum();
            assert!((0.8..1.2).contains(&squares.sqrt()), "{}: {squares}", population.name);
            // Nobody likes silence.
            let silence = population.taste.utility(&Properties::of(&[0.0; 48_000], 16_000));
            assert!(silence < population.taste.utility(&at([0.0; 6])) - 1.0, "{}: {silence}", population.name);
        }
        let error = population("villge").unwrap_err().to_string();
        assert!(error.contains("village") && error.contains("villge"), "{error}");
    }

    #[test]
    fn tastes_differ_as_they_say() {
        let utility = |name: &str, z| population(name).unwrap().taste.utility(&at(z));
        // steady, consonant, loud, dynamic, bright, repetitive
        let (dance, hymn) = ([1.5, 0.0, 1.5, -1.0, 1.5, 1.0], [0.0, 1.5, -1.0, 1.0, -1.0, 0.0]);
        assert!(utility("club", dance) > utility("club", hymn) + 1.0);
        assert!(utility("chapel", hymn) > utility("chapel", dance) + 1.0);
        let (wandering, machine) = ([-1.0, 0.0, 0.0, 1.5, 0.0, -1.5], [1.5, 0.0, 0.5, -1.5, 0.5, 1.5]);
        assert!(utility("salon", wandering) > utility("salon", machine) + 1.0);
        // Village and town agree on what is good, and that too much of it is not.
        for name in ["village", "town"] {
            assert!(utility(name, [1.0, 1.0, 0.0, 0.0, 0.3, 0.5]) > utility(name, [0.0; 6]) + 0.5, "{name}");
            assert!(utility(name, [0.0, 0.0, 0.0, 0.0, 4.0, 0.0]) < utility(name, [0.0; 6]) - 1.0, "{name}");
            assert!(utility(name, [0.0, 0.0, 4.0, 0.0, 0.0, 0.0]) < utility(name, [0.0; 6]) - 1.0, "{name}");
        }
    }

    #[test]
    fn bad_files_are_refused() {
        for (change, expected) in [("temperature", "temprature"), ("weight = ", "weigth = "), ("loudness", "loudnes")] {
            let error = parse(&TASTES.replacen(change, expected, 1));
            // The first place of a word may be a comment: then nothing has changed.
            let error = error.err().or_else(|| parse(&TASTES.replace(change, expected)).err());
            assert!(matches!(error, Some(Error::Config { .. })), "{expected}");
        }
        assert!(parse("[a]\n").is_err() && parse("a = 1").is_err() && parse("[").is_err());
        assert!(parse("").is_ok_and(|none| none.is_empty()));
    }
}
