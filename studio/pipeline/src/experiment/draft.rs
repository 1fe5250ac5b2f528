//! Recipes of an experiment's alignments, derived from those of the stages, so that what is learned there about optimisers
//! and guards holds here too.

use std::path::Path;

use toml::{Table, Value};

use super::recipe::{ExperimentRecipe, StageRecipe};
use crate::{
    Error, Result,
    recipe::{AlignRecipe, parse, settings},
};

/// Tables of a stage of which an experiment's recipe changes single keys; any other value is replaced as a whole.
const BY_KEY: [&str; 5] = ["policy_optimiser", "value_optimiser", "sampling", "evaluation", "checkpoint"];

/// A recipe of `musicrl align` in the making.
///
/// It begins as `recipes/stages/NAME.toml` with the `[stage]` of the experiment's recipe over its stage: keys of
/// `policy_optimiser`, `value_optimiser`, `sampling`, `evaluation` and `checkpoint` one by one, everything else (`kl`,
/// `guards`, `rewards`, `trainable`) as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct StageDraft {
    /// All but the stage.
    around: Table,
    stage: Table,
}

/// What changes of one reward of a draft.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RewardDraft<'a> {
    /// Its name, which the draft must have.
    pub name: &'a str,
    /// Its weight, where it changes.
    pub weight: Option<f64>,
    /// The raw scores that become 0 and 1, where they change.
    pub range: Option<[f64; 2]>,
    /// The bundle whose model judges, relative to the recipe, where it changes.
    pub bundle: Option<&'a str>,
}

impl<'a> RewardDraft<'a> {
    /// The reward with nothing changed.
    #[must_use]
    pub fn named(name: &'a str) -> Self {
        Self { name, weight: None, range: None, bundle: None }
    }
}

impl StageDraft {
    /// The draft of an experiment's recipe.
    ///
    /// # Errors
    /// [`Error::Config`] where the experiment's `[stage]` has a number of steps that is none.
    pub fn new(recipe: &ExperimentRecipe) -> Result<Self> {
        let mut draft = Self::of(recipe.stage_recipe)?;
        if !recipe.captions.is_empty() {
            draft.around.insert("captions".into(), Value::Table(recipe.captions.clone()));
        }
        let mut keys = recipe.stage.clone();
        // First: what follows the number of steps may be said otherwise by other keys.
        if let Some(steps) = keys.remove("steps") {
            let number = steps.as_integer().and_then(|steps| u64::try_from(steps).ok()).filter(|steps| *steps > 0);
            let Some(number) = number else {
                return Err(Error::config("stage.steps", "a whole number above 0", steps));
            };
            draft.set_steps(number);
        }
        for (key, value) in keys {
            match (draft.stage.get_mut(&key), value) {
                (Some(Value::Table(there)), Value::Table(new)) if BY_KEY.contains(&key.as_str()) => there.extend(new),
                (_, value) => {
                    draft.stage.insert(key, value);
                }
            }
        }
        // A smaller batch than the stage's has no more clips to learn from than it has.
        if !recipe.stage.contains_key("learn_clips")
            && let Some(batch) = draft.stage.get("batch").and_then(Value::as_integer)
            && let Some(Value::Integer(clips)) = draft.stage.get_mut("learn_clips")
        {
            *clips = (*clips).min(batch);
        }
        // A stage may end at a limit, and has a floor of diversity, where it chooses guarded. By another choice systems are compared
        // at equal steps.
        let chosen =
            draft.stage.get("checkpoint").and_then(|checkpoint| checkpoint.get("choose")).and_then(Value::as_str);
        if !recipe.stage.contains_key("guards")
            && chosen != Some("guarded")
            && let Some(Value::Table(guards)) = draft.stage.get_mut("guards")
        {
            guards.remove("at_limit");
            guards.remove("diversity_floor_fraction");
        }
        Ok(draft)
    }

    fn of(recipe: StageRecipe) -> Result<Self> {
        let path = Path::new("recipes/stages");
        let mut around: Table = parse(recipe.text(), path)?;
        let stages = around.remove("stage");
        match stages.as_ref().and_then(Value::as_array).map(Vec::as_slice) {
            Some([Value::Table(stage)]) => Ok(Self { around, stage: without_validation(stage.clone()) }),
            _ => {
                let (expected, got) = ("a recipe of one stage".into(), format!("{recipe:?}, another one"));
                Err(Error::File { path: path.into(), expected, got })
            }
        }
    }

