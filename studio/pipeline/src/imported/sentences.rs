//! BERT as a reader of captions: [`BertSentences`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::Device;
use musicrl_rewards::{Error as RewardsError, SentenceEncoder};
use musicrl_zoo::{Architecture, Checkpoint, bert::Bert};

use super::identity::sentence_identity;
use crate::{Error, Result, bundle::Source};

/// Vectors that are kept: a run asks for the same captions again and again.
const KEPT_MAX: usize = 8192;

/// A BERT checkpoint (MiniLM and others of its kind) as a frozen encoder of sentences: the mean over the tokens of a
/// text, of length one. Texts are encoded one at a time, so that a vector does not depend on others, not even by rounding.
#[derive(Debug)]
pub struct BertSentences {
    bert: Bert,
    source: Source,
    kept: Mutex<BTreeMap<String, Vec<f32>>>,
}

impl BertSentences {
    /// Opens a checkpoint's folder.
    ///
    /// # Errors
    /// [`Error::File`] when it is no checkpoint of BERT, or has no tokeniser; whatever a broken checkpoint gives.
    pub fn open(dir: &Path, device: &Device) -> Result<Self> {
        let path = dir.canonicalize().map_err(Error::io("open the sentence encoder", dir))?;
        let source = Source { sha256: sentence_identity(&path)?, path };
        Self::load(source, device)
    }

    /// Opens the encoder that a bundle names; `bundle` is where that came from, for the message.
    ///
    /// # Errors
    /// [`Error::File`] naming the folder when it is not there any more, or is another than it was.
    pub fn reopen(source: &Source, bundle: &str, device: &Device) -> Result<Self> {
        let refused = |got: String| {
            let sha256 = &source.sha256;
            let expected = format!(
                "the sentence encoder that the text tower of {bundle} was trained with (SHA-256 {sha256}; where the \
                 folder moved, correct `sources.text_audio.path` in bundle.json)"
            );
            Error::File { path: source.path.clone(), expected, got }
        };
        if !source.path.is_dir() {
            return Err(refused("no such folder".into()));
        }
        let there = sentence_identity(&source.path).map_err(|error| refused(error.to_string()))?;
        if there != source.sha256 {
            return Err(refused(format!("another (SHA-256 {there})")));
        }
        Self::load(source.clone(), device)
    }

    fn load(source: Source, device: &Device) -> Result<Self> {
        let wrong = |file: &str, expected: &str, got: String| Error::File {
            path: PathBuf::from(&source.path).join(file),
            expected: expected.into(),
            got,
        };
        let checkpoint = Checkpoint::open(&source.path)?;
        let architecture = Architecture::of(&checkpoint)?;
        if architecture != Architecture::Bert {
            let got = architecture.name().to_string();
            return Err(wrong("config.json", "a sentence encoder, a checkpoint of bert", got));
        }
        let bert = Bert::load(checkpoint.config()?, &checkpoint.weights(), &device.clone().inner())?;
        checkpoint.finish()?;
        if !source.path.join("tokenizer.json").is_file() {
            return Err(wrong("tokenizer.json", "the checkpoint's tokeniser, to read captions with", "no file".into()));
        }
        // Captions may be empty: the tokeniser has to make something of them.
        bert.embed(&[""]).map_err(|error| wrong("tokenizer.json", "tokens for any text", error.to_string()))?;
        Ok(Self { bert, source, kept: Mutex::default() })
    }

    /// Where it lies, and the hash of what is read of it.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Vec<f32>>> {
        // A panic elsewhere cannot leave it wrong: it is changed by whole entries.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SentenceEncoder for BertSentences {
    fn width(&self) -> usize {
        self.bert.width()
    }

    fn encode(&self, sentence: &str) -> musicrl_rewards::Result<Vec<f32>> {
        if let Some(vector) = self.kept().get(sentence) {
            return Ok(vector.clone());
        }
        let refused = |got: String| RewardsError::Sentence {
            expected: format!("a text that {} encodes", self.source.path.display()),
            got,
        };
        let vector = self.bert.embed(&[sentence]).map_err(|error| refused(error.to_string()))?;
        let vector: Vec<f32> = vector.into_data().iter::<f32>().collect();
        if let Some(at) = vector.iter().position(|x| !x.is_finite()) {
            return Err(refused(format!("{} as number {at} of the vector of {sentence:?}", vector[at])));
        }
        let mut kept = self.kept();
        if kept.len() < KEPT_MAX {
            kept.insert(sentence.to_string(), vector.clone());
        }
        Ok(vector)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../zoo/tests/fixtures").join(name)
    }

    fn copy(to: &Path) -> PathBuf {
        for entry in fs::read_dir(fixture("bert_minilm")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        to.to_path_buf()
    }

    #[test]
    fn vectors_are_the_checkpoints_own_and_are_the_same_when_they_are_kept() {
        let encoder = BertSentences::open(&fixture("bert_minilm"), &Device::flex()).unwrap();
        let first = encoder.encode("a calm song").unwrap();
        assert_eq!((first.len(), encoder.width()), (24, 24));
        assert!((first.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(encoder.encode("a calm song").unwrap(), first);
        assert_ne!(encoder.encode("loud drums").unwrap(), first);
        assert_eq!(encoder.kept().len(), 2);
    }

    #[test]
    fn what_is_no_sentence_encoder_is_refused() {
        let open = |name: &str| BertSentences::open(&fixture(name), &Device::flex()).unwrap_err().to_string();
        assert!(open("bert_half").contains("tokenizer.json"));
        assert!(open("musicgen_mono").contains("bert"));
        assert!(open("gone").contains("gone"));
    }

    #[test]
    fn a_changed_or_missing_folder_is_refused_by_its_path() {
        let temp = tempfile::tempdir().unwrap();
        let dir = copy(temp.path());
        let source = BertSentences::open(&dir, &Device::flex()).unwrap().source().clone();
        BertSentences::reopen(&source, "b", &Device::flex()).unwrap();
        let refused = |part: &str| {
            let error = BertSentences::reopen(&source, "runs/b", &Device::flex()).unwrap_err().to_string();
            let path = source.path.display().to_string();
            assert!(
                [path.as_str(), "runs/b", "sources.text_audio.path", part].iter().all(|x| error.contains(x)),
                "{error}"
            );
        };
        // Every file that a vector depends on.
        for name in ["config.json", "tokenizer.json", "sentence_bert_config.json", "model.safetensors"] {
            let bytes = fs::read(dir.join(name)).unwrap();
            let mut changed = bytes.clone();
            match name {
                "model.safetensors" => *changed.last_mut().unwrap() ^= 1,
                _ => changed.push(b'\n'),
            }
            fs::write(dir.join(name), changed).unwrap();
            refused("another");
            fs::write(dir.join(name), bytes).unwrap();
        }
        BertSentences::reopen(&source, "b", &Device::flex()).unwrap();
        fs::remove_file(dir.join("model.safetensors")).unwrap();
        refused("model.safetensors");
        fs::remove_dir_all(&dir).unwrap();
        refused("no such folder");
    }
}
