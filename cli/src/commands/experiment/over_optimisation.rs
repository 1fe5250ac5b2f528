//! Reward over-optimisation, and the choice of the checkpoint.

use musicrl_pipeline::{
    align::judges::TRUE_UTILITY,
    experiment::{
        RewardDraft, StageDraft,
        over_optimisation::{OverOptimisationFindings, PROXY, VALIDATION, findings, run_name},
    },
};

use super::lab::{Comparison, Lab, Preference};
use crate::failure::Failure;

/// Seeds of the validating model's pairs and training stand so far from those of the first model's.
const VALIDATION_SEED: u64 = 500;

/// For each seed a reward model, a validating model of other pairs, and an alignment; then what its guarded choice kept.
pub fn run(
    lab: &mut Lab<'_>,
    population: &str,
    [pairs, validation_pairs]: [usize; 2],
    seeds: usize,
) -> Result<OverOptimisationFindings, Failure> {
    let draft = StageDraft::new(lab.recipe)?;
    lab.quality(&draft)?;
    let truth = format!("{TRUE_UTILITY}{population}");
    let runs: Vec<(String, u64)> = (0..seeds).map(|at| (run_name(at), lab.recipe.seed_of(at))).collect();
    for (name, seed) in &runs {
        let second = format!("{name}-validation");
        for (judge, pairs, seed, validates) in
            [(name, pairs, *seed, false), (&second, validation_pairs, seed + VALIDATION_SEED, true)]
        {
            lab.collect(judge, "base", population, pairs, seed)?;
            lab.preference(&Preference { name: judge, sets: std::slice::from_ref(judge), seed, validates })?;
        }
        let mut draft = draft.clone();
        draft.named(name, *seed);
        draft.starts_from("../base", None);
        for (reward, judge) in [(PROXY, name), (VALIDATION, &second)] {
            let bundle = format!("../judges/{judge}");
            draft.change_reward(RewardDraft { bundle: Some(&bundle), ..RewardDraft::named(reward) })?;
        }
        // Watched and drawn: what an experiment's recipe must have, and what no recipe may learn from.
        draft.change_reward(RewardDraft::named(&truth))?;
        lab.align(name, &draft, *seed)?;
    }
    let mut systems = vec![("base".to_string(), "base".to_string())];
    systems.extend(runs.iter().map(|(name, _)| (name.clone(), format!("systems/{name}"))));
    let comparison = Comparison { name: None, systems: &systems, population, measures: &[truth] };
    let evaluation = lab.evaluate(&comparison)?;
    Ok(findings(&lab.path().join("systems"), &runs, population, Some(&evaluation), lab.recipe.seed)?)
}
