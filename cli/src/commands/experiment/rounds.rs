//! On-policy rounds.

use musicrl_pipeline::{
    align::judges::TRUE_UTILITY,
    experiment::{
        RewardDraft, StageDraft,
        rounds::{CONTROL, RoundsFindings, findings, round_name},
    },
};

use super::lab::{Comparison, Lab, Preference};
use crate::failure::Failure;

/// The reward that every round fits again.
const USER: &str = "user_preference";

/// Rounds, then one round with all pairs and all steps, then what both gained.
pub fn run(lab: &mut Lab<'_>, population: &str, pairs: usize, rounds: usize) -> Result<RoundsFindings, Failure> {
    let draft = StageDraft::new(lab.recipe)?;
    lab.quality(&draft)?;
    let mut sets = Vec::new();
    let mut current = "base".to_string();
    for round in 1..=rounds {
        let (name, seed) = (round_name(round), lab.recipe.seed_of(round - 1));
        lab.collect(&name, &current, population, pairs, seed)?;
        sets.push(name.clone());
        // From the base, on all pairs so far: what it says of the base's clips stays as good as it was.
        lab.preference(&Preference { name: &name, sets: &sets, seed, validates: false })?;
        let mut draft = draft.clone();
        draft.starts_from(&format!("../{current}"), (round > 1).then_some("../base"));
        align(lab, &name, draft, seed)?;
        current = format!("systems/{name}/bundle");
    }
    // The control's first pairs are those of the first round.
    let seed = lab.recipe.seed_of(0);
    lab.collect(CONTROL, "base", population, rounds * pairs, seed)?;
    lab.preference(&Preference { name: CONTROL, sets: &[CONTROL.to_string()], seed, validates: false })?;
    let mut control = draft.clone();
    control.set_steps(rounds as u64 * draft.steps());
    control.starts_from("../base", None);
    align(lab, CONTROL, control, seed)?;

    let aligned = (1..=rounds).map(round_name).chain([CONTROL.to_string()]);
    let mut systems = vec![("base".to_string(), "base".to_string())];
    systems.extend(aligned.map(|name| (name.clone(), format!("systems/{name}"))));
    let populations = lab.recipe.evaluation.populations.clone();
    let measures: Vec<String> = populations.iter().map(|name| format!("{TRUE_UTILITY}{name}")).collect();
    let comparison = Comparison { name: None, systems: &systems, population, measures: &measures };
    let evaluation = lab.evaluate(&comparison)?;
    Ok(findings(&evaluation, &populations, (rounds, pairs, draft.steps())))
}

fn align(lab: &mut Lab<'_>, name: &str, mut draft: StageDraft, seed: u64) -> Result<(), Failure> {
    draft.named(name, seed);
    draft.change_reward(RewardDraft { bundle: Some(&format!("../judges/{name}")), ..RewardDraft::named(USER) })?;
    lab.align(name, &draft, seed)
}
