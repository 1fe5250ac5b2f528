//! What is hidden, and asked for, in training and in evaluation.

use musicrl_core::{Error, Result, random::Key};

use super::{FineClip, FineConfig};

/// Clips of equal length with hidden tokens, and the hidden tokens of one level of each as targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FineBatch {
    pub(super) clips: usize,
    pub(super) frames: usize,
    /// Rows of the embedding table, `[clips, frames, 1 + quantisers]`.
    pub(super) rows: Vec<i64>,
    /// For each level: positions in `clips * frames` and the ids to be found there. Coarse levels stay empty.
    pub(super) asked: Vec<Asked>,
}

/// The questions of one level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) positions: Vec<i64>,
    pub(super) targets: Vec<i64>,
}

impl FineBatch {
    /// Hides tokens as in SoundStorm, by one key a clip: a level q is drawn; levels below it are given, levels above
    /// it hidden, and of level q itself a share cos(u pi / 2) of the frames with u uniform in [0, 1). A level that is
    /// decoded in a single pass is hidden as a whole, as it will be then.
    ///
    /// # Errors
    /// [`Error::Shape`] without clips, with clips of different lengths, or another number of keys.
    pub fn for_training(config: &FineConfig, clips: &[FineClip], keys: &[Key]) -> Result<Self> {
        if keys.len() != clips.len() {
            let (expected, got) = (format!("[{}]", clips.len()), format!("[{}]", keys.len()));
            return Err(Error::Shape { what: "keys, one a clip", expected, got });
        }
        let frames = clips.first().map_or(0, |clip| clip.frames(config));
        let choose = |key: &Key| {
            let mut stream = key.stream();
            let level = config.coarse_levels + stream.below(config.fine_levels().len());
            if config.passes_of(level) == 1 {
                return (level, vec![true; frames]);
            }
            let share = (stream.uniform() * core::f64::consts::FRAC_PI_2).cos();
            let hidden = ((share * frames as f64).ceil() as usize).clamp(1, frames.max(1));
            let mut order: Vec<usize> = (0..frames).collect();
            stream.shuffle(&mut order);
            let mut mask = vec![false; frames];
            order.iter().take(hidden).for_each(|frame| mask[*frame] = true);
            (level, mask)
        };
        Self::hide(config, clips, keys.iter().map(choose))
    }

    /// Hides level `level` of every clip and all above it.
    ///
    /// # Errors
    /// [`Error::Shape`] as [`FineBatch::for_training`]; [`Error::Config`] when the level is not a generated one.
    pub fn for_level(config: &FineConfig, clips: &[FineClip], level: usize) -> Result<Self> {
        if !config.fine_levels().contains(&level) {
            let expected = format!("in {:?}", config.fine_levels());
            return Err(Error::Config { field: "level", expected, got: level.to_string() });
        }
        let frames = clips.first().map_or(0, |clip| clip.frames(config));
        Self::hide(config, clips, clips.iter().map(|_| (level, vec![true; frames])))
    }

    fn hide(config: &FineConfig, clips: &[FineClip], hidden: impl Iterator<Item = (usize, Vec<bool>)>) -> Result<Self> {
        let frames = clips.first().map_or(0, |clip| clip.frames(config));
        if frames == 0 || clips.iter().any(|clip| clip.frames(config) != frames) {
            let lengths: Vec<usize> = clips.iter().map(|clip| clip.frames(config)).collect();
            let (expected, got) = ("1 or more clips of one length".into(), format!("lengths {lengths:?}"));
            return Err(Error::Shape { what: "clips of a batch", expected, got });
        }
        let mut batch = Self {
            clips: clips.len(),
            frames,
            rows: Vec::with_capacity(clips.len() * frames * (1 + config.quantisers)),
            asked: vec![Asked::default(); config.quantisers],
        };
        for (index, (clip, (level, mask))) in clips.iter().zip(hidden).enumerate() {
            let mut seen = clip.clone();
            for (frame, hidden) in mask.into_iter().enumerate() {
                if hidden {
                    batch.asked[level].positions.push((index * frames + frame) as i64);
                    batch.asked[level].targets.push(i64::from(clip.codes()[frame * config.quantisers + level]));
                    seen.hide(config, frame, level..config.quantisers);
                } else {
                    seen.hide(config, frame, level + 1..config.quantisers);
                }
            }
            seen.push_rows(config, &mut batch.rows);
        }
        Ok(batch)
    }

