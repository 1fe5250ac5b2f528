//! Populations of simulated listeners, by name.

use musicrl_core::random::Key;
use musicrl_feedback::Source;

use super::{
    rater::{Panel, RatedClip, Rater},
    settings::PanelSettings,
    signal::{SignalFacts, signal_facts},
};
use crate::{Error, Result};

/// The populations that there are.
pub const POPULATIONS: [&str; 1] = [PLAIN];

/// Listeners who hear level, silence and clipping and nothing of the music: enough to tell a broken system from one that
/// sounds, and no judgement of quality.
const PLAIN: &str = "plain";

/// The panel of a population.
///
/// # Errors
/// [`Error::Config`] for a population that is not there.
pub fn simulated_panel(settings: &PanelSettings) -> Result<Panel> {
    if settings.population != PLAIN {
        return Err(Error::config("population", format!("one of {}", POPULATIONS.join(", ")), &settings.population));
    }
    let rater = |at: usize| Box::new(PlainListener { name: format!("{PLAIN}-{}", at + 1) }) as Box<dyn Rater>;
    let source = Source::Simulated { population: settings.population.clone() };
    Panel::new(source, (0..settings.raters).map(rater).collect())
}

/// One listener of [`PLAIN`].
struct PlainListener {
    name: String,
}

/// Level that the listeners like best, in dB of full scale.
const LIKED_DB: f64 = -20.0;

/// What a clip is worth to them, before noise: 4 at the level they like, less by a point for each 10 dB beside it, and
/// less for the share of time in silence and for clipping.
fn worth(facts: &SignalFacts) -> f64 {
    let level = facts.rms_db.map_or(-120.0, |db| db.max(-120.0));
    let clipped = if facts.clipped_share > 0.0 { 1.0 } else { 0.0 };
    4.0 - (level - LIKED_DB).abs() / 10.0 - 2.0 * facts.silent_share - clipped
}

impl Rater for PlainListener {
    fn name(&self) -> &str {
        &self.name
    }

    fn rate(&self, clip: &RatedClip<'_>, key: Key) -> Result<f64> {
        let noise = 0.7 * key.stream().normal();
        Ok((worth(&signal_facts(clip.audio)) + noise).round().clamp(1.0, 5.0))
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::reward::AudioView;

    use super::*;

    #[test]
    fn a_clip_that_sounds_is_rated_above_silence_and_noise_at_full_scale() {
        let panel = simulated_panel(&PanelSettings { population: PLAIN.into(), raters: 5 }).unwrap();
        let tone = |level: f32| (0..16_000).map(|n| level * (n as f32 * 0.1).sin()).collect::<Vec<f32>>();
        let mean = |samples: &[f32]| {
            let audio = AudioView { samples, sample_rate_hz: 16_000 };
            let ratings = panel.rate(&RatedClip { caption: "", audio }, 1).unwrap();
            assert!(ratings.iter().all(|rating| rating.fract() == 0.0));
            ratings.iter().sum::<f64>() / 5.0
        };
        let good = mean(&tone(0.14));
        assert!(good > 3.0, "{good}");
        assert!(good > mean(&tone(0.0)) + 1.0 && good > mean(&tone(8.0)) + 1.0);
        assert!(simulated_panel(&PanelSettings { population: "village".into(), raters: 3 }).is_err());
        assert!(matches!(panel.source(), Source::Simulated { population } if population == PLAIN));
    }
}
