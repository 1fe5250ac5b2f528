//! Residual vector quantisation with codebooks that follow their inputs by moving averages.
//!
//! Level `l` names the nearest entry to what levels `0..l` left over (Zeghidour et al., "SoundStream", 2021, section
//! III-C). Codebooks take no gradient: each entry is the moving average of the inputs that chose it (van den Oord et
//! al., "Neural discrete representation learning", 2017, appendix A.1).

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use musicrl_core::{Error, Result, random::Key};

use super::{config::QuantiserConfig, conv::Conv};

/// One level: its entries, how much each is used, and the projections into and out of the lookup width.
#[derive(Module, Debug)]
pub struct Level {
    /// `[entries, lookup width]`, never trained by gradient.
    entries: Param<Tensor<2>>,
    /// Moving average of how many inputs chose each entry, `[entries]`, relative to an even share.
    usage: Param<Tensor<1>>,
    project_in: Option<Conv>,
    project_out: Option<Conv>,
}

/// All levels.
#[derive(Module, Debug)]
pub struct ResidualQuantiser {
    /// Mean of the latent when the codebooks started, `[latent width]`. Latents have a large part that never changes:
    /// without it the commitment and the codebooks work on what differs.
    centre: Param<Tensor<1>>,
    /// Root mean square of the rest, `[1]`.
    spread: Param<Tensor<1>>,
    levels: Vec<Level>,
    #[module(skip)]
    config: QuantiserConfig,
}

/// What [`ResidualQuantiser::quantise`] found.
#[derive(Debug, Clone)]
pub struct Quantised {
    /// Ids, [clips, frames, levels].
    pub codes: Tensor<3, Int>,
    /// The named vectors; the gradient passes to the latent as if nothing had been rounded.
    pub latent: Tensor<3>,
    /// Mean squared distance of each level's input to its entry, `[1]`, where the latent's variance at the start of the
    /// codebooks was 1: keeps the encoder near the codebooks.
    pub commitment: Tensor<1>,
    /// What each level looked up, [clips * frames, lookup width], without gradient: for [`ResidualQuantiser::follow`].
    pub inputs: Vec<Tensor<2>>,
}

/// Tokens of one level as counted over some clips.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelUse {
    /// Share of entries that were chosen at all.
    pub used: f64,
    /// `exp(entropy)` of the choices: as many entries used evenly would be as unpredictable.
    pub perplexity: f64,
}

impl Level {
    fn new(width: usize, config: &QuantiserConfig, device: &Device) -> Self {
        let lookup = if config.lookup_width == 0 { width } else { config.lookup_width };
        let project = |channels| (config.lookup_width > 0).then(|| Conv::same(channels, 1, 1, true, device));
        let fixed = |tensor: Tensor<1>| Param::from_tensor(tensor).set_require_grad(false);
        Self {
            entries: Param::from_tensor(Tensor::zeros([config.entries, lookup], device)).set_require_grad(false),
            usage: fixed(Tensor::ones([config.entries], device)),
            project_in: project([width, lookup]),
            project_out: project([lookup, width]),
        }
    }

    /// Ids of the nearest entries, the first of equals.
    ///
    /// # Shapes
    /// - inputs: [rows, lookup width]
    /// - result: [rows]
    fn nearest(&self, inputs: Tensor<2>) -> Tensor<1, Int> {
        let entries = self.entries.val().detach();
        let lengths = entries.clone().square().sum_dim(1).transpose();
        let rows = inputs.dims()[0];
        // |x|^2 is the same for every entry.
        let distance = lengths - inputs.detach().matmul(entries.transpose()) * 2.0;
        distance.argmin(1).reshape([rows])
    }

    fn read(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        self.entries.val().detach().select(0, ids)
    }

    fn lookup_of(&self, residual: Tensor<3>) -> Tensor<2> {
        let projected = match &self.project_in {
            Some(project) => project.forward(residual),
            None => residual,
        };
        let [clips, frames, width] = projected.dims();
        projected.reshape([clips * frames, width])
    }

