//! The folder of an experiment and the steps that several kinds have.
//!
//! ```text
//! OUT/
//!   experiment.toml, versions.json   what is done, by what
//!   base/                            a copy of the base; the quality predictor goes in where it is needed
//!   preferences/NAME                 preference sets
//!   judges/NAME                      the base with a preference model
//!   preference/NAME                  the runs that trained those
//!   recipes/NAME.toml, systems/NAME  alignments
//!   evaluation, evaluations/NAME     comparisons
//!   experiment.json, KIND.svg, report.html
//! ```

use std::path::{Path, PathBuf};

use musicrl_pipeline::{
    bundle::{Bundle, part},
    evaluate::{EVALUATION_FILE, Evaluation},
    experiment::{ExperimentDir, ExperimentRecipe, StageDraft, read_evaluation},
    recipe::settings,
};

use crate::{
    commands::{
        Context,
        align::open_base,
        chain::{Chain, Step},
    },
    failure::Failure,
    report::Report,
};

/// The reward that asks for the predictor.
const QUALITY: &str = "acoustic_quality";

/// An experiment under way.
pub struct Lab<'a> {
    chain: Chain<'a>,
    dir: &'a ExperimentDir,
    /// Its recipe.
    pub recipe: &'a ExperimentRecipe,
}

/// How a preference model is trained.
pub struct Preference<'a> {
    /// Its name.
    pub name: &'a str,
    /// The sets, by name.
    pub sets: &'a [String],
    /// Seed of the training.
    pub seed: u64,
    /// Whether the settings are those of the validating model.
    pub validates: bool,
}

/// What is compared.
pub struct Comparison<'a> {
    /// Its name; `None` for the one that the report shows.
    pub name: Option<&'a str>,
    /// Names and folders, the judging bundle first.
    pub systems: &'a [(String, String)],
    /// The listeners that rate.
    pub population: &'a str,
    /// Rewards that are measured.
    pub measures: &'a [String],
}

impl<'a> Lab<'a> {
    /// Takes the folder up; the base is copied into it.
    pub fn new(context: &'a Context, dir: &'a ExperimentDir, recipe: &'a ExperimentRecipe) -> Result<Self, Failure> {
        let base = dir.path().join("base");
        if !base.join("bundle.json").exists() {
            let from = recipe.base.as_ref().map_or(Path::new("embedded"), |base| base.path.as_path());
            open_base(from)?.save(&base)?;
        }
        Ok(Self { chain: Chain::new(context, "experiment"), dir, recipe })
    }

