//! Bounds of settings that come from files.

use crate::{Error, Result};

/// Refuses a setting outside of its bounds.
pub(crate) fn within(field: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::config(field, format!("{least} to {most}"), value))
}
