//! Captions as a policy sees them: [`ConditionPrompt`].

use alloc::{format, vec, vec::Vec};

use super::Prompt;
use crate::{Error, Result};

/// One clip's condition: the residual-quantiser codes of a joint text-audio embedding, or nothing.
///
/// Text codes and audio codes live in one space: pretraining conditions on a clip's own audio, generation on a caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionPrompt {
    tokens: Vec<Option<Vec<u32>>>,
}

impl ConditionPrompt {
    /// One condition a clip; `None` is the null condition.
    #[must_use]
    pub fn new(tokens: Vec<Option<Vec<u32>>>) -> Self {
        Self { tokens }
    }

    /// `clips` clips without a condition.
    #[must_use]
    pub fn unconditional(clips: usize) -> Self {
        Self { tokens: vec![None; clips] }
    }

    /// The conditions.
    #[must_use]
    pub fn tokens(&self) -> &[Option<Vec<u32>>] {
        &self.tokens
    }

    /// Row numbers in a table that holds, for each slot, its `codebook` entries and then the null entry:
    /// `[clips, slots]` row by row.
    pub(super) fn rows(&self, slots: usize, codebook: usize) -> Result<Vec<i64>> {
        let mut rows = Vec::with_capacity(self.tokens.len() * slots);
        for (clip, tokens) in self.tokens.iter().enumerate() {
            if let Some(tokens) = tokens
                && tokens.len() != slots
            {
                return Err(Error::Shape {
                    what: "condition tokens",
                    expected: format!("[{slots}]"),
                    got: format!("[{}] at clip {clip}", tokens.len()),
                });
            }
            for slot in 0..slots {
                let id = match tokens {
                    Some(tokens) if tokens[slot] as usize >= codebook => {
                        return Err(Error::Token { at: (clip, 0, slot), codebook, got: i64::from(tokens[slot]) });
                    }
                    Some(tokens) => tokens[slot] as usize,
                    None => codebook,
                };
                rows.push((slot * (codebook + 1) + id) as i64);
            }
        }
        Ok(rows)
    }
}

impl Prompt for ConditionPrompt {
    fn clips(&self) -> usize {
        self.tokens.len()
    }

    fn select(&self, clips: &[usize]) -> Result<Self> {
        let pick = |clip: &usize| {
            self.tokens.get(*clip).cloned().ok_or_else(|| Error::Shape {
                what: "selected clip",
                expected: format!("below {}", self.tokens.len()),
                got: format!("{clip}"),
            })
        };
        Ok(Self { tokens: clips.iter().map(pick).collect::<Result<_>>()? })
    }

    fn null(&self) -> Option<Self> {
        Some(Self::unconditional(self.tokens.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_own_rows_and_a_null_row() -> Result<()> {
        let prompt = ConditionPrompt::new(vec![Some(vec![0, 2]), None]);
        assert_eq!(prompt.rows(2, 3)?, [0, 6, 3, 7]);
        assert_eq!(prompt.null().map(|null| null.rows(2, 3)), Some(Ok(vec![3, 7, 3, 7])));
        assert_eq!(prompt.select(&[1, 0, 1])?.rows(2, 3)?, [3, 7, 0, 6, 3, 7]);
        Ok(())
    }

    #[test]
    fn bad_conditions_are_refused() {
        let rows = |tokens| ConditionPrompt::new(vec![None, Some(tokens)]).rows(2, 3);
        assert!(matches!(rows(vec![1]), Err(Error::Shape { .. })));
        assert_eq!(rows(vec![1, 3]), Err(Error::Token { at: (1, 0, 1), codebook: 3, got: 3 }));
        assert!(matches!(ConditionPrompt::unconditional(2).select(&[2]), Err(Error::Shape { .. })));
    }
}