    fn latent_of(&self, looked_up: Tensor<2>, clips: usize) -> Tensor<3> {
        let [rows, width] = looked_up.dims();
        let looked_up = looked_up.reshape([clips, rows / clips.max(1), width]);
        match &self.project_out {
            Some(project) => project.forward(looked_up),
            None => looked_up,
        }
    }

    fn set(&mut self, entries: Vec<f32>, usage: Vec<f32>) {
        let replace = |param: &Param<Tensor<2>>, values: Vec<f32>| {
            let old = param.val();
            let data = TensorData::new(values, old.dims());
            param.clone().map(|old| Tensor::from_data(data, &old.device()))
        };
        self.entries = replace(&self.entries, entries).set_require_grad(false);
        let count = usage.len();
        self.usage = self.usage.clone().map(|old| Tensor::from_data(TensorData::new(usage, [count]), &old.device()));
        self.usage = self.usage.clone().set_require_grad(false);
    }
}

impl ResidualQuantiser {
    pub(crate) fn new(width: usize, config: &QuantiserConfig, device: &Device) -> Self {
        let levels = (0..config.levels).map(|_| Level::new(width, config, device)).collect();
        let fixed = |tensor: Tensor<1>| Param::from_tensor(tensor).set_require_grad(false);
        let (centre, spread) = (fixed(Tensor::zeros([width], device)), fixed(Tensor::ones([1], device)));
        Self { centre, spread, levels, config: config.clone() }
    }

    fn normalise(&self, latent: Tensor<3>) -> Tensor<3> {
        (latent - self.centre.val().detach().unsqueeze::<3>()) / self.spread.val().detach().unsqueeze::<3>()
    }

    fn restore(&self, normal: Tensor<3>) -> Tensor<3> {
        normal * self.spread.val().detach().unsqueeze::<3>() + self.centre.val().detach().unsqueeze::<3>()
    }

    /// Number of levels.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// The device on which the codebooks lie; flex for none.
    #[must_use]
    pub fn device(&self) -> Device {
        self.levels.first().map_or_else(Device::flex, |level| level.entries.val().device())
    }

    /// The entries of `level`, row after row.
    #[must_use]
    pub fn entries(&self, level: usize) -> Vec<f32> {
        self.levels.get(level).map(|level| floats(level.entries.val())).unwrap_or_default()
    }

