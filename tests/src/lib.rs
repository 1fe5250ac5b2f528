//! Nothing but tests: `tests/regressions.rs`.
