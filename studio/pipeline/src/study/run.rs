//! A study in its folder: [`study`].
//!
//! ```text
//! DIR/
//!   recipe.toml, versions.json, lock   as in every run directory
//!   heard.json                         scores of judges and exact probabilities, one entry a pair
//!   folds/VARIANT-K.json               what training K of a variant says of the pairs that it holds out
//!   study.json, study.svg              the curves and figures of all variants that are done
//! ```

use std::{fs, path::Path, sync::Arc};

use burn::tensor::Device;
use musicrl_feedback::PreferenceSet;
use musicrl_rewards::listeners::Population;
use serde::Serialize;

use super::{
    figures::{Held, Said},
    file::{Curve, CurvePoint, STUDY_FILE, source_of, write_json},
    fold::{Fold, learning_pairs},
    heard::{Listened, ToHear},
    settings::StudySettings,
    variant::{Kind, Variant, has_confidence},
};
use crate::{
    Error, Result,
    bundle::Bundle,
    preference::{Division, PreferenceData},
    preferences::truth::populations_of,
    report::{Against, accuracy_svg},
    run::{RunDir, Versions},
    train::preference::{Features, Init, PreferenceTrainingConfig},
};

/// What is studied.
#[derive(Debug, Clone, Copy)]
pub struct StudyInput<'a> {
    /// The set.
    pub set: &'a PreferenceSet,
    /// Its pairs, with conditions unless the settings say that captions are not read.
    pub data: &'a PreferenceData,
    /// Its policy is where models begin; its judges are the predictors.
    pub bundle: &'a Bundle,
    /// Other bundles that played clips of the set.
    pub makers: &'a [Bundle],
    /// Populations of simulated listeners whose tastes are known.
    pub populations: &'a [Population],
    /// How.
    pub settings: &'a StudySettings,
    /// The variants by name; all where it is empty.
    pub only: &'a [String],
}

/// How far a study is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage<'a> {
    /// Clips are heard.
    Hearing,
    /// A variant learns, in one of its folds.
    Training {
        /// The variant, in words.
        title: &'a str,
        /// From 1.
        fold: usize,
    },
}

/// What a study found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Study {
    /// One a variant that is done.
    pub curves: Vec<Curve>,
    /// What could not be studied, and why.
    pub notes: Vec<String>,
    /// Parts of the cross-validation.
    pub folds: usize,
    /// Trainings that this call did; those that were there were left alone.
    pub trained: usize,
}