    /// # Shapes
    /// - latent: [clips, frames, latent width]
    /// - result: [clips, frames, levels]
    #[must_use]
    pub fn encode(&self, latent: Tensor<3>) -> Tensor<3, Int> {
        let [clips, frames, _] = latent.dims();
        let mut residual = self.normalise(latent.detach());
        let mut codes = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            let ids = level.nearest(level.lookup_of(residual.clone()));
            residual = residual - level.latent_of(level.read(ids.clone()), clips);
            codes.push(ids.reshape([clips, frames, 1]));
        }
        Tensor::cat(codes, 2)
    }

    /// The sum of the named vectors of the first `q` levels.
    ///
    /// # Shapes
    /// - codes: [clips, frames, q], `q` at most the number of levels
    /// - result: [clips, frames, latent width]
    ///
    /// # Errors
    /// [`Error::Shape`] for no or too many levels, [`Error::Token`] for an id outside its codebook.
    pub fn decode(&self, codes: Tensor<3, Int>) -> Result<Tensor<3>> {
        let [clips, frames, given] = codes.dims();
        if given == 0 || given > self.levels.len() || clips == 0 || frames == 0 {
            let expected = format!("[clips, frames, 1..={}]", self.levels.len());
            return Err(Error::Shape { what: "codes", expected, got: format!("{:?}", codes.dims()) });
        }
        let ids = integers(codes.clone());
        if let Some(at) = ids.iter().position(|id| !(0..self.config.entries as i64).contains(id)) {
            let place = (at / (frames * given), at / given % frames, at % given);
            return Err(Error::Token { at: place, codebook: self.config.entries, got: ids[at] });
        }
        let mut sum: Option<Tensor<3>> = None;
        for (index, level) in self.levels.iter().take(given).enumerate() {
            let ids = codes.clone().narrow(2, index, 1).reshape([clips * frames]);
            let part = level.latent_of(level.read(ids), clips);
            sum = Some(match sum {
                Some(sum) => sum + part,
                None => part,
            });
        }
        let none = || Error::Shape { what: "codes", expected: "a level".into(), got: "none".into() };
        Ok(self.restore(sum.ok_or_else(none)?))
    }

    /// Quantises with a straight-through gradient, for training. `active` has the number of levels each clip keeps
    /// (see [`ResidualQuantiser::drop_levels`]); `None` keeps all.
    ///
    /// # Shapes
    /// - latent: [clips, frames, latent width]
    #[must_use]
    pub fn quantise(&self, latent: Tensor<3>, active: Option<&[usize]>) -> Quantised {
        let [clips, frames, _] = latent.dims();
        let device = latent.device();
        let latent = self.normalise(latent);
        let mut residual = latent.clone();
        let mut sum: Option<Tensor<3>> = None;
        let mut commitment: Option<Tensor<1>> = None;
        let (mut codes, mut inputs) = (Vec::new(), Vec::new());
        for (index, level) in self.levels.iter().enumerate() {
            let input = level.lookup_of(residual.clone());
            let ids = level.nearest(input.clone());
            let entry = level.read(ids.clone());
            codes.push(ids.reshape([clips, frames, 1]));
            inputs.push(input.clone().detach());
            let miss = (input.clone() - entry.clone()).square().mean();
            commitment = Some(commitment.map_or(miss.clone(), |sum| sum + miss));
            // With projections the gradient must reach them, level by level; without, one straight-through step over
            // the sum is enough (one a level would count the latent's gradient once a level).
            let named = if level.project_out.is_some() { input.clone() + (entry - input).detach() } else { entry };
            let mut part = level.latent_of(named, clips);
            residual = residual - part.clone().detach();
            if let Some(active) = active {
                let keep: Vec<f32> = (0..clips)
                    .map(|clip| if active.get(clip).is_none_or(|n| index < *n) { 1.0 } else { 0.0 })
                    .collect();
                part = part * Tensor::<3>::from_data(TensorData::new(keep, [clips, 1, 1]), &device);
            }
            sum = Some(sum.map_or(part.clone(), |sum| sum + part));
        }
        let sum = sum.unwrap_or_else(|| latent.clone());
        let through = if self.config.lookup_width > 0 { sum } else { latent.clone() + (sum - latent).detach() };
        Quantised {
            codes: Tensor::cat(codes, 2),
            latent: self.restore(through),
            commitment: commitment.unwrap_or_else(|| Tensor::zeros([1], &device)) / self.levels.len().max(1) as f64,
            inputs,
        }
    }

    /// How many levels each of `clips` training clips keeps: all, or with probability `dropout` a uniform number from
    /// 1 up, so that the first levels learn to carry the most.
    #[must_use]
    pub fn drop_levels(&self, key: Key, first_clip: u64, clips: usize) -> Vec<usize> {
        let draw = |clip: u64| {
            let mut stream = key.clip(first_clip + clip).stream();
            if stream.chance(self.config.dropout) { 1 + stream.below(self.levels.len()) } else { self.levels.len() }
        };
        (0..clips as u64).map(draw).collect()
    }

    /// Moves every codebook towards the inputs that chose its entries, and starts dead entries anew at random inputs.
    /// Returns how many were started anew.
    pub fn follow(&mut self, quantised: &Quantised, key: Key) -> usize {
        let levels = self.levels.len();
        let ids = integers(quantised.codes.clone());
        let mut revived = 0;
        for (index, (level, inputs)) in self.levels.iter_mut().zip(&quantised.inputs).enumerate() {
            let [rows, width] = inputs.dims();
            let chosen: Vec<usize> = ids.iter().skip(index).step_by(levels).map(|id| *id as usize).collect();
            let inputs = floats(inputs.clone());
            let (mut entries, mut usage) = (floats(level.entries.val()), floats(level.usage.val()));
            follow_one(&mut entries, &mut usage, &inputs, &chosen, width, self.config.ema_decay as f32);
            // An id of its own per level: levels must not revive from the same rows.
            let mut stream = key.clip(index as u64).stream();
            for (entry, used) in usage.iter_mut().enumerate() {
                if f64::from(*used) < self.config.dead_entry_share && rows > 0 {
                    let row = stream.below(rows);
                    entries[entry * width..][..width].copy_from_slice(&inputs[row * width..][..width]);
                    *used = 1.0;
                    revived += 1;
                }
            }
            level.set(entries, usage);
        }
        revived
    }

    /// Starts the codebooks by k-means on `latent`, level after level on what the levels before left over.
    ///
    /// # Shapes
    /// - latent: [clips, frames, latent width], the more rows the better
    pub fn start(&mut self, latent: Tensor<3>, iterations: usize, key: Key) {
        let [clips, frames, width] = latent.dims();
        let latent = latent.detach();
        let fixed = |param: &Param<Tensor<1>>, value: Tensor<1>| param.clone().map(|_| value).set_require_grad(false);
        let centre = latent.clone().mean_dim(0).mean_dim(1).reshape([width]);
        let rest = latent.clone().reshape([clips * frames, width]) - centre.clone().unsqueeze::<2>();
        self.centre = fixed(&self.centre, centre);
        self.spread = fixed(&self.spread, rest.square().mean().sqrt() + 1e-6);
        let mut residual = self.normalise(latent);
        for (index, level) in self.levels.iter_mut().enumerate() {
            let inputs = level.lookup_of(residual.clone()).detach();
            let [rows, width] = inputs.dims();
            let values = floats(inputs.clone());
            let count = level.entries.val().dims()[0];
            let mut stream = key.clip(index as u64).stream();
            let mut order: Vec<usize> = (0..rows).collect();
            stream.shuffle(&mut order);
            // Fewer rows than entries: the surplus starts on rows again and is revived once training shows more.
            let mut entries: Vec<f32> = (0..count)
                .flat_map(|entry| order.get(entry % rows.max(1)).copied().into_iter())
                .flat_map(|row| values[row * width..][..width].iter().copied())
                .collect();
            entries.resize(count * width, 0.0);
            level.set(entries, vec![1.0; count]);
            for _ in 0..iterations {
                let chosen: Vec<usize> =
                    integers(level.nearest(inputs.clone())).iter().map(|id| *id as usize).collect();
                let mut entries = floats(level.entries.val());
                let mut usage = vec![0.0; count];
                follow_one(&mut entries, &mut usage, &values, &chosen, width, 0.0);
                for entry in 0..count {
                    if usage[entry] == 0.0 && rows > 0 {
                        let row = stream.below(rows);
                        entries[entry * width..][..width].copy_from_slice(&values[row * width..][..width]);
                    }
                }
                level.set(entries, vec![1.0; count]);
            }
            let ids = level.nearest(inputs);
            residual = (residual - level.latent_of(level.read(ids), clips)).detach();
        }
    }

    /// How evenly each level's entries are used in `codes` ([clips, frames, levels]).
    #[must_use]
    pub fn level_use(&self, codes: Tensor<3, Int>) -> Vec<LevelUse> {
        let given = codes.dims()[2];
        let ids = integers(codes);
        let count = |level: usize| {
            let mut counts = vec![0.0_f64; self.config.entries];
            for id in ids.iter().skip(level).step_by(given.max(1)) {
                if let Some(count) = usize::try_from(*id).ok().and_then(|id| counts.get_mut(id)) {
                    *count += 1.0;
                }
            }
            let total: f64 = counts.iter().sum::<f64>().max(1.0);
            let shares = || counts.iter().filter(|count| **count > 0.0).map(|count| count / total);
            let entropy: f64 = shares().map(|share| -share * share.ln()).sum();
            LevelUse { used: shares().count() as f64 / self.config.entries as f64, perplexity: entropy.exp() }
        };
        (0..given).map(count).collect()
    }
}

