//! The run directory: the unit of everything that takes time.
//!
//! ```text
//! RUN/
//!   recipe.toml          the settings, fully resolved: what is run, nothing left to a default
//!   versions.json        program, Burn, backend, machine and seed of the first start
//!   metrics.jsonl        one object a step and one an evaluation; no clock in it
//!   timings.jsonl        seconds of each step: everything that differs between two equal runs
//!   tensorboard/         the same numbers as event files
//!   samples/             audio at fixed captions and seeds
//!   checkpoints/step-000100/   manifest.json with the SHA-256 of each file, and the files
//!   lock                 held while a process writes here
//! ```
//!
//! [`drive`] runs a [`Training`](crate::training::Training) inside one. A run that is killed at any moment and started
//! again ends with the same bytes in its last checkpoint and in `metrics.jsonl` as one that was not, on the same
//! backend and machine.

mod calibrate;
mod checkpoint;
mod dir;
mod disk;
mod driver;
mod metrics;
mod remaining;
pub mod tensorboard;
mod versions;

pub use calibrate::calibrate;
pub use checkpoint::{Best, Checkpoint, Checkpoints, Direction, Keep, Latest};
pub use dir::RunDir;
pub(crate) use dir::lock;
pub use disk::{Disk, SystemDisk};
pub use driver::{DrivePlan, End, Observer, Outcome, Progress, Silent, drive};
pub use metrics::{Kind, MetricsLog, Record, read_metrics};
pub use remaining::Remaining;
pub use versions::{Machine, Versions};
