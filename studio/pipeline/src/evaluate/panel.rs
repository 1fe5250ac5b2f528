//! Populations of simulated listeners as panels, by name.

use musicrl_core::random::Key;
use musicrl_feedback::Source;
use musicrl_rewards::{
    Listener, Properties,
    listeners::catalogue::{population, populations},
};

use super::{
    rater::{Panel, RatedClip, Rater},
    settings::PanelSettings,
};
use crate::Result;

/// The population that judges where none is named: rewards are not learned from it.
pub const JUDGES: &str = "town";

/// The populations that there are.
///
/// # Errors
/// None in practice: they ship.
pub fn population_names() -> Result<Vec<String>> {
    Ok(populations()?.into_iter().map(|population| population.name).collect())
}

/// The panel of a population: its first listeners, in turns where there are more than rate a clip.
///
/// # Errors
/// [`crate::Error::Config`] for a population that is not there, or fewer listeners than raters of a clip.
pub fn simulated_panel(settings: &PanelSettings) -> Result<Panel> {
    let population = population(&settings.population)?;
    let rater = |index: usize| Box::new(population.listener(index as u64, population.key())) as Box<dyn Rater>;
    let source = Source::Simulated { population: settings.population.clone() };
    let listeners = settings.listeners.unwrap_or(settings.raters);
    Panel::new(source, (0..listeners).map(rater).collect())?.in_turns(settings.raters)
}

impl Rater for Listener {
    fn name(&self) -> &str {
        &self.name
    }

    /// By the listener's own taste, from the sound alone.
    fn rate(&self, clip: &RatedClip<'_>, key: Key) -> Result<f64> {
        let properties = Properties::of(clip.audio.samples, clip.audio.sample_rate_hz);
        Ok(Self::rate(self, self.taste.utility(&properties), key))
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::reward::AudioView;

    use super::*;

    #[test]
    fn a_steady_chord_is_rated_above_noise() {
        let panel = simulated_panel(&PanelSettings { population: JUDGES.into(), raters: 8, listeners: None }).unwrap();
        let mean = |samples: &[f32]| {
            let audio = AudioView { samples, sample_rate_hz: 16_000 };
            let ratings = panel.rate(&RatedClip { caption: "", audio }, 0, 1).unwrap();
            assert!(ratings.iter().all(|(_, rating)| rating.fract() == 0.0));
            ratings.iter().map(|(_, rating)| rating).sum::<f64>() / 8.0
        };
        // A fifth, struck twice a second.
        let chord = |n: usize| {
            let (t, struck) = (n as f32 / 16_000.0, (n % 8_000) as f32 / 16_000.0);
            let tone = |hz: f32| (t * hz * std::f32::consts::TAU).sin();
            0.2 * (-4.0 * struck).exp() * (tone(330.0) + tone(495.0))
        };
        let chords: Vec<f32> = (0..64_000).map(chord).collect();
        let mut random = Key::new(1, musicrl_core::random::Purpose::Test).stream();
        let noise: Vec<f32> = (0..64_000).map(|_| 0.3 * random.normal() as f32).collect();
        assert!(mean(&chords) > mean(&noise) + 0.5, "{} {}", mean(&chords), mean(&noise));
        assert!(matches!(panel.source(), Source::Simulated { population } if population == JUDGES));
        let of = |population: &str, raters, listeners| {
            simulated_panel(&PanelSettings { population: population.into(), raters, listeners })
        };
        assert_eq!(of(JUDGES, 3, Some(20)).unwrap().names().count(), 20);
        assert!(of(JUDGES, 3, Some(2)).unwrap_err().to_string().contains("listeners"));
        let error = of("nowhere", 3, None).unwrap_err().to_string();
        assert!(error.contains("nowhere") && error.contains(JUDGES), "{error}");
        assert!(population_names().unwrap().contains(&JUDGES.to_string()));
    }
}