/// Studies variants in the folder `out`, a new one or one in which the same study was begun. `progress` is told what is
/// done and how many of how many clips or steps; an error of its own ends the study there, with all finished trainings
/// kept.
///
/// # Errors
/// [`Error::Config`] for bad settings, names and sets; [`Error::File`] when `out` holds another study;
/// [`Error::Busy`]; when a part of the bundle is missing; [`Error::Io`].
pub fn study(
    input: &StudyInput<'_>,
    out: &Path,
    versions: &Versions,
    device: &Device,
    progress: &mut dyn FnMut(Stage<'_>, u64, u64) -> Result<()>,
) -> Result<Study> {
    let StudyInput { data, bundle, settings, .. } = *input;
    settings.validate()?;
    let divisions = settings.divisions(data)?;
    let mut notes = Vec::new();
    let chosen = chosen(input, &mut notes)?;
    let recipe = settings.recipe(&bundle.identity(), &data.identity())?;
    let dir = RunDir::create_or_open(out, &recipe, versions)?;
    let folds = out.join("folds");
    fs::create_dir_all(&folds).map_err(Error::io("create", &folds))?;
    let heard = listen(input, &chosen, out, device, progress)?;
    notes.extend(heard.notes.iter().cloned());
    if heard.exact_choices().is_some() && heard.all_terms().is_none() {
        let file = out.join("heard.json");
        notes.push(format!("{} is of an older program: without it, it is told what models hear", file.display()));
    }
    let work = Work { input, divisions: &divisions, folds: &folds };
    let trained = work.train(&chosen, device, progress)?;
    let curves = work.curves(&heard, &chosen, &mut notes)?;
    write_json(&out.join(STUDY_FILE), &curves)?;
    if let Some(svg) = accuracy_svg(&out.join(STUDY_FILE), Against::Epochs)? {
        dir.replace_file("study.svg", svg.as_bytes())?;
    }
    Ok(Study { curves, notes, folds: divisions.len(), trained })
}

/// The variants that can be studied on this set.
fn chosen(input: &StudyInput<'_>, notes: &mut Vec<String>) -> Result<Vec<Variant>> {
    let mut chosen = Variant::choose(Variant::all(input.settings, input.data), input.only)?;
    if !has_confidence(input.data) && chosen.iter().any(Variant::needs_confidence) {
        chosen.retain(|variant| !variant.needs_confidence());
        notes.push("all judgements are of one confidence: nothing to weigh or choose by it".into());
    }
    if !input.settings.training.sound {
        chosen.retain(|variant| !variant.needs_sound());
        notes.push("no variant is told of the sound, as the settings say".into());
    }
    if !input.settings.training.text {
        chosen.retain(|variant| variant.name != "without-text");
        notes.push("no variant reads text, as the settings say".into());
    }
    Ok(chosen)
}

/// Hears the clips where that tells anything, or reads what was heard before.
fn listen(
    input: &StudyInput<'_>,
    chosen: &[Variant],
    out: &Path,
    device: &Device,
    progress: &mut dyn FnMut(Stage<'_>, u64, u64) -> Result<()>,
) -> Result<Listened> {
    let StudyInput { set, data, bundle, makers, populations, settings, .. } = *input;
    let path = out.join("heard.json");
    if let Some(heard) = Listened::read(&path)? {
        let pairs = data.pairs().len();
        if [heard.exact.len(), heard.text_adherence.len()].iter().all(|count| *count == pairs) {
            return Ok(heard);
        }
        let got = format!("{} pairs", heard.exact.len());
        return Err(Error::File { path, expected: format!("what was heard of {pairs} pairs"), got });
    }
    let judged = populations_of(set);
    let known = populations.iter().any(|population| judged.contains(&population.name));
    if !known && chosen.iter().all(|variant| variant.predictor().is_none()) {
        return Ok(Listened::default());
    }
    let to_hear = ToHear { set, taken: &settings.training.data, data, bundle, makers, populations };
    let progress = &mut |done: usize, total: usize| progress(Stage::Hearing, done as u64, total as u64);
    write_json(&path, &Listened::to(&to_hear, device, progress)?)?;
    Ok(Listened::read(&path)?.unwrap_or_default())
}

/// What vectors of clips depend on in a study, beside its seed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct TrunkOf {
    init: Init,
    text: bool,
    crop: f64,
    members: usize,
}

struct Work<'a> {
    input: &'a StudyInput<'a>,
    divisions: &'a [Division],
    folds: &'a Path,
}

