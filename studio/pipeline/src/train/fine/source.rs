//! Where crops of tokens come from.

use crate::{Error, Result};

/// A part of a clip's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCrop {
    /// Semantic tokens.
    pub semantic: Vec<u32>,
    /// Codes of all quantisers, `frames_per_semantic * quantisers` for each semantic token, frame after frame.
    pub codes: Vec<u32>,
}

/// Clips as semantic tokens with the codes of all quantisers, by index.
pub trait TokenSource {
    /// Number of clips.
    fn clips(&self) -> usize;

    /// Semantic tokens of a clip; 0 for an index that is not there.
    fn frames(&self, clip: usize) -> usize;

    /// `frames` semantic tokens of a clip from `start_frame` on, with their codes.
    ///
    /// # Errors
    /// When the clip is not that long or cannot be read.
    fn crop(&self, clip: usize, start_frame: usize, frames: usize) -> Result<TokenCrop>;
}

/// Whole clips in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryTokens {
    clips: Vec<TokenCrop>,
}

impl MemoryTokens {
    /// Clips whose codes are as many as their semantic tokens ask for: `codes_per_semantic` is
    /// `frames_per_semantic * quantisers`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the clip whose lengths do not fit.
    pub fn new(clips: Vec<TokenCrop>, codes_per_semantic: usize) -> Result<Self> {
        match clips.iter().position(|clip| clip.codes.len() != clip.semantic.len() * codes_per_semantic) {
            Some(index) => Err(Error::Config {
                field: "tokens".into(),
                expected: format!("{codes_per_semantic} codes a semantic token"),
                got: format!(
                    "{} codes for {} tokens in clip {index}",
                    clips[index].codes.len(),
                    clips[index].semantic.len()
                ),
            }),
            None => Ok(Self { clips }),
        }
    }
}

impl TokenSource for MemoryTokens {
    fn clips(&self) -> usize {
        self.clips.len()
    }

    fn frames(&self, clip: usize) -> usize {
        self.clips.get(clip).map_or(0, |clip| clip.semantic.len())
    }

    fn crop(&self, clip: usize, start_frame: usize, frames: usize) -> Result<TokenCrop> {
        let missing = || Error::Config {
            field: "clip".into(),
            expected: format!(
                "an index below {} with tokens {start_frame} to {}",
                self.clips.len(),
                start_frame + frames
            ),
            got: clip.to_string(),
        };
        let whole = self.clips.get(clip).ok_or_else(missing)?;
        let semantic = whole.semantic.get(start_frame..start_frame + frames).ok_or_else(missing)?.to_vec();
        let ratio = whole.codes.len() / whole.semantic.len().max(1);
        let codes = whole.codes[start_frame * ratio..(start_frame + frames) * ratio].to_vec();
        Ok(TokenCrop { semantic, codes })
    }
}