/// `entry <- moving average of its inputs`, `usage <- moving average of its count over an even share`.
fn follow_one(entries: &mut [f32], usage: &mut [f32], inputs: &[f32], chosen: &[usize], width: usize, decay: f32) {
    let count = usage.len();
    let even = chosen.len().max(1) as f32 / count as f32;
    let mut counts = vec![0.0_f32; count];
    let mut sums = vec![0.0_f32; entries.len()];
    for (row, entry) in inputs.chunks_exact(width).zip(chosen) {
        counts[*entry] += 1.0;
        for (sum, value) in sums[entry * width..][..width].iter_mut().zip(row) {
            *sum += value;
        }
    }
    for entry in 0..count {
        let kept = decay * usage[entry];
        let share = kept + (1.0 - decay) * counts[entry] / even;
        usage[entry] = share;
        if counts[entry] == 0.0 || share <= 0.0 {
            continue;
        }
        let (old, new) = (kept / share, (1.0 - decay) / (even * share));
        for (value, sum) in entries[entry * width..][..width].iter_mut().zip(&sums[entry * width..][..width]) {
            *value = old * *value + new * sum;
        }
    }
}

pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).try_to_vec::<f32>().unwrap_or_default()
}

pub(crate) fn integers<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    tensor.into_data().convert_dtype(DType::I64).try_to_vec::<i64>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use musicrl_core::{params::reinitialise, random::Purpose};

    use super::*;

    fn config(levels: usize, entries: usize, lookup_width: usize) -> QuantiserConfig {
        QuantiserConfig { levels, entries, lookup_width, ema_decay: 0.5, dead_entry_share: 0.05, dropout: 0.5 }
    }

    fn quantiser(width: usize, config: &QuantiserConfig, device: &Device) -> ResidualQuantiser {
        reinitialise(ResidualQuantiser::new(width, config, device), Key::new(1, Purpose::Init))
    }

    fn latent(shape: [usize; 3], device: &Device) -> Tensor<3> {
        let mut stream = Key::new(5, Purpose::Test).stream();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn error_with(quantiser: &ResidualQuantiser, z: &Tensor<3>, levels: usize) -> f32 {
        let codes = quantiser.encode(z.clone()).narrow(2, 0, levels);
        (quantiser.decode(codes).unwrap() - z.clone()).square().mean().into_scalar()
    }

    #[test]
    fn every_level_after_k_means_brings_the_sum_nearer() {
        let device = Device::flex();
        let z = latent([4, 50, 6], &device);
        let mut quantiser = quantiser(6, &config(4, 16, 0), &device);
        quantiser.start(z.clone(), 8, Key::new(1, Purpose::Quantiser));
        let errors: Vec<f32> = (1..=4).map(|levels| error_with(&quantiser, &z, levels)).collect();
        assert!(errors.windows(2).all(|pair| pair[1] < 0.9 * pair[0]), "{errors:?}");
        assert!(errors[0] < 0.8, "{errors:?}");
        for level in quantiser.level_use(quantiser.encode(z)) {
            assert!(level.used > 0.8 && level.perplexity > 8.0, "{level:?}");
        }
    }

    #[test]
    fn training_and_inference_name_the_same_entries() {
        let device = Device::flex().autodiff();
        for lookup in [0, 2] {
            let quantiser = quantiser(6, &config(3, 8, lookup), &device);
            let z = latent([2, 9, 6], &device);
            let quantised = quantiser.quantise(z.clone(), None);
            assert_eq!(integers(quantised.codes.clone()), integers(quantiser.encode(z)));
            let sum = quantiser.decode(quantised.codes).unwrap();
            let worst: f32 = (sum - quantised.latent).abs().max().into_scalar();
            assert!(worst < 1e-5, "{worst}");
        }
    }

    #[test]
    fn the_gradient_goes_straight_through_once() {
        let device = Device::flex().autodiff();
        let quantiser = quantiser(6, &config(3, 8, 0), &device);
        let z = latent([2, 9, 6], &device).require_grad();
        let grads = quantiser.quantise(z.clone(), Some(&[3, 1])).latent.sum().backward();
        let grad = z.grad(&grads).unwrap();
        assert!(floats(grad).iter().all(|g| (g - 1.0).abs() < 1e-6));
    }

    #[test]
    fn dropped_levels_are_silent_and_only_they() {
        let device = Device::flex();
        let quantiser = quantiser(6, &config(3, 8, 0), &device);
        let z = latent([2, 9, 6], &device);
        let quantised = quantiser.quantise(z, Some(&[3, 1]));
        let first = quantised.codes.clone().narrow(0, 0, 1);
        let second = quantised.codes.narrow(0, 1, 1).narrow(2, 0, 1);
        for (clip, codes) in [first, second].into_iter().enumerate() {
            let worst: f32 = (quantiser.decode(codes).unwrap() - quantised.latent.clone().narrow(0, clip, 1))
                .abs()
                .max()
                .into_scalar();
            assert!(worst < 1e-5, "clip {clip}: {worst}");
        }
    }

    #[test]
    fn level_dropout_is_keyed_by_clip() {
        let quantiser = quantiser(2, &config(5, 2, 0), &Device::flex());
        let key = Key::new(1, Purpose::Quantiser).step(3);
        let all = quantiser.drop_levels(key, 0, 400);
        assert_eq!(all[7..10], quantiser.drop_levels(key, 7, 3));
        assert!(all.iter().all(|n| (1..=5).contains(n)));
        let full = all.iter().filter(|n| **n == 5).count();
        // 0.5 + 0.5 / 5 of 400 is 240, with a standard deviation of 10.
        assert!((190..290).contains(&full), "{full}");
    }

    #[test]
    fn entries_follow_the_mean_of_their_inputs() {
        let (mut entries, mut usage) = (vec![0.0, 10.0], vec![1.0, 1.0]);
        let inputs = [1.0, 2.0, 3.0, 12.0];
        for _ in 0..40 {
            follow_one(&mut entries, &mut usage, &inputs, &[0, 0, 0, 1], 1, 0.5);
        }
        assert!((entries[0] - 2.0).abs() < 1e-4 && (entries[1] - 12.0).abs() < 1e-4, "{entries:?}");
        assert!((usage[0] - 1.5).abs() < 1e-4 && (usage[1] - 0.5).abs() < 1e-4, "{usage:?}");
    }

    #[test]
    fn dead_entries_come_back_at_inputs() {
        let device = Device::flex();
        let mut quantiser = quantiser(1, &config(1, 4, 0), &device);
        quantiser.levels[0].set(vec![0.0, 100.0, 200.0, 300.0], vec![1.0; 4]);
        let z = latent([1, 64, 1], &device);
        let mut revived = 0;
        for step in 0..8 {
            let quantised = quantiser.quantise(z.clone(), None);
            revived += quantiser.follow(&quantised, Key::new(1, Purpose::Quantiser).step(step));
        }
        assert!(revived >= 3, "{revived}");
        assert!(quantiser.entries(0).iter().all(|entry| entry.abs() < 5.0), "{:?}", quantiser.entries(0));
        assert_eq!(quantiser.level_use(quantiser.encode(z))[0].used, 1.0);
    }

    #[test]
    fn wrong_codes_are_refused() {
        let device = Device::flex();
        let quantiser = quantiser(2, &config(2, 4, 0), &device);
        let codes = |values: [i64; 2], shape: [usize; 3]| {
            Tensor::<3, Int>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        assert!(quantiser.decode(codes([0, 3], [1, 1, 2])).is_ok());
        assert!(matches!(
            quantiser.decode(codes([0, 4], [1, 1, 2])),
            Err(Error::Token { at: (0, 0, 1), codebook: 4, got: 4 })
        ));
        assert!(matches!(
            quantiser.decode(codes([-1, 0], [1, 2, 1])),
            Err(Error::Token { at: (0, 0, 0), got: -1, .. })
        ));
        let three = Tensor::<3, Int>::zeros([1, 1, 3], &device);
        assert!(matches!(quantiser.decode(three), Err(Error::Shape { .. })));
    }
}
