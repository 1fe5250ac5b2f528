//! The paper in miniature: judges, listeners, the systems R, U, RU and joint, their evaluation and the report. A chain of
//! commands, each printed as a user would type it; what is there already is not made again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part},
    embedded,
};

use crate::{
    commands::{
        Context,
        chain::{Chain, Step},
    },
    failure::Failure,
    report::Report,
    words,
};

/// The systems in the order in which they are made, with their recipes.
const SYSTEMS: [(&str, &str); 4] = [
    ("r", include_str!("../../../../recipes/stages/r.toml")),
    ("u", include_str!("../../../../recipes/stages/u.toml")),
    ("ru", include_str!("../../../../recipes/stages/ru.toml")),
    ("joint", include_str!("../../../../recipes/stages/joint.toml")),
];

/// The paper's controls with one reward: recipes that are written and not run.
const SINGLE: [(&str, &str); 2] = [
    ("adherence", include_str!("../../../../recipes/stages/adherence.toml")),
    ("quality", include_str!("../../../../recipes/stages/quality.toml")),
];

/// The preference models of the demo are heads on the policy's vectors as they are: one pass over the clips, then seconds. The
/// fitted head stays; of what steps would move there is the strength of ties alone, which is fitted too.
const HEAD: [&str; 4] = ["--set", "learn=head", "--set", "epochs=0.25"];

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// The steps of a recipe are divided by this.
    divisor: i64,
    /// Pairs of a set: two sets that the base plays, and one that R plays.
    pairs: usize,
    /// Other pairs, for the model that checkpoints are chosen by.
    validation_pairs: usize,
    prompts: usize,
    train_clips: usize,
    quality_steps: usize,
}

const FULL: Size =
    Size { divisor: 1, pairs: 1000, validation_pairs: 1000, prompts: 101, train_clips: 480, quality_steps: 800 };
const QUICK: Size =
    Size { divisor: 4, pairs: 250, validation_pairs: 250, prompts: 34, train_clips: 96, quality_steps: 120 };

/// Evaluations and checkpoints of a shortened stage are at least so many steps apart: an evaluation takes as long as a step.
const EVERY: i64 = 4;

/// The other sets of pairs are those of seeds so much further on: other clips, other choices.
const VALIDATION_SEED: u64 = 1000;
const R_SEED: u64 = 2000;
const SECOND_SEED: u64 = 3000;

/// Runs the chain in `out`.
pub fn run(context: &Context, out: &Path, quick: bool) -> Result<Report, Failure> {
    let size = if quick { QUICK } else { FULL };
    let mut chain = Chain::new(context, "demo");
    let base = out.join("base");
    if !base.join("bundle.json").exists() {
        embedded::base()?.save(&base)?;
    }
    for (name, _) in SINGLE {
        recipe(name, out, size.divisor)?;
    }
    chain.say("listeners and ratings here are SIMULATED; no figure of this run is about people");
    for name in names() {
        chain.run(step(&name, out, size, context.seed())?)?;
    }
    let page = out.join("report.html");
    let (mut report, all) = chain.finish();
    if quick {
        report = report.line("a quick run: a quarter of the learning steps and pairs, a third of the prompts");
    }
    Ok(report
        .line(format!("{} in all; listeners and raters were simulated", words::duration(all)))
        .next(format!("open {} in a browser", page.display())))
}

