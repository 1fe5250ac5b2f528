//! From a folder to a model: [`open`].

use std::path::Path;

use burn::tensor::Device;

use crate::{
    Checkpoint, Error, NamedTensors, Result, bert::Bert, clap::Clap, dac::Dac, encodec::Encodec, mimi::Mimi,
    musicgen::MusicGen,
};

/// The architectures that this crate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Text to music tokens: T5, a decoder with K heads, EnCodec.
    MusicGen,
    /// Neural codec of 24, 32 or 48 kHz.
    Encodec,
    /// Descript audio codec.
    Dac,
    /// Mimi, a codec with transformers.
    Mimi,
    /// Text-audio embedding.
    Clap,
    /// Sentence embedding.
    Bert,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::MusicGen, Self::Encodec, Self::Dac, Self::Mimi, Self::Clap, Self::Bert];

    /// `model_type` of `config.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MusicGen => "musicgen",
            Self::Encodec => "encodec",
            Self::Dac => "dac",
            Self::Mimi => "mimi",
            Self::Clap => "clap",
            Self::Bert => "bert",
        }
    }

    /// What `config.json` says that it is.
    ///
    /// # Errors
    /// [`Error::File`] when `model_type` is missing or none of these.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let said = checkpoint.config_json().get("model_type").and_then(serde_json::Value::as_str);
        Self::ALL.into_iter().find(|architecture| said == Some(architecture.name())).ok_or_else(|| Error::File {
            path: checkpoint.dir().join("config.json"),
            expected: format!("`model_type` to be one of {}", Self::ALL.map(Self::name).join(", ")),
            got: said.map_or("no `model_type`".into(), |said| format!("{said:?}")),
        })
    }
}

/// A loaded model of one of the architectures.
#[derive(Debug)]
pub enum Model {
    /// Text to music tokens.
    MusicGen(Box<MusicGen>),
    /// Neural codec.
    Encodec(Box<Encodec>),
    /// Neural codec.
    Dac(Box<Dac>),
    /// Neural codec.
    Mimi(Box<Mimi>),
    /// Text-audio embedding.
    Clap(Box<Clap>),
    /// Sentence embedding.
    Bert(Box<Bert>),
}

impl Model {
    /// Which it is.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        match self {
            Self::MusicGen(_) => Architecture::MusicGen,
            Self::Encodec(_) => Architecture::Encodec,
            Self::Dac(_) => Architecture::Dac,
            Self::Mimi(_) => Architecture::Mimi,
            Self::Clap(_) => Architecture::Clap,
            Self::Bert(_) => Architecture::Bert,
        }
    }

    /// Computes every output whose inputs are there: inputs are named `in.X`, outputs `out.Y`.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of another shape, type or range.
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors> {
        match self {
            Self::MusicGen(model) => model.run(inputs),
            Self::Encodec(model) => model.run(inputs),
            Self::Dac(model) => model.run(inputs),
            Self::Mimi(model) => model.run(inputs),
            Self::Clap(model) => model.run(inputs),
            Self::Bert(model) => model.run(inputs),
        }
    }
}

/// Opens a checkpoint, recognises its architecture and loads every tensor, each checked by name, shape, type and for
/// NaN.
///
/// # Errors
/// As [`Checkpoint::open`]; [`Error::Tensor`] naming the tensor that is missing, unexpected, or not what it must be.
pub fn open(dir: &Path, device: &Device) -> Result<Model> {
    let checkpoint = Checkpoint::open(dir)?;
    let weights = checkpoint.weights();
    let model = match Architecture::of(&checkpoint)? {
        Architecture::MusicGen => Model::MusicGen(Box::new(MusicGen::load(&checkpoint, device)?)),
        Architecture::Encodec => Model::Encodec(Box::new(Encodec::load(checkpoint.config()?, &weights, device)?)),
        Architecture::Dac => Model::Dac(Box::new(Dac::load(checkpoint.config()?, &weights, device)?)),
        Architecture::Mimi => Model::Mimi(Box::new(Mimi::load(checkpoint.config()?, &weights, device)?)),
        Architecture::Clap => Model::Clap(Box::new(Clap::load(&checkpoint, device)?)),
        Architecture::Bert => Model::Bert(Box::new(Bert::load(checkpoint.config()?, &weights, device)?)),
    };
    checkpoint.finish()?;
    Ok(model)
}
