//! BERT as an encoder of sentences (Devlin et al., "BERT: pre-training of deep bidirectional transformers for language
//! understanding", 2019; Reimers and Gurevych, "Sentence-BERT", 2019; Wang et al., "MiniLM", 2020).
//!
//! [`Bert`] gives hidden states, the pooler's output where the checkpoint has one, and sentence embeddings: the mean over
//! the tokens that are no padding, of length one.

mod config;
mod model;
mod texts;

pub use config::Config;
pub use model::Bert;
