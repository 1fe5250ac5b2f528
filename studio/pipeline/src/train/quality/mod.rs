//! Training of the predictor of acoustic quality on rated sounds.
//!
//! Ratings come from people ([`RatingTable`], [`RatedFiles`]) or, where there are none, from simulated raters, who judge
//! clips of a corpus and of a policy that were made worse in known ways ([`DegradedSounds`]). What simulated raters
//! said is called so wherever it is stored: raters are named `simulated-NN`, the model's settings have
//! `ratings = "simulated"`, and evaluations `simulated = 1`.

mod agreement;
mod config;
mod degrade;
mod degraded;
mod generated;
mod rated_files;
mod raters;
mod ratings;
mod record;
mod source;
mod training;

pub use agreement::{Agreement, Bin, Group, Judged, agreement};
pub use config::QualityTrainingConfig;
pub use degrade::{Degradation, Kind};
pub use degraded::{DegradedSounds, GeneratedClip, SimulatedConfig};
pub use generated::generated_clips;
pub use rated_files::RatedFiles;
pub use raters::{RatersConfig, Rating};
pub use ratings::{RatedFile, RatingTable, SetAside};
pub use record::{RATINGS_FILE, SET_ASIDE_FILE, write_record};
pub use source::{MemorySounds, RatedSound, RatedSounds};
pub use training::QualityTraining;