    /// Tells the user something.
    pub fn say(&self, text: &str) {
        self.chain.say(text);
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn exists(&self, name: &str) -> bool {
        self.dir.path().join(name).exists()
    }

    fn run(&mut self, name: String, done: bool, arguments: &[&str]) -> Result<(), Failure> {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        self.chain.run(Step { name, arguments, done })
    }

    /// Trains the predictor of acoustic quality where the draft asks for it and the base has none.
    pub fn quality(&mut self, draft: &StageDraft) -> Result<(), Failure> {
        let base = self.path().join("base");
        let has = || -> Result<bool, Failure> { Ok(Bundle::open(&base)?.parts().any(|there| there == part::QUALITY)) };
        if !draft.asks_for(QUALITY) || has()? {
            return Ok(());
        }
        let clips = self.recipe.quality.train_clips;
        let (train, held_out) = (clips.to_string(), (clips / 4).max(1).to_string());
        let (corpus, seed, steps) =
            (self.at("corpus"), self.recipe.seed.to_string(), self.recipe.quality.steps.to_string());
        let etudes =
            ["corpus", "etudes", &corpus, "--train-clips", &train, "--heldout-clips", &held_out, "--seed", &seed];
        self.run("corpus".into(), self.exists("corpus/clips.jsonl"), &etudes)?;
        let (bundle, run) = (self.at("base"), self.at("quality"));
        let train = ["train", "quality", "--corpus", &corpus, "--bundle", &bundle, "--steps", &steps, "--out", &run];
        self.run("quality".into(), false, &[&train[..], &["--seed", &seed]].concat())
    }

    /// Collects pairs of what `system` (a bundle's folder here) plays, for the preference model of the same name.
    pub fn collect(
        &mut self,
        name: &str,
        system: &str,
        population: &str,
        pairs: usize,
        seed: u64,
    ) -> Result<(), Failure> {
        let (bundle, set) = (self.at(system), self.at(&format!("preferences/{name}")));
        let (pairs, seed) = (pairs.to_string(), seed.to_string());
        let done = self.exists(&format!("judges/{name}/bundle.json"));
        let flags = ["preferences", "collect", "--bundle", &bundle, "--population", population, "--pairs", &pairs];
        self.run(format!("pairs of {name}"), done, &[&flags[..], &["--seed", &seed, "--out", &set]].concat())
    }

    /// Trains a preference model on sets, from the base.
    pub fn preference(&mut self, model: &Preference<'_>) -> Result<(), Failure> {
        let sets: Vec<String> = model.sets.iter().map(|set| self.at(&format!("preferences/{set}"))).collect();
        let (sets, seed, base) = (sets.join(","), model.seed.to_string(), self.at("base"));
        let (judge, run) = (self.at(&format!("judges/{}", model.name)), self.at(&format!("preference/{}", model.name)));
        let done = self.exists(&format!("judges/{}/bundle.json", model.name));
        let mut table = self.recipe.preference.clone();
        if model.validates {
            table.extend(self.recipe.validation.clone());
        }
        let flags = ["train", "preference", "--preferences", &sets, "--bundle", &base, "--save-to", &judge];
        let mut flags = [&flags[..], &["--seed", &seed, "--out", &run]].concat();
        let settings = if table.is_empty() {
            None
        } else {
            let name =
                if model.validates { "recipes/validation-settings.toml" } else { "recipes/preference-settings.toml" };
            Some(self.dir.write(name, settings::to_toml(&table)?.as_bytes())?.display().to_string())
        };
        if let Some(settings) = &settings {
            flags.extend(["--settings", settings]);
        }
        self.run(format!("preference model of {}", model.name), done, &flags)
    }

    /// Runs an alignment whose recipe's paths are seen from `recipes/`.
    pub fn align(&mut self, name: &str, draft: &StageDraft, seed: u64) -> Result<(), Failure> {
        let recipe = self.dir.write(&format!("recipes/{name}.toml"), draft.to_toml()?.as_bytes())?;
        let (recipe, out, seed) = (recipe.display().to_string(), self.at(&format!("systems/{name}")), seed.to_string());
        let done = self.exists(&format!("systems/{name}/bundle/bundle.json"));
        self.run(name.to_string(), done, &["align", &recipe, "--out", &out, "--seed", &seed])
    }

    /// Compares systems on the held-out prompts.
    pub fn evaluate(&mut self, comparison: &Comparison<'_>) -> Result<Evaluation, Failure> {
        let (step, folder) = match comparison.name {
            None => ("evaluation".to_string(), "evaluation".to_string()),
            Some(name) => (format!("evaluation by {name}"), format!("evaluations/{name}")),
        };
        let systems: Vec<String> =
            comparison.systems.iter().map(|(name, folder)| format!("{name}={}", self.at(folder))).collect();
        let plan = &self.recipe.evaluation;
        let numbers = [plan.prompts, plan.takes, plan.raters].map(|number| number.to_string());
        let (seed, out) = (self.recipe.seed.to_string(), self.at(&folder));
        let mut flags = vec!["evaluate"];
        flags.extend(systems.iter().map(String::as_str));
        flags.extend(["--population", comparison.population, "--count", &numbers[0], "--takes", &numbers[1]]);
        flags.extend(["--raters", &numbers[2], "--reference", "none", "--seed", &seed, "--out", &out]);
        if comparison.measures.is_empty() {
            flags.extend(["--measure", "none"]);
        }
        comparison.measures.iter().for_each(|measure| flags.extend(["--measure", measure]));
        self.run(step, self.exists(&format!("{folder}/{EVALUATION_FILE}")), &flags)?;
        Ok(read_evaluation(&self.path().join(folder))?)
    }

    /// Makes the page.
    pub fn report(&mut self) -> Result<(), Failure> {
        let dir: PathBuf = self.path().to_path_buf();
        self.run("report".into(), false, &["report", &dir.display().to_string()])
    }

    /// What the steps reported, and the seconds.
    pub fn finish(self) -> (Report, f64) {
        self.chain.finish()
    }
}
