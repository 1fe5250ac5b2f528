//! Greedy generation, as the reference library runs it: [`greedy`].

use musicrl_core::policy::Prompt as _;

use super::{MusicGenDecoder, TextPrompt, packed::PackedMusicGen};
use crate::{Error, Result};

/// The delayed matrix, `[clips, codebooks, columns]`: what is given and what is to be predicted.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    ids: Vec<Option<u32>>,
    clips: usize,
    delays: Vec<usize>,
    columns: usize,
    pad: u32,
}

impl Grid {
    /// Clips of `frames` frames of which the first are given: `given` is `[clips, codebooks, given frames]`.
    ///
    /// # Errors
    /// [`Error::Input`] when `given` has another shape or more frames.
    pub fn new(
        given: &[u32],
        clips: usize,
        given_frames: usize,
        frames: usize,
        delays: &[usize],
        pad: u32,
    ) -> Result<Self> {
        let codebooks = delays.len();
        if given_frames > frames || Some(given.len()) != clips.checked_mul(codebooks * given_frames) {
            let got = format!("{} ids, {given_frames} frames of {frames}", given.len());
            return Err(Error::input("given codes", format!("[{clips}, {codebooks}, up to {frames}]"), got));
        }
        let columns = frames + delays.iter().copied().max().unwrap_or(0) + 1;
        let mut ids = Vec::with_capacity(clips * codebooks * columns);
        for clip in 0..clips {
            for (k, delay) in delays.iter().enumerate() {
                let row = &given[(clip * codebooks + k) * given_frames..][..given_frames];
                ids.extend((0..columns).map(|column| match column.checked_sub(delay + 1) {
                    Some(frame) if frame < frames => row.get(frame).copied(),
                    _ => Some(pad),
                }));
            }
        }
        Ok(Self { ids, clips, delays: delays.to_vec(), columns, pad })
    }

    /// Number of columns: frames, delays, and the first of all pads.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The matrix, `[clips, codebooks, columns]`; the pad where nothing was predicted yet.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.ids.iter().map(|id| id.unwrap_or(self.pad)).collect()
    }

    /// The codes without delays, `[clips, codebooks, frames]`.
    #[must_use]
    pub fn codes(&self) -> Vec<u32> {
        let frames = self.columns - 1 - self.delays.iter().copied().max().unwrap_or(0);
        let rows = self.ids.chunks_exact(self.columns).enumerate();
        let codes = rows.flat_map(|(row, ids)| ids[self.delays[row % self.delays.len()] + 1..][..frames].iter());
        codes.map(|id| id.unwrap_or(self.pad)).collect()
    }

    fn column(&self, column: usize) -> Vec<u32> {
        self.ids.chunks_exact(self.columns).map(|row| row[column].unwrap_or(self.pad)).collect()
    }
}

/// Fills `grid` with the likeliest entry of every place, under guidance where it is above 1, and gives the last step's
/// logits (guided), `[clips * codebooks, vocab_size]`.
///
/// # Errors
/// [`Error::Input`] when prompt and grid disagree in the number of clips.
pub fn greedy(
    packed: &PackedMusicGen,
    decoder: &MusicGenDecoder,
    prompt: &TextPrompt,
    guidance: f64,
    grid: &mut Grid,
) -> Result<Vec<f32>> {
    if prompt.clips() != grid.clips {
        return Err(Error::input("prompts", format!("[{}]", grid.clips), prompt.clips()));
    }
    let vocab = decoder.config().vocab_size;
    let mut session = packed.session(decoder, prompt, grid.columns)?;
    let mut null = match prompt.null().filter(|_| guidance > 1.0) {
        Some(null) => Some(packed.session(decoder, &null, grid.columns)?),
        None => None,
    };
    let mut scores = Vec::new();
    for column in 0..grid.columns.saturating_sub(1) {
        let ids = grid.column(column);
        scores = session.step(&ids)?.to_vec();
        if let Some(null) = &mut null {
            // On raw logits: uncond + (cond - uncond) * guidance.
            for (score, null) in scores.iter_mut().zip(null.step(&ids)?) {
                *score = null + (*score - null) * guidance as f32;
            }
        }
        for (row, scores) in scores.chunks_exact(vocab).enumerate() {
            let place = &mut grid.ids[row * grid.columns + column + 1];
            if place.is_none() {
                *place = Some(likeliest(scores));
            }
        }
    }
    Ok(scores)
}

/// The first of the largest.
fn likeliest(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (id, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_frames_and_pads_stand_where_the_delays_say() {
        let grid = Grid::new(&[1, 2, 3, 4], 1, 2, 3, &[0, 1], 9).unwrap();
        assert_eq!(grid.columns(), 5);
        let open: Vec<bool> = grid.ids.iter().map(Option::is_none).collect();
        assert_eq!(grid.ids(), [9, 1, 2, 9, 9, 9, 9, 3, 4, 9]);
        assert_eq!(open, [false, false, false, true, false, false, false, false, false, true]);
        assert_eq!(grid.codes(), [1, 2, 9, 3, 4, 9]);
        assert!(Grid::new(&[1], 1, 1, 3, &[0, 1], 9).is_err());
        assert!(Grid::new(&[1, 1], 1, 1, 0, &[0, 1], 9).is_err());
    }
}