/// The steps by name, in order.
fn names() -> Vec<String> {
    let judges = ["corpus", "quality", "preferences", "preferences-2", "preference"];
    let validation = ["validation-preferences", "validation"];
    // RU starts from R, and its preference model has heard R: as many pairs as that of U and joint, half of them R's.
    let [r, rest @ ..] = SYSTEMS.map(|(name, _)| name);
    let of_r = [r, "preferences-r", "preference-r"];
    [&judges[..], &validation, &of_r, &rest, &["evaluation", "report"]]
        .concat()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// A step as a command; a system's recipe is written when its turn comes.
fn step(name: &str, out: &Path, size: Size, seed: u64) -> Result<Step, Failure> {
    let at = |path: &str| out.join(path).display().to_string();
    let has =
        |part: &str| -> Result<bool, Error> { Ok(Bundle::open(&out.join("base"))?.parts().any(|there| there == part)) };
    let exists = |path: &str| out.join(path).exists();
    let (done, arguments): (bool, Vec<String>) = match name {
        "corpus" => {
            let (train, held_out) = (size.train_clips.to_string(), (size.train_clips / 4).to_string());
            let flags = ["corpus", "etudes", &at("corpus"), "--train-clips", &train, "--heldout-clips", &held_out];
            (exists("corpus/clips.jsonl"), flags.map(String::from).to_vec())
        }
        "quality" => {
            let (corpus, base, run, steps) = (at("corpus"), at("base"), at("quality"), size.quality_steps.to_string());
            let flags = ["train", "quality", "--corpus", &corpus, "--bundle", &base, "--steps", &steps, "--out", &run];
            (has(part::QUALITY)?, flags.map(String::from).to_vec())
        }
        "preferences" | "preferences-2" | "validation-preferences" | "preferences-r" => {
            let (system, pairs, further, done) = match name {
                "preferences" => ("base", size.pairs, 0, has(part::PREFERENCE)?),
                "preferences-2" => ("base", size.pairs, SECOND_SEED, has(part::PREFERENCE)?),
                "preferences-r" => ("systems/r/bundle", size.pairs, R_SEED, exists("judge-r/bundle.json")),
                _ => ("base", size.validation_pairs, VALIDATION_SEED, exists("validation/bundle.json")),
            };
            let (system, set, pairs, seed) = (at(system), at(name), pairs.to_string(), (seed + further).to_string());
            let flags = ["preferences", "collect", "--bundle", &system, "--population", "village", "--pairs", &pairs];
            let flags = [&flags[..], &["--seed", &seed, "--out", &set]].concat();
            (done, flags.iter().map(ToString::to_string).collect())
        }
        "preference" => {
            let (base, run) = (at("base"), at("preference"));
            let sets = format!("{},{}", at("preferences"), at("preferences-2"));
            let flags = ["train", "preference", "--bundle", &base, "--preferences", &sets, "--out", &run];
            let done = has(part::PREFERENCE)?;
            (done, [&flags[..], &HEAD].concat().iter().map(ToString::to_string).collect())
        }
        "validation" => {
            let (base, set, to) = (at("base"), at("validation-preferences"), at("validation"));
            let run = at("validation-preference");
            let flags =
                ["train", "preference", "--bundle", &base, "--preferences", &set, "--save-to", &to, "--out", &run];
            let done = exists("validation/bundle.json");
            (done, [&flags[..], &HEAD].concat().iter().map(ToString::to_string).collect())
        }
        "preference-r" => {
            let (base, r, to, run) = (at("base"), at("systems/r/bundle"), at("judge-r"), at("preference-r"));
            let sets = format!("{},{}", at("preferences"), at("preferences-r"));
            let flags = ["train", "preference", "--bundle", &base, "--preferences", &sets, "--save-to", &to];
            let flags = [&flags[..], &["--add-to", &r, "--out", &run], &HEAD].concat();
            (exists("judge-r/bundle.json"), flags.iter().map(ToString::to_string).collect())
        }
        "evaluation" => {
            let systems = SYSTEMS.map(|(name, _)| format!("{name}={}", at(&format!("systems/{name}"))));
            let base = format!("base={}", at("base"));
            let prompts = size.prompts.to_string();
            let mut flags = vec!["evaluate".to_string(), base];
            flags.extend(systems);
            let (folder, corpus) = (at("evaluation"), at("corpus"));
            let rest = ["--population", "town", "--count", &prompts, "--reference", &corpus, "--out", &folder];
            flags.extend(rest.map(String::from));
            (exists("evaluation/evaluation.json"), flags)
        }
        "report" => (false, vec!["report".into(), out.display().to_string()]),
        system => {
            let recipe = recipe(system, out, size.divisor)?;
            let flags =
                ["align".to_string(), recipe.display().to_string(), "--out".into(), at(&format!("systems/{system}"))];
            (exists(&format!("systems/{system}/bundle/bundle.json")), flags.to_vec())
        }
    };
    Ok(Step { name: name.to_string(), arguments, done })
}

/// Writes a system's recipe into the run, its steps divided.
fn recipe(system: &str, out: &Path, divisor: i64) -> Result<PathBuf, Failure> {
    let text = SYSTEMS.iter().chain(&SINGLE).find(|(name, _)| *name == system).map_or("", |(_, text)| text);
    let path = out.join("recipes").join(format!("{system}.toml"));
    let text = if divisor == 1 { text.to_string() } else { divided(text, divisor)? };
    let write = |error| Failure::failed(format!("write {}: {error}", path.display()));
    fs::create_dir_all(out.join("recipes")).map_err(write)?;
    fs::write(&path, text).map_err(write)?;
    Ok(path)
}

/// The recipe with a fraction of its steps.
fn divided(text: &str, divisor: i64) -> Result<String, Failure> {
    let wrong = |error: String| Failure::failed(format!("a recipe of the demo: {error}"));
    let mut recipe: toml::Table = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let stages = recipe.get_mut("stage").and_then(toml::Value::as_array_mut);
    for stage in stages.into_iter().flatten() {
        for (path, least) in [
            (&["steps"][..], 1),
            (&["baseline_first"], 1),
            (&["policy_optimiser", "decay_steps"], 1),
            (&["evaluation", "every"], EVERY),
            (&["checkpoint", "every"], EVERY),
        ] {
            let value = path.iter().try_fold(&mut *stage, |value, key| value.get_mut(*key));
            if let Some(toml::Value::Integer(value)) = value {
                *value = (*value / divisor).max(least);
            }
        }
    }
    toml::to_string(&recipe).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use musicrl_pipeline::recipe::Choose;

    use super::*;
    use crate::flags::Flags;

    #[test]
    fn the_recipes_differ_in_what_the_paper_says() {
        let read = |text: &str| toml::from_str::<musicrl_pipeline::recipe::AlignRecipe>(text).unwrap();
        let recipes: Vec<_> = SYSTEMS.iter().map(|(name, text)| (*name, read(text))).collect();
        let weight = |at: usize, name: &str| {
            recipes[at].1.stage[0].rewards.iter().find(|reward| reward.name == name).unwrap().weight
        };
        for (at, weights) in [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]].iter().enumerate() {
            let got = ["text_adherence", "acoustic_quality", "user_preference"].map(|name| weight(at, name));
            assert_eq!(got, *weights, "{}", recipes[at].0);
            // The truth of the simulation is only ever drawn.
            assert_eq!(weight(at, "true_utility_village"), 0.0);
        }
        // What learns from listeners learns in the same way; R's rewards move two small groups of parameters (LOG.md).
        let how = |at: usize| {
            let stage = &recipes[at].1.stage[0];
            (stage.batch, stage.learn_clips, stage.baseline, stage.kl, stage.policy_optimiser.learning_rate)
        };
        assert!(how(1) == how(2) && how(2) == how(3));
        let floors = [0, 1, 2, 3].map(|at| recipes[at].1.stage[0].guards.diversity_floor_fraction);
        assert!(floors[0] > 0.0 && floors.iter().all(|floor| *floor == floors[0]), "{floors:?}");
        let steps: Vec<u64> = recipes.iter().map(|(_, recipe)| recipe.stage[0].steps).collect();
        assert_eq!(steps[0] + steps[2], steps[3]);
        assert_eq!(recipes[2].1.base.path, Path::new("../systems/r/bundle"));
        // The controls with one reward are R, but for the other's weight.
        for (name, text) in SINGLE {
            let (mut single, r) = (read(text), &recipes[0].1);
            single.stage[0].name.clone_from(&r.stage[0].name);
            let counted = |name: &str| if name == "text_adherence" { "adherence" } else { "quality" };
            for (at, reward) in r.stage[0].rewards.iter().enumerate() {
                let weight = if counted(&reward.name) == name { reward.weight } else { 0.0 };
                assert_eq!(single.stage[0].rewards[at].weight, weight, "{name}: {}", reward.name);
                single.stage[0].rewards[at].weight = reward.weight;
            }
            assert_eq!(single.stage, r.stage, "{name}");
        }
        assert_eq!(recipes[0].1.stage[0].checkpoint.choose, Choose::Guarded);
    }

    #[test]
    fn a_quick_run_has_a_fraction_of_the_steps() {
        for (name, text) in SYSTEMS {
            let read = |text: &str| toml::from_str::<musicrl_pipeline::recipe::AlignRecipe>(text).unwrap();
            let (whole, quick) = (read(text), read(&divided(text, 4).unwrap()));
            assert_eq!(quick.stage[0].steps * 4, whole.stage[0].steps, "{name}");
            assert_eq!(quick.stage[0].policy_optimiser.decay_steps * 4, whole.stage[0].policy_optimiser.decay_steps);
            assert_eq!(quick.stage[0].rewards, whole.stage[0].rewards);
            // A checkpoint to choose wherever there was an evaluation, the last step among them.
            assert_eq!((quick.stage[0].evaluation.every, quick.stage[0].checkpoint.every), (4, 4), "{name}");
            assert_eq!(quick.stage[0].steps % 4, 0, "{name}");
        }
    }

    #[test]
    fn every_step_is_a_command_of_the_program() {
        let folder = tempfile::tempdir().unwrap();
        embedded::base().unwrap().save(&folder.path().join("base")).unwrap();
        for name in names() {
            let step = step(&name, folder.path(), FULL, 1).unwrap();
            let line = std::iter::once("musicrl".to_string()).chain(step.arguments);
            assert!(Flags::try_parse_from(line).is_ok() && !step.done, "{name}");
        }
    }
}
