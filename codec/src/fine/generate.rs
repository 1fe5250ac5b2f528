//! Parallel masked decoding: level after level, and within a level the surest frames first.

use burn::tensor::{Int, Tensor, TensorData};
use musicrl_core::{Error, Result, random::Key};
use rayon::prelude::*;

use super::{FineClip, FineConfig, FineModel, model::indices};
use crate::semantic::{
    host::{floats, integers},
    windows::{self, Window},
};

/// Frames that go through the network together: what bounds memory for many or long clips.
const ROWS_AT_ONCE: usize = 4_096;

/// A window of a clip while it is decoded.
struct Part {
    clip: usize,
    window: Window,
    tokens: FineClip,
}

impl FineModel {
    /// Fills in the fine levels.
    ///
    /// The randomness of a clip comes from its key alone, and frames are counted from the clip's start, so a clip
    /// gets the same codes whatever the batch. Clips longer than `window_frames` are decoded in overlapping windows.
    ///
    /// # Shapes
    /// - semantic: `[clips, frames / frames_per_semantic]`
    /// - coarse: `[clips, frames, coarse_levels]`
    /// - keys: one a clip
    /// - returns: `[clips, frames, quantisers]`; the coarse levels as they came
    ///
    /// # Errors
    /// [`Error::Shape`] when the shapes do not fit each other, [`Error::Token`] for an id outside its codebook.
    pub fn generate(&self, semantic: Tensor<2, Int>, coarse: Tensor<3, Int>, keys: &[Key]) -> Result<Tensor<3, Int>> {
        let config = self.config();
        let ([clips, units], [coarse_clips, frames, levels]) = (semantic.dims(), coarse.dims());
        let expected = [clips, units * config.frames_per_semantic, config.coarse_levels];
        if clips == 0 || units == 0 || [coarse_clips, frames, levels] != expected {
            let (expected, got) = (format!("{expected:?}, none 0"), format!("{:?}", coarse.dims()));
            return Err(Error::Shape { what: "coarse codes", expected, got });
        }
        let device = coarse.device();
        let (semantic, coarse) = (integers(semantic), integers(coarse));
        let mut parsed = Vec::with_capacity(clips);
        for (clip, (semantic, coarse)) in semantic.chunks(units).zip(coarse.chunks(frames * levels)).enumerate() {
            let semantic = ids(semantic, clip, 1, config.semantic_entries)?;
            let coarse = ids(coarse, clip, levels, config.entries)?;
            parsed.push(FineClip::from_coarse(config, semantic, &coarse)?);
        }
        let codes: Vec<i64> =
            self.fill(parsed, keys)?.iter().flat_map(|clip| clip.codes().iter().map(|id| i64::from(*id))).collect();
        Ok(Tensor::from_data(TensorData::new(codes, [clips, frames, config.quantisers]), &device))
    }

    /// [`FineModel::generate`] for clips of any lengths: every fine level of every clip is generated anew.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of keys than clips.
    pub fn fill(&self, mut clips: Vec<FineClip>, keys: &[Key]) -> Result<Vec<FineClip>> {
        if keys.len() != clips.len() {
            let (expected, got) = (format!("[{}]", clips.len()), format!("[{}]", keys.len()));
            return Err(Error::Shape { what: "keys, one a clip", expected, got });
        }
        let config = self.config();
        let mut parts = Vec::new();
        for (clip, tokens) in clips.iter().enumerate() {
            // Windows are cut in semantic tokens, so that they never split one.
            let ratio = config.frames_per_semantic;
            let units = tokens.semantic().len();
            for unit in windows::cut(units, config.window_frames / ratio, config.overlap_frames / ratio) {
                let window = Window { frames: scale(&unit.frames, ratio), kept: scale(&unit.kept, ratio) };
                let mut tokens = tokens.part(config, &window.frames);
                (0..window.frames.len()).for_each(|frame| tokens.hide(config, frame, config.fine_levels()));
                parts.push(Part { clip, window, tokens });
            }
        }
        for same in parts.chunk_by_mut(|a, b| a.window.frames.len() == b.window.frames.len()) {
            let frames = same.first().map_or(1, |part| part.window.frames.len());
            for batch in same.chunks_mut((ROWS_AT_ONCE / frames).max(1)) {
                self.decode(batch, frames, keys);
            }
        }
        for part in &parts {
            let (inside, levels) = (part.window.kept_inside(), config.quantisers);
            let target = part.window.kept.start * levels..part.window.kept.end * levels;
            let source = inside.start * levels..inside.end * levels;
            clips[part.clip].codes_mut()[target].copy_from_slice(&part.tokens.codes()[source]);
        }
        Ok(clips)
    }

