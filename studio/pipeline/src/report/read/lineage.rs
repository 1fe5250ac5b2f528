//! Which system starts from which, and how many learning steps lie before it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::system::System;
use crate::{bundle::Bundle, recipe::EMBEDDED};

/// Finds each system's parent, and the steps before each of its stages. What does not fit goes to `notes`.
///
/// A system starts from another when its recipe's `base.sha256` is the identity of the other's bundle, or else when its
/// `base.path` leads to that bundle, from where it stands or from a folder above its run.
pub(super) fn resolve(systems: &mut [System], notes: &mut Vec<String>) {
    let identities: Vec<Option<String>> = systems.iter().map(|system| identity(&system.dir)).collect();
    let folders: Vec<Option<PathBuf>> =
        systems.iter().map(|system| fs::canonicalize(system.dir.join("bundle")).ok()).collect();
    for at in 0..systems.len() {
        let base = &systems[at].recipe.base;
        let others = || (0..systems.len()).filter(|other| *other != at);
        let by_hash =
            base.sha256.as_ref().and_then(|sha256| others().find(|o| identities[*o].as_ref() == Some(sha256)));
        let by_path = || {
            if base.path == Path::new(EMBEDDED) {
                return None;
            }
            let places = from_above(&systems[at].dir, &base.path);
            others().find(|other| folders[*other].as_ref().is_some_and(|folder| places.contains(folder)))
        };
        let parent = by_hash.or_else(by_path);
        if let (None, Some(parent)) = (by_hash, parent)
            && base.sha256.is_some()
            && identities[parent].is_some()
        {
            notes.push(format!(
                "{} began from another bundle than the one that {} has now",
                systems[at].name, systems[parent].name
            ));
        }
        systems[at].parent = parent;
    }
    break_circles(systems, notes);
    // Parents before children; there are no circles, so each round settles at least one system.
    let mut settled = vec![false; systems.len()];
    while let Some(at) = (0..systems.len()).find(|at| !settled[*at] && systems[*at].parent.is_none_or(|p| settled[p])) {
        let mut start = systems[at].parent.map_or(0, |parent| systems[parent].steps_from_base());
        for stage in &mut systems[at].stages {
            stage.start = start;
            start += stage.result_step();
        }
        settled[at] = true;
    }
}

/// Where `path` may lead: from the run's own folder and each above it, and as it stands.
pub(super) fn from_above(dir: &Path, path: &Path) -> Vec<PathBuf> {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.into());
    let above = dir.ancestors().map(|folder| folder.join(path)).collect::<Vec<_>>();
    above.into_iter().chain([path.to_path_buf()]).filter_map(|place| fs::canonicalize(place).ok()).collect()
}

fn identity(dir: &Path) -> Option<String> {
    Bundle::identity_in(&dir.join("bundle")).ok()
}

fn break_circles(systems: &mut [System], notes: &mut Vec<String>) {
    for at in 0..systems.len() {
        let mut next = systems[at].parent;
        for _ in 0..systems.len() {
            next = next.and_then(|system| systems[system].parent);
            if next == Some(at) {
                notes.push(format!("{} would start from itself; its start is left out", systems[at].name));
                systems[at].parent = None;
                break;
            }
        }
    }
}