    /// Steps of the stage.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.stage.get("steps").and_then(Value::as_integer).and_then(|steps| u64::try_from(steps).ok()).unwrap_or(0)
    }

    /// Sets the steps. A decay of the learning rate over all steps stays one, a warm-up stays within them, the share of them in
    /// which a baseline alone learns stays the same, and evaluations and checkpoints come at least once.
    pub fn set_steps(&mut self, steps: u64) {
        let (old, new) = (self.steps() as i64, i64::try_from(steps).unwrap_or(i64::MAX));
        self.stage.insert("steps".into(), Value::Integer(new));
        if let Some(Value::Integer(first)) = self.stage.get_mut("baseline_first") {
            *first = first.saturating_mul(new) / old.max(1);
        }
        let mut change = |table: &str, key: &str, change: &dyn Fn(i64) -> i64| {
            if let Some(Value::Integer(value)) = self.stage.get_mut(table).and_then(|table| table.get_mut(key)) {
                *value = change(*value);
            }
        };
        change("policy_optimiser", "decay_steps", &|decay| if decay == old { new } else { decay });
        change("policy_optimiser", "warmup_steps", &|warmup| warmup.min(new));
        for table in ["evaluation", "checkpoint"] {
            change(table, "every", &|every| every.min(new));
        }
    }

    /// Sets the name of the stage and the seed.
    pub fn named(&mut self, name: &str, seed: u64) {
        self.stage.insert("name".into(), Value::String(name.into()));
        self.around.insert("seed".into(), Value::Integer(i64::try_from(seed).unwrap_or(i64::MAX)));
    }

    /// Sets what it starts from and, where that is another one, the bundle that the KL pulls towards.
    pub fn starts_from(&mut self, base: &str, reference: Option<&str>) {
        let path = |path: &str| Value::Table(Table::from_iter([("path".to_string(), Value::String(path.into()))]));
        self.around.insert("base".into(), path(base));
        if let Some(reference) = reference {
            self.around.insert("reference".into(), path(reference));
        }
    }

    /// Sets a key of the stage's table `checkpoint`.
    pub fn set_checkpoint(&mut self, key: &str, value: Value) {
        if let Value::Table(table) = self.stage.entry("checkpoint").or_insert_with(|| Value::Table(Table::new())) {
            table.insert(key.into(), value);
        }
    }

    /// Changes one of its rewards.
    ///
    /// # Errors
    /// [`Error::Config`] where it has none of that name.
    pub fn change_reward(&mut self, change: RewardDraft<'_>) -> Result<()> {
        let rewards = self.stage.get_mut("rewards").and_then(Value::as_array_mut).into_iter().flatten();
        let named = |reward: &Value| reward.get("name").and_then(Value::as_str) == Some(change.name);
        let found = rewards.filter(|reward| named(reward)).find_map(Value::as_table_mut);
        let Some(reward) = found else {
            let expected = format!("a list with `{}`, which this experiment needs", change.name);
            return Err(Error::config("stage.rewards", expected, "none of that name"));
        };
        if let Some(weight) = change.weight {
            reward.insert("weight".into(), Value::Float(weight));
        }
        if let Some(range) = change.range {
            reward.insert("range".into(), Value::Array(range.map(Value::Float).to_vec()));
        }
        if let Some(bundle) = change.bundle {
            reward.insert("bundle".into(), Value::String(bundle.into()));
        }
        Ok(())
    }

    /// Whether one of its rewards is judged by `kind`, or by a model of its own of that kind.
    #[must_use]
    pub fn asks_for(&self, kind: &str) -> bool {
        let rewards = self.stage.get("rewards").and_then(Value::as_array).into_iter().flatten();
        let mut kinds = rewards.filter_map(|reward| reward.get("judge").or_else(|| reward.get("name"))?.as_str());
        kinds.any(|other| other == kind)
    }

    /// The recipe's text. Its keys are checked, not its paths: those may lead to what is not there yet.
    ///
    /// # Errors
    /// [`Error::Parse`] for a key that no stage has.
    pub fn to_toml(&self) -> Result<String> {
        let mut whole = self.around.clone();
        whole.insert("stage".into(), Value::Array(vec![Value::Table(self.stage.clone())]));
        let text = settings::to_toml(&whole)?;
        parse::<AlignRecipe>(&text, Path::new("[stage]"))?;
        Ok(text)
    }
}

/// A stage of the demo without its validation reward model, which is a bundle of the demo's.
fn without_validation(mut stage: Table) -> Table {
    if let Some(Value::Table(checkpoint)) = stage.get_mut("checkpoint") {
        checkpoint.remove("validation");
    }
    if let Some(Value::Array(rewards)) = stage.get_mut("rewards") {
        rewards.retain(|reward| reward.get("bundle").is_none());
    }
    stage
}

#[cfg(test)]
mod tests {
    use super::{
        super::recipe::{Kind, Plan},
        *,
    };
    use crate::{
        align::judges::REWARDS,
        guards::AtLimit,
        recipe::{Choose, EMBEDDED},
    };

    fn recipe(kind: Kind) -> ExperimentRecipe {
        ExperimentRecipe::parse(kind, kind.recipe(), Path::new("e.toml"), false).unwrap()
    }

    fn read(draft: &mut StageDraft) -> AlignRecipe {
        draft.starts_from(EMBEDDED, None);
        AlignRecipe::parse(&draft.to_toml().unwrap(), Path::new("r.toml"), &REWARDS).unwrap()
    }

