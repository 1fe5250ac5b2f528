//! Training on one population and judging by another.

use musicrl_pipeline::{
    align::judges::TRUE_UTILITY,
    evaluate::Evaluation,
    experiment::{
        RewardDraft, StageDraft,
        matrix::{MatrixFindings, findings},
    },
};

use super::lab::{Comparison, Lab, Preference};
use crate::failure::Failure;

/// One system a population, and one comparison a population.
pub fn run(lab: &mut Lab<'_>, populations: &[String], pairs: usize) -> Result<MatrixFindings, Failure> {
    let draft = StageDraft::new(lab.recipe)?;
    lab.quality(&draft)?;
    // One seed for all: they differ in who chose alone.
    let seed = lab.recipe.seed_of(0);
    for name in populations {
        lab.collect(name, "base", name, pairs, seed)?;
        lab.preference(&Preference { name, sets: std::slice::from_ref(name), seed, validates: false })?;
        let mut draft = draft.clone();
        draft.named(name, seed);
        draft.starts_from("../base", None);
        let bundle = format!("../judges/{name}");
        draft.change_reward(RewardDraft { bundle: Some(&bundle), ..RewardDraft::named("user_preference") })?;
        lab.align(name, &draft, seed)?;
    }
    let mut systems = vec![("base".to_string(), "base".to_string())];
    systems.extend(populations.iter().map(|name| (name.clone(), format!("systems/{name}"))));
    let truths: Vec<String> = populations.iter().map(|name| format!("{TRUE_UTILITY}{name}")).collect();
    let mut judged: Vec<Evaluation> = Vec::new();
    for population in populations {
        // The first is the one that the report shows, and the only one that measures: the clips are the same.
        let first = judged.is_empty();
        let (name, measures) = if first { (None, &truths[..]) } else { (Some(population.as_str()), &[][..]) };
        judged.push(lab.evaluate(&Comparison { name, systems: &systems, population, measures })?);
    }
    Ok(findings(&judged, populations))
}