    /// Decodes windows of one length.
    fn decode(&self, parts: &mut [Part], frames: usize, keys: &[Key]) {
        let config = self.config();
        for level in config.fine_levels() {
            let passes = config.passes_of(level);
            let mut hidden: Vec<Vec<usize>> = vec![(0..frames).collect(); parts.len()];
            for pass in 0..passes {
                let asked = hidden.iter().enumerate();
                let asked: Vec<i64> =
                    asked.flat_map(|(part, left)| left.iter().map(move |f| (part * frames + f) as i64)).collect();
                let mut rows = Vec::with_capacity(parts.len() * frames * (1 + config.quantisers));
                parts.iter().for_each(|part| part.tokens.push_rows(config, &mut rows));
                let x = self.hidden(parts.len(), frames, rows);
                let everything = asked.len() == parts.len() * frames;
                let x = if everything { x } else { x.select(0, indices(asked, &self.device())) };
                let logits = self.logits(x, level);
                if passes == 1 {
                    let best = integers(logits.argmax(1));
                    for (part, best) in parts.iter_mut().zip(best.chunks(frames)) {
                        let codes = part.tokens.codes_mut();
                        best.iter().enumerate().for_each(|(f, id)| codes[f * config.quantisers + level] = *id as u32);
                    }
                    continue;
                }
                let logits = floats(logits);
                let mut at = 0;
                for (part, left) in parts.iter_mut().zip(&mut hidden) {
                    let rows = &logits[at * config.entries..(at + left.len()) * config.entries];
                    at += left.len();
                    let draw = Draw { config, key: keys[part.clip], level, pass, start: part.window.frames.start };
                    reveal(&draw, rows, left, frames, &mut part.tokens);
                }
            }
        }
    }
}

/// What one pass over one window draws with.
struct Draw<'a> {
    config: &'a FineConfig,
    key: Key,
    level: usize,
    pass: usize,
    /// The window's first frame in its clip.
    start: usize,
}

impl Draw<'_> {
    /// An entry for one hidden frame, and how sure it is.
    fn entry(&self, logits: &[f32], frame: usize) -> (u32, f64) {
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let passes = self.config.passes_of(self.level);
        // 24 bits for frames, 8 for passes, the rest for levels.
        let action = ((self.level as u64) << 32) | ((self.pass as u64) << 24) | (self.start + frame) as u64;
        let words = self.key.words(action);
        let greedy = self.config.temperature == 0.0;
        let temperature = if greedy { 1.0 } else { self.config.temperature };
        let weight = |logit: f32| (f64::from(logit - best) / temperature).exp();
        let sum: f64 = logits.iter().map(|logit| weight(*logit)).sum();
        let chosen = if greedy {
            logits.iter().position(|logit| *logit == best)
        } else {
            let mut left = unit(words[0], words[1]) * sum;
            logits.iter().position(|logit| {
                left -= weight(*logit);
                left < 0.0
            })
        };
        // Rounding may leave a rest behind the last entry; the most probable one is then as good as any.
        let chosen = chosen.or_else(|| logits.iter().position(|logit| *logit == best)).unwrap_or(0);
        let log_probability = f64::from(logits[chosen] - best) / temperature - sum.ln();
        let noise = self.config.choice_temperature * (1.0 - (self.pass + 1) as f64 / passes as f64);
        let gumbel = -(-(unit(words[2], words[3]).max(1e-300)).ln()).max(1e-300).ln();
        (chosen as u32, log_probability + noise * gumbel)
    }
}

