//! What each stage of each system says of one metric.

use std::collections::BTreeSet;

use crate::{
    figure::{Series, Trend, is_drawable},
    report::read::{Stage, System},
};

/// An evaluation on held-out captions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Evaluated {
    /// Steps of the stage.
    pub step: u64,
    /// Sequence KL to the stage's reference.
    pub kl: Option<f64>,
    /// The metric.
    pub value: f64,
    /// Its interval, where the record has one.
    pub interval: Option<(f64, f64)>,
}

/// One stage's share of a curve.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Segment<'a> {
    /// The system's place.
    pub system: usize,
    /// The system's name.
    pub system_name: String,
    /// The same, with that of the stage where there are several.
    pub name: String,
    /// The stage.
    pub stage: &'a Stage,
    /// Whether the stage learns from the metric; none of what is no reward.
    pub learned: Option<bool>,
    /// Whether it goes on where another stage or system ended.
    pub continues: bool,
    /// On held-out captions.
    pub evaluated: Vec<Evaluated>,
    /// Steps of the training, their KL and their value, as moving means.
    pub training: Vec<(f64, f64, f64)>,
    /// Steps of those means.
    pub window: usize,
}

impl Segment<'_> {
    /// The evaluation of the checkpoint that was chosen.
    pub fn chosen(&self) -> Option<&Evaluated> {
        let chosen = self.stage.chosen()?;
        self.evaluated.iter().find(|evaluated| evaluated.step == chosen)
    }

    /// Steps since the first base.
    pub fn total_step(&self, step: u64) -> f64 {
        (self.stage.start + step) as f64
    }
}

/// Names of all rewards of the systems: those of the recipes in their order, then what else was measured.
pub(in crate::report) fn reward_names(systems: &[System]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let stages = || systems.iter().flat_map(|system| &system.stages);
    let mut add = |name: &str| {
        if !names.iter().any(|other| other == name) {
            names.push(name.into());
        }
    };
    stages().flat_map(|stage| &stage.plan.rewards).for_each(|reward| add(&reward.name));
    let measured: BTreeSet<&str> = stages()
        .flat_map(|stage| &stage.records)
        .flat_map(|record| &record.metrics.0)
        .filter_map(|(name, _)| name.strip_prefix("reward_"))
        .collect();
    let is_end = |name: &str| {
        ["_low", "_high"].iter().any(|end| name.strip_suffix(end).is_some_and(|name| measured.contains(name)))
    };
    measured.iter().filter(|name| !is_end(name)).for_each(|name| add(name));
    names
}

/// What the stages say of `metric`, which is the score of `reward` where it is one; stages that never measured it are left out.
pub(super) fn segments<'a>(systems: &'a [System], metric: &str, reward: Option<&str>) -> Vec<Segment<'a>> {
    let mut segments = Vec::new();
    for (at, system) in systems.iter().enumerate() {
        for (index, stage) in system.stages.iter().enumerate() {
            let several = system.stages.len() > 1;
            let (evaluated, (training, window)) = (evaluated(stage, metric), training(stage, metric));
            if evaluated.is_empty() && training.is_empty() {
                continue;
            }
            segments.push(Segment {
                system: at,
                system_name: system.name.clone(),
                name: if several { format!("{}: {}", system.name, stage.plan.name) } else { system.name.clone() },
                stage,
                learned: reward.map(|reward| stage.plan.learned().any(|(name, _)| name == reward)),
                continues: index > 0 || system.parent.is_some(),
                evaluated,
                training,
                window,
            });
        }
    }
    segments
}

fn evaluated(stage: &Stage, metric: &str) -> Vec<Evaluated> {
    let (low, high) = (format!("{metric}_low"), format!("{metric}_high"));
    let of = |record: &crate::run::Record| {
        let get = |name: &str| record.metrics.get(name).filter(|value| is_drawable(*value));
        let interval = get(&low).zip(get(&high));
        Some(Evaluated { step: record.step, kl: get("kl"), value: get(metric)?, interval })
    };
    stage.evaluations().filter_map(of).collect()
}

fn training(stage: &Stage, metric: &str) -> (Vec<(f64, f64, f64)>, usize) {
    let of = |record: &crate::run::Record| {
        let get = |name: &str| record.metrics.get(name).filter(|value| is_drawable(*value));
        Some((record.step as f64, get("kl")?, get(metric)?))
    };
    let steps: Vec<(f64, f64, f64)> = stage.training().filter_map(of).collect();
    let window = Trend::window(steps.len());
    let mean = |values: Vec<(f64, f64)>| Series::new(values).trend(window).points;
    let kl = mean(steps.iter().map(|(step, kl, _)| (*step, *kl)).collect());
    let value = mean(steps.iter().map(|(step, _, value)| (*step, *value)).collect());
    (kl.iter().zip(&value).map(|(kl, value)| (kl.x, kl.mean, value.mean)).collect(), window)
}
