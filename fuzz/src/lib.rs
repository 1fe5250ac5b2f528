//! What each fuzz target demands of bytes from outside. The targets in `fuzz_targets/` call these functions, and so
//! does the ordinary test that replays `regressions/` (`tests/tests/regressions.rs`): one body, no copy.

pub mod checks;