/// Fills in the surest of the frames `left`, whose logits are `rows`, and takes them off that list. After pass p of P,
/// `floor(frames * cos(pi / 2 * (p + 1) / P))` frames stay hidden: none after the last.
fn reveal(draw: &Draw<'_>, rows: &[f32], left: &mut Vec<usize>, frames: usize, tokens: &mut FineClip) {
    let config = draw.config;
    let passes = config.passes_of(draw.level);
    let progress = (draw.pass + 1) as f64 / passes as f64;
    let stay = if draw.pass + 1 == passes {
        0
    } else {
        (frames as f64 * (progress * core::f64::consts::FRAC_PI_2).cos()).floor() as usize
    };
    let mut drawn: Vec<(usize, u32, f64)> = rows
        .par_chunks(config.entries)
        .zip(left.par_iter())
        .map(|(logits, frame)| {
            let (id, confidence) = draw.entry(logits, *frame);
            (*frame, id, confidence)
        })
        .collect();
    drawn.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    let now = drawn.len().saturating_sub(stay);
    let codes = tokens.codes_mut();
    drawn.iter().take(now).for_each(|(frame, id, _)| codes[frame * config.quantisers + draw.level] = *id);
    left.retain(|frame| codes[frame * config.quantisers + draw.level] == config.mask_id());
}

