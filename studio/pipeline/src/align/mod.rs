//! Alignment: clips are played, judged, and the policy moves towards what the judges prefer, held back by the exact KL
//! to its reference.
//!
//! - [`advantages`]: returns less a baseline, for a batch in parts.
//! - [`family`]: what a family of policies must offer.
//! - [`play`]: captions to clips, as tokens and sound.
//! - [`best_of`]: the best of several clips, without learning.
//! - [`judges`]: the rewards of a stage; raw, scaled and total.
//! - [`learn`]: one step of KL-regularised REINFORCE with a baseline.
//! - [`diversity`]: how far clips differ from each other.
//! - [`linear_value`]: a learned baseline on the reference's vectors.
//! - [`measure`]: what is reported on captions that learning never sees.
//! - [`captions`]: the lists of a recipe.
//! - [`run`]: a whole recipe, stage after stage.
//! - [`watch`]: judges that are not learned from, against over-optimisation.
//! - [`stage`]: all of it as a [`Training`](crate::training::Training), which the driver runs, stops and resumes.

pub mod advantages;
pub mod best_of;
pub mod captions;
pub mod diversity;
pub mod family;
pub mod hidden;
pub mod judges;
pub mod learn;
pub mod linear_value;
pub mod measure;
pub mod play;
pub mod run;
pub mod stage;
pub mod watch;
