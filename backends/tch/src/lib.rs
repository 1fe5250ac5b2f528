//! The tch backend.