    /// Number of tokens asked for at each level.
    #[must_use]
    pub fn asked_per_level(&self) -> Vec<usize> {
        self.asked.iter().map(|asked| asked.positions.len()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use musicrl_core::random::Purpose;

    fn config() -> FineConfig {
        FineConfig {
            semantic_entries: 5,
            entries: 7,
            quantisers: 4,
            coarse_levels: 1,
            passes: vec![3, 1, 1],
            ..FineConfig::base()
        }
    }

    fn clip(config: &FineConfig, seed: u64) -> FineClip {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        let mut ids = |count, below| (0..count).map(|_| stream.below(below) as u32).collect();
        FineClip::new(config, ids(10, 5), ids(20 * 4, 7)).unwrap()
    }

    #[test]
    fn asked_tokens_are_hidden_and_everything_above_them() {
        let config = config();
        let mut levels = [0; 4];
        let mut shares = Vec::new();
        for seed in 0..60 {
            let clips = [clip(&config, seed)];
            let keys = [Key::new(seed, Purpose::Mask)];
            let batch = FineBatch::for_training(&config, &clips, &keys).unwrap();
            let asked = batch.asked_per_level();
            let level = asked.iter().position(|count| *count > 0).unwrap();
            assert_eq!(asked.iter().filter(|count| **count > 0).count(), 1);
            levels[level] += 1;
            if level > 1 {
                assert_eq!(asked[level], 20);
            } else {
                shares.push(asked[level]);
            }
            for (frame, rows) in batch.rows.chunks(5).enumerate() {
                for (code, row) in rows[1..].iter().enumerate() {
                    let id = row - config.level_offset(code) as i64;
                    let is_asked = batch.asked[level].positions.contains(&(frame as i64));
                    let hidden = code > level || (code == level && is_asked);
                    let real = i64::from(clips[0].codes()[frame * 4 + code]);
                    assert_eq!(id, if hidden { 7 } else { real });
                }
            }
            for (position, target) in batch.asked[level].positions.iter().zip(&batch.asked[level].targets) {
                assert_eq!(*target, i64::from(clips[0].codes()[*position as usize * 4 + level]));
            }
        }
        assert!(levels[0] == 0 && levels[1..].iter().all(|count| *count > 8), "{levels:?}");
        assert!(shares.iter().min() != shares.iter().max());
    }

    #[test]
    fn bad_batches_are_refused() {
        let config = config();
        let key = Key::new(0, Purpose::Mask);
        let short = FineClip::new(&config, vec![0], vec![0; 8]).unwrap();
        let clips = [clip(&config, 0), short];
        assert!(matches!(FineBatch::for_training(&config, &clips, &[key; 2]), Err(Error::Shape { .. })));
        assert!(matches!(FineBatch::for_training(&config, &clips[..1], &[key; 2]), Err(Error::Shape { .. })));
        assert!(matches!(FineBatch::for_training(&config, &[], &[]), Err(Error::Shape { .. })));
        assert!(matches!(FineBatch::for_level(&config, &clips[..1], 0), Err(Error::Config { .. })));
        assert!(matches!(FineBatch::for_level(&config, &clips[..1], 4), Err(Error::Config { .. })));
        assert_eq!(FineBatch::for_level(&config, &clips[..1], 2).unwrap().asked_per_level(), [0, 0, 20, 0]);
    }
}
