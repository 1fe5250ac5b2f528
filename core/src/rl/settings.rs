//! The objective's settings, shared by the tensor functions and their `f64` twins.

use alloc::format;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a sum over actions is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// The number of clips with at least one counted action: the mean over clips of the sum over actions, which is the
    /// paper's J.
    #[default]
    Clips,
    /// The number of counted actions: the mean over actions, whose size does not grow with the clips' length.
    Actions,
}

impl Normalisation {
    /// The divisor for a mask `[clips, actions]` given row by row; 1 when nothing counts, so that the loss is 0.
    #[must_use]
    pub fn divisor(self, mask: &[bool], actions: usize) -> f64 {
        let count = match self {
            Self::Clips => mask.chunks(actions.max(1)).filter(|clip| clip.contains(&true)).count(),
            Self::Actions => mask.iter().filter(|&&counts| counts).count(),
        };
        count.max(1) as f64
    }
}

/// KL-regularised REINFORCE (Cideron et al., "MusicRL", 2024, arXiv 2402.04229), to be maximised:
///
/// J = (1 - alpha) * sum_t A_t * log pi(a_t | s_t) - alpha * sum_t KL(pi(. | s_t) || pi_ref(. | s_t))
///
/// where the advantage A_t is a constant and the KL is the exact one, over the whole codebook. The loss is -J, divided
/// as [`Normalisation`] says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Weight of the KL term in [0, 1]; the reward term has the rest.
    pub alpha: f64,
    /// What the sum over actions is divided by.
    #[serde(default)]
    pub normalisation: Normalisation,
}

impl Objective {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] when alpha is outside [0, 1] or not a number.
    pub fn validate(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.alpha) {
            return Ok(());
        }
        Err(Error::Config { field: "alpha", expected: "between 0 and 1".into(), got: format!("{}", self.alpha) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors_count_clips_or_actions() {
        let mask = [true, true, false, false, true, false];
        assert_eq!(Normalisation::Clips.divisor(&mask, 2), 2.0);
        assert_eq!(Normalisation::Actions.divisor(&mask, 2), 3.0);
        assert_eq!(Normalisation::Clips.divisor(&[false; 4], 2), 1.0);
        assert_eq!(Normalisation::Actions.divisor(&[], 0), 1.0);
    }

    #[test]
    fn alpha_outside_the_unit_interval_is_refused() {
        for alpha in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let objective = Objective { alpha, normalisation: Normalisation::Clips };
            assert!(matches!(objective.validate(), Err(Error::Config { field: "alpha", .. })), "{alpha}");
        }
        assert!(serde_json::from_str::<Objective>(r#"{"alpha":0.1,"beta":2}"#).is_err());
    }
}
