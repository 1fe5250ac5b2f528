//! Reward models for single listeners, from few of their own judgements: [`personal`].
//!
//! A model is learned from the others; for each listener its head is corrected by 50, 200, ... of the listener's own
//! judgements (`learn = "head"`). Beside it stand the shared model as it is, and a head on the policy's vectors that is
//! fitted to the listener's judgements alone. All are measured on judgements of the same listener on captions that no
//! model learned from.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use burn::tensor::Device;
use musicrl_core::{
    params::Storage,
    random::{Key, Purpose},
};
use musicrl_feedback::PreferenceSet;
use musicrl_rewards::listeners::Population;
use serde::{Deserialize, Serialize};

pub use self::found::{OfListener, OfSize, Personal};
use self::{
    found::{Differences, Stored, curves, of_listener},
    listeners::{Judge, judges},
};
use super::{
    figures::Held,
    file::{PERSONAL_FILE, read_json, write_json},
    settings::StudySettings,
};
use crate::{
    Error, Result,
    bundle::{Bundle, part},
    preference::{Division, PreferenceData},
    recipe::settings::to_toml,
    report::{Against, accuracy_svg},
    run::{RunDir, Versions},
    train::preference::{Features, Head, Init, Learn, PreferenceTraining, PreferenceTrainingConfig, Select},
    training::Training as _,
};

mod found;
mod listeners;

/// Settings of [`personal`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonalSettings {
    /// Seed of weights, orders of pairs and choices.
    pub seed: u64,
    /// A population of simulated listeners that is asked about the set's own pairs; without one it is those of the set
    /// who said most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub population: Option<String>,
    /// How many listeners.
    pub listeners: usize,
    /// Judgements of a listener to learn from; numbers above what there are become all that there are.
    pub pairs: Vec<usize>,
    /// Steps of a correction.
    pub steps: u64,
    /// Training of the shared model; `deviation` and `average_decay` are the correction's too.
    pub training: PreferenceTrainingConfig,
}

impl PersonalSettings {
    /// Three listeners from 50, 200 and 1,000 pairs; a third of the captions is held out.
    #[must_use]
    pub fn base() -> Self {
        let training = PreferenceTrainingConfig { held_out_share: 1.0 / 3.0, ..StudySettings::base().training };
        Self { seed: 1, population: None, listeners: 3, pairs: vec![50, 200, 1_000], steps: 300, training }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let study = StudySettings { seed: self.seed, folds: 1, training: self.training.clone() };
        study.validate()?;
        if !(1..=1_000).contains(&self.listeners) {
            return Err(Error::config("listeners", "1 to 1000", self.listeners));
        }
        if self.pairs.is_empty() || self.pairs.contains(&0) || !self.pairs.is_sorted_by(|a, b| a < b) {
            return Err(Error::config("pairs", "ascending numbers of at least 1", format!("{:?}", self.pairs)));
        }
        if !(1..=1_000_000).contains(&self.steps) {
            return Err(Error::config("steps", "1 to 1000000", self.steps));
        }
        Ok(())
    }

    fn recipe(&self, bundle: &str, pairs: &str) -> Result<String> {
        #[derive(Serialize)]
        struct Recipe<'a> {
            kind: &'static str,
            bundle: &'a str,
            set: &'a str,
            #[serde(flatten)]
            settings: &'a PersonalSettings,
        }
        to_toml(&Recipe { kind: "personal", bundle, set: pairs, settings: self })
    }
}

/// What is studied.
#[derive(Debug, Clone, Copy)]
pub struct PersonalInput<'a> {
    /// The set.
    pub set: &'a PreferenceSet,
    /// Its pairs.
    pub data: &'a PreferenceData,
    /// Its policy is where models begin.
    pub bundle: &'a Bundle,
    /// Other bundles that played clips of the set.
    pub makers: &'a [Bundle],
    /// Populations of simulated listeners whose tastes are known.
    pub populations: &'a [Population],
    /// How.
    pub settings: &'a PersonalSettings,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonalStage {
    /// Clips are heard, to ask simulated listeners.
    Hearing,
    /// The shared model learns.
    Shared,
    /// Listeners are done.
    Listeners,
}