    #[test]
    fn what_an_experiment_does_not_say_is_the_stages() {
        let mut experiment = recipe(Kind::Rounds);
        let stage = read(&mut StageDraft::of(experiment.stage_recipe).unwrap()).stage.remove(0);
        experiment.stage =
            toml::from_str("steps = 7\nkl = { alpha = 0.5 }\npolicy_optimiser = { beta1 = 0.5 }\n").unwrap();
        let derived = read(&mut StageDraft::new(&experiment).unwrap()).stage.remove(0);
        assert_eq!((derived.steps, derived.policy_optimiser.decay_steps), (7, 7));
        // One key of the optimiser, all of the KL.
        let optimiser = (derived.policy_optimiser.beta1, derived.policy_optimiser.learning_rate);
        assert_eq!(optimiser, (0.5, stage.policy_optimiser.learning_rate));
        assert_eq!((derived.kl.alpha, derived.kl.budget), (0.5, None));
        assert_eq!((&derived.trainable, derived.batch), (&stage.trainable, stage.batch));
        assert!(derived.evaluation.every <= 7 && derived.checkpoint.every <= 7);
    }

    #[test]
    fn few_steps_and_small_batches_of_any_stage_can_be_run() {
        for stage_recipe in [StageRecipe::R, StageRecipe::U, StageRecipe::Ru, StageRecipe::Joint] {
            let mut experiment = ExperimentRecipe { stage_recipe, ..recipe(Kind::Rounds) };
            experiment.stage = toml::from_str("steps = 2\nbatch = 4\ncheckpoint = { choose = 'last' }\n").unwrap();
            let stage = read(&mut StageDraft::new(&experiment).unwrap()).stage.remove(0);
            assert_eq!((stage.steps, stage.batch, stage.baseline_first), (2, 4, 0));
            assert!(stage.learn_clips.is_none_or(|clips| clips == 4), "{stage_recipe:?}");
            assert_eq!(stage.guards.at_limit, AtLimit::Fail);
        }
        let mut experiment = ExperimentRecipe { stage_recipe: StageRecipe::U, ..recipe(Kind::Rounds) };
        experiment.stage = toml::from_str("steps = 50\nlearn_clips = 5\n").unwrap();
        let stage = read(&mut StageDraft::new(&experiment).unwrap()).stage.remove(0);
        assert_eq!((stage.baseline_first, stage.learn_clips), (4, Some(5)));
    }

    #[test]
    fn every_kind_makes_recipes_that_can_be_run() {
        for kind in [Kind::Rounds, Kind::Matrix, Kind::Weights, Kind::OverOptimisation] {
            let experiment = recipe(kind);
            let mut draft = StageDraft::new(&experiment).unwrap();
            draft.named("round-1", 4);
            draft
                .change_reward(RewardDraft { bundle: Some(EMBEDDED), ..RewardDraft::named("user_preference") })
                .unwrap();
            let read = read(&mut draft);
            assert_eq!((read.seed, read.stage[0].name.as_str()), (4, "round-1"), "{kind}");
            assert_eq!(Some(read.stage[0].steps as i64), experiment.stage["steps"].as_integer(), "{kind}");
            assert_eq!(read.stage[0].policy_optimiser.decay_steps, read.stage[0].steps, "{kind}");
            let Plan::OverOptimisation { .. } = experiment.plan else { continue };
            assert_eq!(read.stage[0].checkpoint.choose, Choose::Guarded);
            assert!(!read.stage[0].checkpoint.validation.is_empty());
        }
    }

    #[test]
    fn rewards_are_changed_by_name() {
        let mut draft = StageDraft::new(&recipe(Kind::Weights)).unwrap();
        let change =
            RewardDraft { weight: Some(0.25), range: Some([0.5, 0.75]), ..RewardDraft::named("text_adherence") };
        draft.change_reward(change).unwrap();
        let stage = read(&mut draft).stage.remove(0);
        let reward = stage.rewards.iter().find(|reward| reward.name == "text_adherence").unwrap();
        assert_eq!((reward.weight, reward.range), (0.25, Some([0.5, 0.75])));
        assert!(draft.asks_for("acoustic_quality") && !draft.asks_for("clap"));
        let error = draft.change_reward(RewardDraft::named("beauty")).unwrap_err().to_string();
        assert!(error.contains("stage.rewards") && error.contains("beauty"), "{error}");
    }

    #[test]
    fn steps_and_keys_that_are_none_are_refused() {
        let mut experiment = recipe(Kind::Rounds);
        experiment.stage.insert("steps".into(), Value::Integer(0));
        assert!(StageDraft::new(&experiment).unwrap_err().to_string().contains("stage.steps"));
        experiment.stage.insert("steps".into(), Value::Integer(3));
        experiment.stage.insert("stpes".into(), Value::Integer(3));
        let error = StageDraft::new(&experiment).unwrap().to_toml().unwrap_err().to_string();
        assert!(error.contains("stpes") && error.contains("steps"), "{error}");
    }
}
