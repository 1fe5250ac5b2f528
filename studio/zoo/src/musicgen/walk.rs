//! Decoding action by action: [`walks`].
//!
//! With guidance there are two decoders, one with the captions and one without. A step is bound by reading the weights,
//! so both share one session of twice the clips and read them once.

use std::{cell::RefCell, ops::Range, rc::Rc};

use musicrl_core::{
    Error as CoreError, Result as CoreResult,
    policy::{Decoder, Prompt as _},
    tokens::DelayPattern,
};

use super::{
    MusicGenDecoder, TextPrompt,
    packed::{PackedMusicGen, Session},
};
use crate::{Error, Result};

/// A decoder for each prompt. They go together: each takes its tokens before any goes on to the next step.
///
/// # Errors
/// [`Error::Input`] when a text cannot be read from the device.
pub(super) fn walks(
    packed: &PackedMusicGen,
    decoder: &MusicGenDecoder,
    prompts: &[&TextPrompt],
    pattern: &DelayPattern,
    frames: usize,
) -> Result<Vec<Walk>> {
    let steps = frames + pattern.delay_max();
    let Some(joined) = TextPrompt::joined(prompts) else {
        // Texts of different lengths: one session each.
        let alone = |prompt: &&TextPrompt| walks(packed, decoder, &[prompt], pattern, frames);
        return Ok(prompts.iter().map(alone).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect());
    };
    let together = Rc::new(RefCell::new(Together {
        session: packed.session(decoder, &joined, steps)?,
        column: vec![pattern.pad(); joined.clips() * pattern.codebooks()],
        steps: 0,
        missing: 0,
    }));
    let mut first = 0;
    let walk = |prompt: &&TextPrompt| {
        let clips = first..first + prompt.clips();
        first = clips.end;
        Walk {
            together: Rc::clone(&together),
            clips,
            pattern: pattern.clone(),
            frames,
            at: None,
            codebook: 0,
            row: Vec::new(),
        }
    };
    Ok(prompts.iter().map(walk).collect())
}

/// What the decoders of one generation share.
#[derive(Debug)]
struct Together {
    session: Session,
    /// What the session takes next: `[clips, codebooks]`.
    column: Vec<u32>,
    /// Steps that were computed.
    steps: usize,
    /// Tokens of the column that no decoder took yet.
    missing: usize,
}

impl Together {
    /// Computes steps until `step` is the last one.
    fn reach(&mut self, step: usize, pattern: &DelayPattern, frames: usize) -> CoreResult<()> {
        if self.steps > step {
            return Ok(());
        }
        if self.missing > 0 {
            return Err(CoreError::Shape {
                what: "accepted tokens",
                expected: "those of all decoders of a generation before any goes on".into(),
                got: format!("{} fewer", self.missing),
            });
        }
        self.session.step(&self.column).map_err(failed)?;
        self.column.fill(pattern.pad());
        let open = (0..pattern.codebooks()).filter(|k| pattern.frame_at(step, *k, frames).is_some()).count();
        self.missing = open * self.session.clips();
        self.steps += 1;
        Ok(())
    }
}

fn failed(error: Error) -> CoreError {
    CoreError::Format { expected: "a decoder's step", got: error.to_string() }
}

/// Walks the actions of some clips of a session in generation order.
#[derive(Debug)]
pub(super) struct Walk {
    together: Rc<RefCell<Together>>,
    /// Its clips in the session.
    clips: Range<usize>,
    pattern: DelayPattern,
    frames: usize,
    /// The step whose logits are there; `None` before the first.
    at: Option<usize>,
    codebook: usize,
    row: Vec<f32>,
}

impl Walk {
    /// Whether the place where it stands holds a frame.
    fn is_open(&self, step: usize) -> bool {
        self.pattern.frame_at(step, self.codebook, self.frames).is_some()
    }
}

impl Decoder for Walk {
    fn logits(&mut self) -> CoreResult<&[f32]> {
        let codebooks = self.pattern.codebooks();
        let mut step = self.at.unwrap_or(0);
        // The next place that holds a frame.
        while self.codebook >= codebooks || !self.is_open(step) {
            self.codebook += 1;
            if self.codebook < codebooks {
                continue;
            }
            (step, self.codebook) = (step + 1, 0);
            if step >= self.frames + self.pattern.delay_max() {
                let got = format!("a step past {} frames", self.frames);
                return Err(CoreError::Shape { what: "a decoder", expected: "an action left".into(), got });
            }
        }
        let mut together = self.together.borrow_mut();
        together.reach(step, &self.pattern, self.frames)?;
        self.at = Some(step);
        let vocab = together.session.vocab();
        self.row.clear();
        for clip in self.clips.clone() {
            let start = (clip * codebooks + self.codebook) * vocab;
            self.row.extend_from_slice(&together.session.logits()[start..start + vocab]);
        }
        Ok(&self.row)
    }

    fn accept(&mut self, tokens: &[u32]) -> CoreResult<()> {
        let mut together = self.together.borrow_mut();
        let (codebooks, vocab) = (self.pattern.codebooks(), together.session.vocab());
        let Some(step) = self.at.filter(|step| self.is_open(*step) && tokens.len() == self.clips.len()) else {
            return Err(CoreError::Shape {
                what: "accepted tokens",
                expected: format!("[{}] after logits", self.clips.len()),
                got: format!("[{}]", tokens.len()),
            });
        };
        if let Some((clip, token)) = tokens.iter().enumerate().find(|(_, token)| **token as usize >= vocab) {
            let at = (clip, step, self.codebook);
            return Err(CoreError::Token { at, codebook: vocab, got: i64::from(*token) });
        }
        for (clip, token) in self.clips.clone().zip(tokens) {
            together.column[clip * codebooks + self.codebook] = *token;
        }
        together.missing -= tokens.len();
        self.codebook += 1;
        Ok(())
    }
}