/// Studies reward models for single listeners in the folder `out`. `progress` is told what is done and how much of how
/// much; an error of its own ends it there, with all that is finished kept.
///
/// # Errors
/// [`Error::Config`] for bad settings and sets, [`Error::File`] when `out` holds something else; [`Error::Busy`]; when a
/// part of the bundle is missing; [`Error::Io`].
pub fn personal(
    input: &PersonalInput<'_>,
    out: &Path,
    versions: &Versions,
    device: &Device,
    progress: &mut dyn FnMut(PersonalStage, u64, u64) -> Result<()>,
) -> Result<Personal> {
    let PersonalInput { data, bundle, settings, .. } = *input;
    settings.validate()?;
    let recipe = settings.recipe(&bundle.identity(), &data.identity())?;
    let dir = RunDir::create_or_open(out, &recipe, versions)?;
    let mut notes = Vec::new();
    let hearing = &mut |done: usize, total: usize| progress(PersonalStage::Hearing, done as u64, total as u64);
    let judges = judges(input, &mut notes, device, hearing)?;
    let division = data.split(settings.training.held_out_share, settings.training.split_seed)?;
    let shared = shared_model(input, &judges, &division, out, device, progress)?;
    let mut work = Work { settings, shared: &shared, device, shared_features: None, own_features: None };
    let mut listeners = Vec::new();
    let mut pooled: BTreeMap<usize, [Vec<(Differences, Held)>; 3]> = BTreeMap::new();
    for (at, judge) in judges.iter().enumerate() {
        progress(PersonalStage::Listeners, at as u64, judges.len() as u64)?;
        let parts = judge.divide(&division, settings)?;
        let path = out.join("listeners").join(format!("{}.json", judge.file_name()));
        let stored = match read_json::<Stored>(&path, "figures of a listener")? {
            Some(stored) => stored,
            None => {
                std::fs::create_dir_all(out.join("listeners")).map_err(Error::io("create", out))?;
                write_json(&path, &work.listener(judge, &parts)?)?;
                read_json(&path, "figures of a listener")?.ok_or_else(|| Error::File {
                    path: path.clone(),
                    expected: "figures of a listener".into(),
                    got: "nothing".into(),
                })?
            }
        };
        let held = judge.held(&parts.held_out, settings);
        if stored.shared.differences.len() != held.pairs.len() {
            let got = format!("{}", stored.shared.differences.len());
            return Err(Error::File { path, expected: format!("{} held-out pairs", held.pairs.len()), got });
        }
        listeners.push(of_listener(judge, &stored, &held)?);
        for (asked, (_, corrected, alone)) in settings.pairs.iter().zip(&stored.sizes) {
            let lists = pooled.entry(*asked).or_default();
            for (list, what) in lists.iter_mut().zip([&stored.shared, corrected, alone]) {
                list.push((what.clone(), held.clone()));
            }
        }
    }
    progress(PersonalStage::Listeners, judges.len() as u64, judges.len() as u64)?;
    let curves = curves(&pooled, &listeners, judges.first().map(|judge| judge.source.clone()))?;
    let path = out.join(PERSONAL_FILE);
    write_json(&path, &curves)?;
    if let Some(svg) = accuracy_svg(&path, Against::Pairs)? {
        dir.replace_file("personal.svg", svg.as_bytes())?;
    }
    Ok(Personal { curves, listeners, notes })
}

/// The model of what all others said, in a bundle of its own; the one that is there where it is.
fn shared_model(
    input: &PersonalInput<'_>,
    judges: &[Judge],
    division: &Division,
    out: &Path,
    device: &Device,
    progress: &mut dyn FnMut(PersonalStage, u64, u64) -> Result<()>,
) -> Result<Bundle> {
    let PersonalInput { set, data, bundle, settings, .. } = *input;
    let path = out.join("shared");
    if path.join("bundle.json").exists() {
        let bundle = Bundle::open(&path)?;
        if bundle.parts().any(|name| name == part::PREFERENCE) {
            return Ok(bundle);
        }
    }
    let taken = super::heard::taken_of(set, &settings.training.data, data)?;
    let others = |pair: &usize| judges.iter().all(|judge| judge.name != taken[*pair].listener);
    let learning: Vec<usize> = division.learning.iter().copied().filter(others).collect();
    let division = Division { learning, held_out: Vec::new() };
    let mut config = settings.training.clone();
    let steps = config.steps(division.learning.len());
    if config.optimiser.decay_steps == 0 {
        config.optimiser.decay_steps = steps;
    }
    let mut training =
        PreferenceTraining::divided(config, bundle, (data.clone(), division), None, settings.seed, device)?;
    for step in 0..steps {
        progress(PersonalStage::Shared, step, steps)?;
        training.step(step)?;
    }
    progress(PersonalStage::Shared, steps, steps)?;
    let mut shared = bundle.clone();
    training.finish()?.store(&mut shared, Storage::F32)?;
    shared.save(&path)?;
    Bundle::open(&path)
}

