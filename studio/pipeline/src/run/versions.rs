//! What a run was made with: the part of reproducibility that no recipe can hold.

use serde::{Deserialize, Serialize};

/// The machine, as far as it can change the bytes of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Machine {
    /// Processor, as it names itself.
    pub cpu: String,
    /// Threads that tensor operations may use.
    pub threads: usize,
    /// Operating system and architecture, e.g. "linux x86_64".
    pub system: String,
}

/// Program, backend, machine and seed of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Versions {
    /// Version of this crate.
    pub musicrl: String,
    /// Version of Burn.
    pub burn: String,
    /// Name of the backend, as given to `--backend`.
    pub backend: String,
    /// Seed of all keyed random numbers.
    pub seed: u64,
    /// Where it ran.
    pub machine: Machine,
}

impl Versions {
    /// This program's versions, with what only the caller knows.
    #[must_use]
    pub fn new(backend: &str, seed: u64, machine: Machine) -> Self {
        Self {
            musicrl: env!("CARGO_PKG_VERSION").into(),
            burn: "0.22.1".into(),
            backend: backend.into(),
            seed,
            machine,
        }
    }

    /// What differs from `first`, one sentence each: a run resumed so may not end with the same bytes.
    #[must_use]
    pub fn differences(&self, first: &Self) -> Vec<String> {
        let pairs = [
            ("musicrl", first.musicrl.clone(), self.musicrl.clone()),
            ("Burn", first.burn.clone(), self.burn.clone()),
            ("backend", first.backend.clone(), self.backend.clone()),
            ("seed", first.seed.to_string(), self.seed.to_string()),
            ("processor", first.machine.cpu.clone(), self.machine.cpu.clone()),
            ("threads", first.machine.threads.to_string(), self.machine.threads.to_string()),
            ("system", first.machine.system.clone(), self.machine.system.clone()),
        ];
        let differing = pairs.into_iter().filter(|(_, first, now)| first != now);
        differing.map(|(what, first, now)| format!("{what} was `{first}` when the run began and is `{now}`")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_and_equal_versions_have_none() {
        let first = Versions::new("flex", 1, Machine { cpu: "A".into(), threads: 2, system: "linux".into() });
        assert!(first.differences(&first).is_empty());
        let mut now = first.clone();
        now.backend = "ndarray".into();
        now.machine.threads = 8;
        let sentences = now.differences(&first);
        assert_eq!(sentences.len(), 2);
        assert!(sentences[0].contains("flex") && sentences[0].contains("ndarray"));
    }

    #[test]
    fn the_burn_version_is_the_one_in_the_workspace_manifest() {
        let manifest = include_str!("../../../../Cargo.toml");
        assert!(manifest.contains(&format!("version = \"={}\"", Versions::new("", 0, Machine::default()).burn)));
    }
}