impl Work<'_> {
    fn path(&self, name: &str, fold: usize) -> std::path::PathBuf {
        self.folds.join(format!("{name}-{fold}.json"))
    }

    /// The folds of a variant that are done; `None` where one is missing.
    fn done(&self, name: &str) -> Result<Option<Vec<Fold>>> {
        let read = |(at, division)| Fold::read(&self.path(name, at), division);
        self.divisions.iter().enumerate().map(read).collect()
    }

    /// Does the trainings that are missing and says how many those were.
    fn train(
        &self,
        chosen: &[Variant],
        device: &Device,
        progress: &mut dyn FnMut(Stage<'_>, u64, u64) -> Result<()>,
    ) -> Result<usize> {
        let StudyInput { data, bundle, settings, .. } = *self.input;
        let mut missing: Vec<(&Variant, &PreferenceTrainingConfig, usize)> = Vec::new();
        for variant in chosen {
            let Kind::Trained(config) = &variant.kind else { continue };
            for (at, division) in self.divisions.iter().enumerate() {
                if Fold::read(&self.path(variant.name, at), division)?.is_none() {
                    missing.push((variant, config, at));
                }
            }
        }
        let steps = |config: &PreferenceTrainingConfig, at: usize| {
            config.steps(learning_pairs(config, data, &self.divisions[at]))
        };
        let total: u64 = missing.iter().map(|(_, config, at)| steps(config, *at)).sum();
        let mut before = 0;
        // Heads alone learn on vectors of a trunk that stays as it is: the same for all folds, and for variants with the
        // same trunk, captions and crops.
        let mut known: Option<(TrunkOf, Arc<Features>)> = None;
        for (variant, config, at) in &missing {
            let stage = Stage::Training { title: variant.title, fold: at + 1 };
            progress(stage, before, total)?;
            let stepped = &mut |done, _| progress(stage, before + done, total);
            let division = &self.divisions[*at];
            let trunk = TrunkOf { init: config.init, text: config.text, crop: config.crop, members: config.members };
            let of_it = known.take_if(|(of, _)| *of == trunk).map(|(_, features)| features);
            let (fold, features) = Fold::train(config, bundle, data, division, of_it, settings.seed, device, stepped)?;
            known = features.map(|features| (trunk, features));
            write_json(&self.path(variant.name, *at), &fold)?;
            before += steps(config, *at);
        }
        Ok(missing.len())
    }

    /// The curves of all variants that are done, whether they were chosen now or before, and of the predictors.
    fn curves(&self, heard: &Listened, chosen: &[Variant], notes: &mut Vec<String>) -> Result<Vec<Curve>> {
        let StudyInput { set, data, settings, .. } = *self.input;
        let mut order: Vec<usize> = self.divisions.iter().flat_map(|it| it.held_out.iter().copied()).collect();
        order.sort_unstable();
        let exact = heard.exact_choices();
        let held = Held {
            pairs: order.iter().map(|pair| data.pairs()[*pair]).collect(),
            exact: exact.map(|all| order.iter().map(|pair| all[*pair]).collect()),
            terms: heard.all_terms().map(|all| order.iter().map(|pair| all[*pair]).collect()),
            bootstrap: settings.training.bootstrap,
            seed: settings.training.split_seed,
        };
        let source = source_of(set, &settings.training.data);
        let epochs = settings.training.epochs;
        let mut first: Option<Said> = None;
        let mut curves = Vec::new();
        for (at, variant) in Variant::all(settings, data).iter().enumerate() {
            let said: Vec<(f64, Said)> = match variant.predictor() {
                None => match self.done(variant.name)? {
                    Some(folds) => pooled(&folds, &order),
                    None => continue,
                },
                Some(predictor) => {
                    if !chosen.contains(variant) {
                        continue;
                    }
                    match heard.differences(predictor) {
                        Ok(all) => flat(order.iter().map(|pair| all[*pair]).collect(), epochs),
                        Err(reason) => {
                            notes.push(format!("{}: {reason}", variant.title));
                            continue;
                        }
                    }
                }
            };
            let Some((_, last)) = said.last() else { continue };
            let figures = held.figures(last, first.as_ref())?;
            let points = said.iter().map(|(epoch, said)| point(&held, *epoch, said)).collect::<Result<Vec<_>>>()?;
            curves.push(Curve {
                name: variant.title.into(),
                variant: Some(variant.name.into()),
                points: points.into_iter().flatten().collect(),
                source: source.clone(),
                figures: Some(figures),
            });
            if at == 0 {
                first = Some(last.clone());
            }
        }
        Ok(curves)
    }
}

/// What the folds say together, measurement by measurement, of the pairs in `order`.
fn pooled(folds: &[Fold], order: &[usize]) -> Vec<(f64, Said)> {
    let place = |pair: &usize| order.binary_search(pair).unwrap_or(0);
    let points = folds.iter().map(|fold| fold.points.len()).min().unwrap_or(0);
    let said = |at: usize| {
        let count = order.len();
        let (mut differences, mut spread, mut ties) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
        for fold in folds {
            let point = &fold.points[at];
            for (pair, (difference, deviation)) in fold.pairs.iter().zip(point.differences.iter().zip(&point.spread)) {
                let place = place(pair);
                (differences[place], spread[place], ties[place]) = (*difference, *deviation, point.tie_strength);
            }
        }
        (folds[0].points[at].epoch, Said { differences, spread, tie_strengths: Some(ties) })
    };
    (0..points).map(said).collect()
}

/// What learns nothing stays where it is.
fn flat(differences: Vec<f64>, epochs: f64) -> Vec<(f64, Said)> {
    let said = Said { spread: vec![0.0; differences.len()], differences, tie_strengths: None };
    vec![(0.0, said.clone()), (epochs, said)]
}

fn point(held: &Held, epoch: f64, said: &Said) -> Result<Option<CurvePoint>> {
    let Some(accuracy) = held.report(said)?.accuracy else { return Ok(None) };
    let (low, high) = (Some(accuracy.low), Some(accuracy.high));
    Ok(Some(CurvePoint { epoch: Some(epoch), pairs: None, accuracy: accuracy.estimate, low, high }))
}
