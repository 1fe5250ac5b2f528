//! The tokens of one clip as the fine stage sees them.

use core::ops::Range;

use musicrl_core::{Error, Result};

use super::FineConfig;

/// Semantic tokens and the codes of all quantisers of one clip, every id checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FineClip {
    semantic: Vec<u32>,
    codes: Vec<u32>,
}

impl FineClip {
    /// A clip whose codes are known: `codes` holds `quantisers` ids for each acoustic frame, frame after frame.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are no frames or the lengths do not fit each other, [`Error::Token`] for an id
    /// outside its codebook.
    pub fn new(config: &FineConfig, semantic: Vec<u32>, codes: Vec<u32>) -> Result<Self> {
        let clip = Self::checked(config, semantic, &codes, config.quantisers)?;
        Ok(Self { codes, ..clip })
    }

    /// A clip of which the coarse levels are known and the others hidden.
    ///
    /// # Errors
    /// As [`FineClip::new`].
    pub fn from_coarse(config: &FineConfig, semantic: Vec<u32>, coarse: &[u32]) -> Result<Self> {
        let clip = Self::checked(config, semantic, coarse, config.coarse_levels)?;
        let hidden = vec![config.mask_id(); config.quantisers - config.coarse_levels];
        let codes =
            coarse.chunks(config.coarse_levels).flat_map(|frame| frame.iter().chain(&hidden)).copied().collect();
        Ok(Self { codes, ..clip })
    }

    fn checked(config: &FineConfig, semantic: Vec<u32>, codes: &[u32], levels: usize) -> Result<Self> {
        let frames = semantic.len() * config.frames_per_semantic;
        if frames == 0 || codes.len() != frames * levels {
            return Err(Error::Shape {
                what: "acoustic codes",
                expected: format!("[{frames}, {levels}] for {} semantic tokens, 1 or more", semantic.len()),
                got: format!("{} ids", codes.len()),
            });
        }
        let token = |at, codebook, id: u32| Error::Token { at, codebook, got: i64::from(id) };
        if let Some(at) = semantic.iter().position(|id| *id as usize >= config.semantic_entries) {
            return Err(token((0, at, 0), config.semantic_entries, semantic[at]));
        }
        if let Some(at) = codes.iter().position(|id| *id as usize >= config.entries) {
            return Err(token((0, at / levels, at % levels), config.entries, codes[at]));
        }
        Ok(Self { semantic, codes: Vec::new() })
    }

    /// Semantic tokens.
    #[must_use]
    pub fn semantic(&self) -> &[u32] {
        &self.semantic
    }

    /// `frames * quantisers` ids, frame after frame; a hidden one is [`FineConfig::mask_id`].
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    pub(super) fn codes_mut(&mut self) -> &mut [u32] {
        &mut self.codes
    }

    /// Number of acoustic frames.
    #[must_use]
    pub fn frames(&self, config: &FineConfig) -> usize {
        self.codes.len() / config.quantisers
    }

    /// A part of the clip, in acoustic frames that start and end with a semantic token.
    pub(super) fn part(&self, config: &FineConfig, frames: &Range<usize>) -> Self {
        let (ratio, levels) = (config.frames_per_semantic, config.quantisers);
        Self {
            semantic: self.semantic[frames.start / ratio..frames.end / ratio].to_vec(),
            codes: self.codes[frames.start * levels..frames.end * levels].to_vec(),
        }
    }

    /// Hides levels of some frames.
    pub(super) fn hide(&mut self, config: &FineConfig, frame: usize, levels: Range<usize>) {
        let row = frame * config.quantisers;
        self.codes[row + levels.start..row + levels.end].fill(config.mask_id());
    }

    /// Appends the clip's rows of the embedding table, `1 + quantisers` for each acoustic frame.
    pub(super) fn push_rows(&self, config: &FineConfig, rows: &mut Vec<i64>) {
        for (frame, codes) in self.codes.chunks(config.quantisers).enumerate() {
            rows.push(i64::from(self.semantic[frame / config.frames_per_semantic]));
            rows.extend(codes.iter().enumerate().map(|(level, id)| config.level_offset(level) as i64 + i64::from(*id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> FineConfig {
        FineConfig {
            semantic_entries: 5,
            entries: 7,
            quantisers: 3,
            coarse_levels: 1,
            passes: vec![2, 1],
            ..FineConfig::base()
        }
    }

    #[test]
    fn lengths_and_ids_are_checked() {
        let config = config();
        assert!(FineClip::new(&config, vec![4], vec![6; 6]).is_ok());
        assert!(matches!(FineClip::new(&config, vec![], vec![]), Err(Error::Shape { .. })));
        assert!(matches!(FineClip::new(&config, vec![4], vec![6; 5]), Err(Error::Shape { .. })));
        let semantic = FineClip::new(&config, vec![0, 5], vec![0; 12]);
        assert_eq!(semantic, Err(Error::Token { at: (0, 1, 0), codebook: 5, got: 5 }));
        let acoustic = FineClip::new(&config, vec![0], vec![0, 0, 0, 0, 7, 0]);
        assert_eq!(acoustic, Err(Error::Token { at: (0, 1, 1), codebook: 7, got: 7 }));
        assert!(FineClip::from_coarse(&config, vec![0], &[7, 0]).is_err());
    }

    #[test]
    fn rows_of_the_table_are_those_of_semantic_entry_level_and_mask() {
        let config = config();
        let clip = FineClip::from_coarse(&config, vec![3, 1], &[6, 0, 2, 5]).unwrap();
        assert_eq!(clip.codes(), [6, 7, 7, 0, 7, 7, 2, 7, 7, 5, 7, 7]);
        let mut rows = Vec::new();
        clip.push_rows(&config, &mut rows);
        // Semantic 0..5, level 0 from 5, level 1 from 13, level 2 from 21; the mask is the eighth row of a level.
        assert_eq!(rows, [3, 11, 20, 28, 3, 5, 20, 28, 1, 7, 20, 28, 1, 10, 20, 28]);
        assert_eq!(clip.part(&config, &(2..4)).codes(), [2, 7, 7, 5, 7, 7]);
        assert_eq!(clip.part(&config, &(2..4)).semantic(), [1]);
    }
}
