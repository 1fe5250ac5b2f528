//! The properties of a sound on one scale.

use serde::{Deserialize, Serialize};

use crate::properties::Properties;

/// What a taste can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// [`Properties::tempo_steadiness`].
    TempoSteadiness,
    /// [`Properties::consonance`].
    Consonance,
    /// [`Properties::loudness_db`].
    Loudness,
    /// [`Properties::dynamics_db`].
    Dynamics,
    /// Octaves of [`Properties::brightness_hz`].
    Brightness,
    /// [`Properties::repetition`].
    Repetition,
}

/// Standardised properties end here on both sides: what is farther off sounds no different.
pub const LIMIT: f64 = 4.0;

/// The lowest brightness that is told apart.
const BRIGHTNESS_MIN_HZ: f64 = 20.0;

impl Property {
    /// All of them, in the order of [`Properties`].
    pub const ALL: [Self; 6] =
        [Self::TempoSteadiness, Self::Consonance, Self::Loudness, Self::Dynamics, Self::Brightness, Self::Repetition];

    /// The name in `tastes.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TempoSteadiness => "tempo_steadiness",
            Self::Consonance => "consonance",
            Self::Loudness => "loudness",
            Self::Dynamics => "dynamics",
            Self::Brightness => "brightness",
            Self::Repetition => "repetition",
        }
    }

    /// The property on its own scale: dB for loudness and dynamics, log2 Hz for brightness, 0 to 1 for the others.
    #[must_use]
    pub fn raw(self, properties: &Properties) -> f64 {
        match self {
            Self::TempoSteadiness => properties.tempo_steadiness,
            Self::Consonance => properties.consonance,
            Self::Loudness => properties.loudness_db,
            Self::Dynamics => properties.dynamics_db,
            Self::Brightness => libm::log2(properties.brightness_hz.max(BRIGHTNESS_MIN_HZ)),
            Self::Repetition => properties.repetition,
        }
    }

    /// Mean and standard deviation over clips of the embedded base.
    ///
    /// Fixed: a taste must mean the same whatever is heard. Measured once and rounded, on 800 clips of 400 captions of
    /// etudes: `musicrl preferences collect --population village --pairs 400 --out S`, then `musicrl preferences show S
    /// --bundle embedded`.
    #[must_use]
    pub fn mean_and_spread(self) -> (f64, f64) {
        match self {
            Self::TempoSteadiness => (0.19, 0.06),
            Self::Consonance => (0.88, 0.05),
            Self::Loudness => (-21.6, 3.9),
            Self::Dynamics => (13.6, 6.5),
            Self::Brightness => (9.5, 0.82),
            Self::Repetition => (0.51, 0.10),
        }
    }

    /// z = (raw - mean) / spread, within [`LIMIT`] of 0.
    #[must_use]
    pub fn standardised(self, properties: &Properties) -> f64 {
        let (mean, spread) = self.mean_and_spread();
        ((self.raw(properties) - mean) / spread).clamp(-LIMIT, LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_noise_stay_on_the_scale() {
        for audio in [vec![], vec![0.0; 32_000], vec![f32::NAN; 32_000], vec![8.0; 32_000]] {
            let properties = Properties::of(&audio, 16_000);
            for property in Property::ALL {
                let z = property.standardised(&properties);
                assert!(z.abs() <= LIMIT, "{property:?}: {z}");
            }
        }
    }

    #[test]
    fn a_spread_above_the_mean_is_one() {
        let at = |shift: f64| {
            let mut p = Properties::of(&[], 16_000);
            let value = |property: Property| {
                let (mean, spread) = property.mean_and_spread();
                mean + shift * spread
            };
            p.tempo_steadiness = value(Property::TempoSteadiness);
            p.consonance = value(Property::Consonance);
            p.loudness_db = value(Property::Loudness);
            p.dynamics_db = value(Property::Dynamics);
            p.brightness_hz = value(Property::Brightness).exp2();
            p.repetition = value(Property::Repetition);
            p
        };
        for (shift, expected) in [(0.0, 0.0), (1.0, 1.0), (-2.0, -2.0), (9.0, LIMIT)] {
            for property in Property::ALL {
                let z = property.standardised(&at(shift));
                assert!((z - expected).abs() < 1e-9, "{property:?} at {shift}: {z}");
            }
        }
    }
}