/// 53 bits of two words as a number in [0, 1).
fn unit(a: u32, b: u32) -> f64 {
    (((u64::from(a) << 32) | u64::from(b)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn scale(range: &core::ops::Range<usize>, by: usize) -> core::ops::Range<usize> {
    range.start * by..range.end * by
}

/// Ids of a clip, each in `0..codebook`.
fn ids(values: &[i64], clip: usize, slots: usize, codebook: usize) -> Result<Vec<u32>> {
    let id = |(at, got): (usize, &i64)| match u32::try_from(*got) {
        Ok(id) if (id as usize) < codebook => Ok(id),
        _ => Err(Error::Token { at: (clip, at / slots, at % slots), codebook, got: *got }),
    };
    values.iter().enumerate().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use musicrl_core::{
        params::{ParamTable, reinitialise},
        random::Purpose,
    };

    fn config() -> FineConfig {
        FineConfig {
            semantic_entries: 5,
            entries: 7,
            quantisers: 4,
            coarse_levels: 1,
            passes: vec![4, 2, 1],
            width: 8,
            heads: 2,
            ff_width: 16,
            layers: 2,
            temperature: 1.0,
            window_frames: 20,
            overlap_frames: 8,
            ..FineConfig::base()
        }
    }

    fn model(config: &FineConfig) -> FineModel {
        let model = reinitialise(config.init(&Device::flex()).unwrap(), Key::new(1, Purpose::Init));
        let mut table = ParamTable::collect(&model);
        table.values_mut().iter_mut().for_each(|value| *value *= 4.0);
        table.apply(model).unwrap()
    }

    fn clip(config: &FineConfig, units: usize, seed: u64) -> FineClip {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        let mut ids = |count, below| (0..count).map(|_| stream.below(below) as u32).collect::<Vec<u32>>();
        FineClip::from_coarse(config, ids(units, 5), &ids(2 * units, 7)).unwrap()
    }

    fn keys(count: u64) -> Vec<Key> {
        (0..count).map(|clip| Key::new(7, Purpose::Mask).clip(clip)).collect()
    }

    #[test]
    fn every_mask_is_filled_and_the_coarse_levels_stay() {
        for passes in [vec![1, 1, 1], vec![4, 2, 1], vec![16, 50, 3]] {
            let config = FineConfig { passes, ..config() };
            let model = model(&config);
            for units in [1, 2, 10, 11, 33] {
                let given = clip(&config, units, units as u64);
                let filled = model.fill(vec![given.clone()], &keys(1)).unwrap();
                for (before, after) in given.codes().chunks(4).zip(filled[0].codes().chunks(4)) {
                    assert_eq!(before[0], after[0]);
                    assert!(after.iter().all(|id| *id < 7), "{after:?}");
                }
            }
        }
    }

    #[test]
    fn the_same_clip_whatever_the_batch_and_another_for_another_key() {
        let config = config();
        let model = model(&config);
        let clips: Vec<FineClip> = (0..8).map(|seed| clip(&config, if seed % 3 == 0 { 25 } else { 9 }, seed)).collect();
        let keys = keys(8);
        let together = model.fill(clips.clone(), &keys).unwrap();
        assert_eq!(together, model.fill(clips.clone(), &keys).unwrap());
        for split in [1, 3] {
            let apart: Vec<FineClip> = clips
                .chunks(split)
                .zip(keys.chunks(split))
                .flat_map(|(clips, keys)| model.fill(clips.to_vec(), keys).unwrap())
                .collect();
            assert_eq!(together, apart, "batches of {split}");
        }
        let other = model.fill(vec![clips[1].clone()], &[keys[2]]).unwrap();
        assert_ne!(other[0], together[1]);
        let greedy = FineConfig { temperature: 0.0, choice_temperature: 0.0, ..config };
        let model = self::model(&greedy);
        let a = model.fill(vec![clips[1].clone()], &keys[1..2]).unwrap();
        assert_eq!(a, model.fill(vec![clips[1].clone()], &keys[2..3]).unwrap());
    }

    #[test]
    fn entries_follow_the_tempered_distribution() {
        let config = FineConfig { temperature: 0.5, ..config() };
        let logits = [0.0_f32, 1.0, -1.0, 0.5, 0.2, 0.0, -3.0];
        let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) / 0.5).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut counts = [0.0; 7];
        let draws = 20_000;
        for frame in 0..draws {
            let draw = Draw { config: &config, key: keys(1)[0], level: 1, pass: 3, start: 0 };
            let (id, confidence) = draw.entry(&logits, frame);
            // The last pass has no noise left.
            assert!((confidence - (weights[id as usize] / sum).ln()).abs() < 1e-6);
            counts[id as usize] += 1.0 / f64::from(draws as u32);
        }
        for (count, weight) in counts.iter().zip(&weights) {
            assert!((count - weight / sum).abs() < 0.015, "{counts:?}");
        }
    }

    #[test]
    fn tensors_in_and_out_and_bad_ones_refused() {
        let config = config();
        let model = model(&config);
        let device = Device::flex();
        let semantic = |ids: [[i64; 2]; 2]| Tensor::<2, Int>::from_data(ids, &device);
        let coarse = Tensor::<3, Int>::from_data([[[1], [2], [3], [6]], [[0], [0], [5], [4]]], &device);
        let codes = model.generate(semantic([[0, 1], [4, 2]]), coarse.clone(), &keys(2)).unwrap();
        assert_eq!(codes.dims(), [2, 4, 4]);
        assert_eq!(integers(codes.slice([0..2, 0..4, 0..1])), [1, 2, 3, 6, 0, 0, 5, 4]);
        let bad = model.generate(semantic([[0, 1], [5, 2]]), coarse.clone(), &keys(2)).unwrap_err();
        assert_eq!(bad, Error::Token { at: (1, 0, 0), codebook: 5, got: 5 });
        let bad = model.generate(semantic([[0, 1], [-1, 2]]), coarse.clone(), &keys(2)).unwrap_err();
        assert_eq!(bad, Error::Token { at: (1, 0, 0), codebook: 5, got: -1 });
        let short = coarse.clone().slice([0..2, 0..3, 0..1]);
        assert!(matches!(model.generate(semantic([[0; 2]; 2]), short, &keys(2)), Err(Error::Shape { .. })));
        assert!(matches!(model.generate(semantic([[0; 2]; 2]), coarse, &keys(1)), Err(Error::Shape { .. })));
    }
}
