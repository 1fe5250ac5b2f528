//! `musicrl train`: each command trains one part of a bundle.

mod codec;
mod dpo;
mod fine;
mod policy;
mod preference;
mod quality;
mod semantic;
mod text_audio;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use musicrl_core::params::Storage;
use musicrl_pipeline::{
    bundle::{Bundle, sha256_hex},
    corpus::Corpus,
    recipe::{TrainRecipe, settings},
    run::Outcome,
};
use serde::{Serialize, de::DeserializeOwned};

use super::Context;
use crate::{
    commands::{corpus::open_at, drive},
    failure::Failure,
    report::Report,
    words,
};

/// The parts that can be trained.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The neural codec: sound to tokens and back
    Codec(Flags),
    /// The semantic tokeniser: sound to its long-term structure
    Semantic(Flags),
    /// The joint embedding of text and audio: the condition and the judge
    TextAudio(text_audio::TextAudioFlags),
    /// The token policy, on the tokens of a corpus
    Policy(Flags),
    /// The fine stage: coarse tokens to all of them
    Fine(Flags),
    /// The judge of acoustic quality: sound to an opinion score
    Quality(Box<quality::QualityFlags>),
    /// The user preference model: what listeners like, from their choices
    Preference(preference::Flags),
    /// The token policy, on preferences alone: direct preference optimisation, a control
    Dpo(dpo::Flags),
}

/// Sizes that settings start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The shipped base: 16 kHz, minutes on two cores
    Base,
    /// Real recordings on one machine: 24 kHz
    Small,
    /// The published sizes, for machines with an accelerator
    Published,
}

/// Precision of the weights in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// Exact
    F32,
    /// Half the size
    F16,
}

impl From<Precision> for Storage {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
        }
    }
}

/// Flags of every training.
#[derive(Debug, Args)]
pub struct Flags {
    /// Corpus folder to learn from
    #[arg(long)]
    corpus: PathBuf,
    /// Bundle folder that the trained part is added to
    #[arg(long)]
    bundle: PathBuf,
    /// Run folder; a run that is there goes on from its last checkpoint [default: runs/PART]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Sizes that settings start from
    #[arg(long, value_enum, default_value = "base")]
    preset: Preset,
    /// Steps of the run [default: the preset's]
    #[arg(long)]
    steps: Option<u64>,
    /// TOML file with settings over the preset's
    #[arg(long)]
    settings: Option<PathBuf>,
    /// A setting over the preset's and the file's, e.g. optimiser.learning_rate=1e-3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 200)]
    checkpoint_every: u64,
    /// Steps between evaluations; 0: none [default: an eighth of the run]
    #[arg(long)]
    evaluate_every: Option<u64>,
    /// Precision of the weights in the bundle
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

/// A preset with the settings of a file and the overrides of the command line in place.
pub fn resolve_settings<S: Serialize + DeserializeOwned>(
    preset: &S,
    file: Option<&Path>,
    overrides: &[String],
) -> Result<S, Failure> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| Failure::failed(format!("read {}: {error}", path.display())))
    };
    let text = file.map(read).transpose()?;
    Ok(settings::resolve(preset, text.as_deref().zip(file), overrides)?)
}

impl Flags {
    /// The preset with the settings file and the overrides in place.
    fn settings<S: Serialize + DeserializeOwned>(&self, preset: &S) -> Result<S, Failure> {
        resolve_settings(preset, self.settings.as_deref(), &self.set)
    }

    /// The corpus, which must be at the model's sample rate.
    fn corpus(&self, sample_rate_hz: u32) -> Result<Corpus, Failure> {
        open_at(&self.corpus, sample_rate_hz, "take another --preset")
    }

    /// The bundle that is there, or a new one.
    fn bundle(&self) -> Result<Bundle, Failure> {
        if self.bundle.join("bundle.json").exists() { Ok(Bundle::open(&self.bundle)?) } else { Ok(Bundle::new()) }
    }

    /// The resolved settings of the run, `parts` being those of the bundle that it reads.
    fn recipe<S: Serialize>(
        &self,
        context: &Context,
        part: &str,
        steps: u64,
        settings: S,
        (bundle, parts): (&Bundle, &[&str]),
    ) -> Result<TrainRecipe<S>, Failure> {
        let clips = self.corpus.join("clips.jsonl");
        let clips = fs::read(&clips).map_err(|error| Failure::failed(format!("read {}: {error}", clips.display())))?;
        let hashes = parts.iter().filter_map(|part| Some((part.to_string(), bundle.sha256(part)?.to_string())));
        let recipe = TrainRecipe {
            part: part.into(),
            seed: context.seed(),
            corpus: fs::canonicalize(&self.corpus).unwrap_or_else(|_| self.corpus.clone()),
            steps,
            checkpoint_every: self.checkpoint_every,
            evaluate_every: self.evaluate_every.unwrap_or((steps / 8).max(1)),
            inputs: hashes.chain([("clips".to_string(), sha256_hex(&clips))]).collect(),
            settings,
        };
        recipe.validate()?;
        Ok(recipe)
    }

    fn out(&self, part: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(part))
    }

    /// Saves the bundle with its new part and says what it was measured at and what comes next.
    fn finish(&self, part: &str, mut bundle: Bundle, out: &Path, outcome: &Outcome) -> Result<Report, Failure> {
        bundle.push_provenance(format!("{part}: {}", drive::this_command()));
        bundle.save(&self.bundle)?;
        let mut report = Report::new()
            .fact("part", "trained", part)
            .fact("steps", "steps", outcome.step)
            .fact("run", "run", out.display().to_string())
            .fact("bundle", "bundle", self.bundle.display().to_string());
        for (kind, metrics) in [("train", &outcome.metrics), ("evaluation", &outcome.evaluation)] {
            for (name, value) in &metrics.0 {
                report = report.line(format!("  {:<20}{name} {value:.4}", kind));
            }
            let object: serde_json::Map<_, _> = metrics.0.iter().map(|(k, v)| (k.clone(), (*v).into())).collect();
            report = report.value(kind, object);
        }
        Ok(report.next(self.next(&bundle)))
    }

    /// The first part that the bundle lacks, in the order in which parts build on one another.
    fn next(&self, bundle: &Bundle) -> String {
        use musicrl_pipeline::bundle::part;
        let (corpus, folder) = (words::shell(&self.corpus), words::shell(&self.bundle));
        let order = [part::CODEC, part::SEMANTIC, part::TEXT_AUDIO, part::POLICY, part::FINE];
        match order.into_iter().find(|name| !bundle.parts().any(|part| part == *name)) {
            Some(name) => {
                let name = name.replace('_', "-");
                format!("musicrl train {name} --corpus {corpus} --bundle {folder}")
            }
            None => format!("musicrl generate --bundle {folder} \"a calm piano piece\""),
        }
    }
}

/// Trains a part.
pub fn run(context: &Context, command: &Command) -> Result<Report, Failure> {
    match command {
        Command::Codec(flags) => codec::run(context, flags),
        Command::Semantic(flags) => semantic::run(context, flags),
        Command::Policy(flags) => policy::run(context, flags),
        Command::Fine(flags) => fine::run(context, flags),
        Command::TextAudio(flags) => text_audio::run(context, flags),
        Command::Quality(flags) => quality::run(context, flags),
        Command::Preference(flags) => preference::run(context, flags),
        Command::Dpo(flags) => dpo::run(context, flags),
    }
}