/// Pairs of a listener, by index of the listener's own data.
struct Parts {
    data: PreferenceData,
    learning: Vec<usize>,
    held_out: Vec<usize>,
}

struct Work<'a> {
    settings: &'a PersonalSettings,
    shared: &'a Bundle,
    device: &'a Device,
    /// The clips under the shared trunk, and under the policy's: the same for all listeners.
    shared_features: Option<Arc<Features>>,
    own_features: Option<Arc<Features>>,
}

impl Work<'_> {
    fn listener(&mut self, judge: &Judge, parts: &Parts) -> Result<Stored> {
        let most = parts.learning.len();
        let sizes: Vec<usize> = self.settings.pairs.iter().map(|pairs| (*pairs).min(most)).collect();
        let mut shared = None;
        let mut done = Vec::new();
        for size in sizes {
            let (before, corrected) = self.correct(parts, size)?;
            shared.get_or_insert(before);
            done.push((size, corrected, self.alone(parts, size)?));
        }
        let shared = shared.ok_or_else(|| Error::config("pairs", "at least one number", judge.name.as_str()))?;
        Ok(Stored { shared, sizes: done })
    }

    /// The shared model before and after its head is corrected by the first `size` pairs.
    fn correct(&mut self, parts: &Parts, size: usize) -> Result<(Differences, Differences)> {
        let mut config = PreferenceTrainingConfig {
            init: Init::Shared,
            learn: Learn::Head,
            select: Select::Last,
            ..self.settings.training.clone()
        };
        config.optimiser.decay_steps = self.settings.steps;
        let mut training = self.training(config, parts, size, self.shared_features.clone())?;
        self.shared_features = training.features();
        let before = said(&training)?;
        for step in 0..self.settings.steps {
            training.step(step)?;
        }
        Ok((before, said(&training)?))
    }

    /// A head on the policy's vectors, fitted to the first `size` pairs.
    fn alone(&mut self, parts: &Parts, size: usize) -> Result<Differences> {
        let config = PreferenceTrainingConfig {
            init: Init::Policy,
            learn: Learn::Head,
            head: Head::Fitted,
            select: Select::Last,
            ..self.settings.training.clone()
        };
        let training = self.training(config, parts, size, self.own_features.clone())?;
        self.own_features = training.features();
        said(&training)
    }

    fn training(
        &self,
        config: PreferenceTrainingConfig,
        parts: &Parts,
        size: usize,
        features: Option<Arc<Features>>,
    ) -> Result<PreferenceTraining> {
        let learning = parts.learning[..size.min(parts.learning.len())].to_vec();
        let division = Division { learning, held_out: parts.held_out.clone() };
        let of = (parts.data.clone(), division);
        PreferenceTraining::divided(config, self.shared, of, features, self.settings.seed, self.device)
    }
}

fn said(training: &PreferenceTraining) -> Result<Differences> {
    let said = training.held_out()?;
    Ok(Differences { differences: said.differences, tie_strength: said.tie_strength })
}

impl Judge {
    /// The listener's pairs on the shared division, those to learn from in an order of their own, so that fewer are the
    /// beginning of more.
    fn divide(&self, division: &Division, settings: &PersonalSettings) -> Result<Parts> {
        let held: std::collections::BTreeSet<usize> = division.held_out.iter().copied().collect();
        let (mut learning, mut held_out) = (Vec::new(), Vec::new());
        for (at, source) in self.of.iter().enumerate() {
            if held.contains(source) { held_out.push(at) } else { learning.push(at) }
        }
        if learning.is_empty() || held_out.is_empty() {
            let got = format!("{} and {} of {}", learning.len(), held_out.len(), self.name);
            return Err(Error::config("preferences", "judgements to learn from and held-out ones", got));
        }
        Key::new(settings.seed, Purpose::Split).step(3).stream().shuffle(&mut learning);
        Ok(Parts { data: self.data.clone(), learning, held_out })
    }

    fn held(&self, held_out: &[usize], settings: &PersonalSettings) -> Held {
        Held {
            pairs: held_out.iter().map(|at| self.data.pairs()[*at]).collect(),
            exact: self.exact.as_ref().map(|exact| held_out.iter().map(|at| exact[*at]).collect()),
            terms: None,
            bootstrap: settings.training.bootstrap,
            seed: settings.training.split_seed,
        }
    }
}
