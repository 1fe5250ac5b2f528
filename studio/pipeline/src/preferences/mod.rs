//! Preference sets: collected from simulated listeners, counted, brought in and out.
//!
//! - [`collect`]: pairs of clips of one caption, played, heard by a population of
//!   [simulated listeners](musicrl_rewards::listeners), written as a set.
//! - [`settings`]: what is collected.
//! - [`summary`]: what a set holds, and how its listeners agree.
//! - [`truth`]: for simulated listeners, how well the taste that they share explains what they said.
//! - [`table`]: judgements of sound files as CSV and JSONL; [`import`] and [`export`] read and write them.

pub mod collect;
pub mod export;
pub mod import;
mod plan;
mod player;
pub mod settings;
pub mod summary;
pub mod table;
pub mod truth;
