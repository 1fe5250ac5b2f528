//! Judges of the user's own: a program, a service, a network.
//!
//! - [`ProcessJudge`]: a program that reads JSON lines and answers with JSON lines.
//! - [`HttpJudge`]: a service that takes a batch as one JSON object.
//! - [`OnnxJudge`]: a network in an ONNX file (cargo feature `onnx`).
//! - [`ProcessConfig`], [`HttpConfig`], [`OnnxConfig`]: their settings, as recipes write them.
//!
//! What goes over the pipe and the wire is in `docs/own-reward.md`.
//!
//! These judges are the only part of the libraries that looks at a clock (time limits) and at the environment (the
//! folder for temporary files, the path in which programs are found). Scores do not depend on either.

mod child;
mod config;
mod http;
mod onnx;
mod process;
mod protocol;
mod sounds;

pub use config::{AudioForm, HttpConfig, MelInput, OnnxConfig, OnnxInput, ProcessConfig};
pub use http::HttpJudge;
pub use onnx::OnnxJudge;
pub use process::ProcessJudge;
