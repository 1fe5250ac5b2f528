//! The base that is part of the program.

use std::path::Path;

use crate::{Error, Result, bundle::Bundle, training::Files};

/// Name and bytes of each file of `base/`, as the build found them.
const FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/embedded_base.rs"));

/// Whether this program was built with a base.
#[must_use]
pub fn is_present() -> bool {
    !FILES.is_empty()
}

/// The embedded base, its files checked against their hashes.
///
/// # Errors
/// [`Error::File`] when this program was built without one.
pub fn base() -> Result<Bundle> {
    if !is_present() {
        return Err(Error::File {
            path: "embedded".into(),
            expected: "a program that was built with a base".into(),
            got: "one without".into(),
        });
    }
    let files: Files = FILES.iter().map(|(name, bytes)| ((*name).to_string(), bytes.to_vec())).collect();
    Bundle::from_files(files, Path::new("embedded"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_embedded_is_a_sound_bundle_or_said_to_be_missing() {
        match super::base() {
            Ok(bundle) => assert!(super::is_present() && bundle.parts().count() > 0),
            Err(error) => assert!(!super::is_present() && error.to_string().contains("without"), "{error}"),
        }
    }
}
