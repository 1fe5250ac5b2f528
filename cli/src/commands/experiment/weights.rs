//! A sweep of reward weights.

use musicrl_pipeline::{
    align::judges::TRUE_UTILITY,
    experiment::{
        RewardDraft, StageDraft,
        weights::{REWARDS, WeightsFindings, findings, scales, setting_name},
    },
};

use super::lab::{Comparison, Lab, Preference};
use crate::failure::Failure;

/// The preference model's name, and the bundle that judges everything.
const JUDGE: &str = "user";

/// The judges, what a standard deviation of each is, and one alignment a setting.
pub fn run(
    lab: &mut Lab<'_>,
    population: &str,
    pairs: usize,
    weights: &[[f64; 3]],
) -> Result<WeightsFindings, Failure> {
    let draft = StageDraft::new(lab.recipe)?;
    lab.quality(&draft)?;
    let seed = lab.recipe.seed_of(0);
    lab.collect(JUDGE, "base", population, pairs, seed)?;
    lab.preference(&Preference { name: JUDGE, sets: &[JUDGE.to_string()], seed, validates: false })?;

    let populations = lab.recipe.evaluation.populations.clone();
    let truths = populations.iter().map(|name| format!("{TRUE_UTILITY}{name}"));
    let measures: Vec<String> = REWARDS.iter().map(ToString::to_string).chain(truths).collect();
    let mut systems = vec![("base".to_string(), format!("judges/{JUDGE}"))];
    let base = Comparison { name: Some("base"), systems: &systems, population, measures: &measures };
    let scales = scales(&lab.evaluate(&base)?)?;
    for (at, weights) in weights.iter().enumerate() {
        let name = setting_name(at);
        let mut draft = draft.clone();
        draft.named(&name, seed);
        draft.starts_from(&format!("../judges/{JUDGE}"), None);
        for (scale, weight) in scales.iter().zip(weights) {
            let change =
                RewardDraft { weight: Some(*weight), range: Some(scale.range()), ..RewardDraft::named(&scale.reward) };
            draft.change_reward(change)?;
        }
        lab.align(&name, &draft, seed)?;
        systems.push((name.clone(), format!("systems/{name}")));
    }
    let all = Comparison { name: None, systems: &systems, population, measures: &measures };
    Ok(findings(&lab.evaluate(&all)?, scales, &populations, weights)?)
}
