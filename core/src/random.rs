//! The keyed random generator: every number is a pure function of (seed, purpose, step, clip, action).
//!
//! Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A counter-based generator
//! has no state to advance, so a clip draws the same numbers whatever the batch split, the thread count or the number
//! of machines.

/// What the numbers are for. Different purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Purpose {
    /// First values of weights.
    Init = 1,
    /// Sampling of actions from a policy.
    Sampling = 2,
    /// Order and cropping of training data.
    Batch = 3,
    /// Composition and synthesis of etudes.
    Corpus = 4,
    /// Captions: choice and wording.
    Caption = 5,
    /// Masks of masked-prediction training and of parallel decoding.
    Mask = 6,
    /// Quantiser dropout, codebook start and revival.
    Quantiser = 7,
    /// Bootstrap resampling.
    Bootstrap = 8,
    /// Choices and ratings of simulated listeners.
    Listener = 9,
    /// Division of data into training and held-out parts.
    Split = 10,
    /// Augmentation of training audio.
    Augment = 11,
    /// Tests and examples.
    Test = 12,
}

const PHILOX_M0: u32 = 0xD251_1F53;
const PHILOX_M1: u32 = 0xCD9E_8D57;
const PHILOX_W0: u32 = 0x9E37_79B9;
const PHILOX_W1: u32 = 0xBB67_AE85;

/// Ten rounds of Philox 4x32 on one counter block.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(PHILOX_M0) * u64::from(counter[0]);
        let b = u64::from(PHILOX_M1) * u64::from(counter[2]);
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(PHILOX_W0), key[1].wrapping_add(PHILOX_W1)];
    }
    counter
}

/// SplitMix64's finaliser: folds the parts of a key that the 64-bit Philox key cannot hold side by side.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Names a family of random numbers. Build with [`Key::new`], narrow with [`Key::step`] and [`Key::clip`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    seed: u64,
    purpose: Purpose,
    step: u64,
    clip: u64,
}

impl Key {
    /// The numbers of a run's `seed` for one `purpose`, at step 0 and clip 0.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose, step: 0, clip: 0 }
    }

    /// The same family at another step.
    #[must_use]
    pub fn step(self, step: u64) -> Self {
        Self { step, ..self }
    }

    /// The same family for another clip (a global index: independent of batches and workers).
    #[must_use]
    pub fn clip(self, clip: u64) -> Self {
        Self { clip, ..self }
    }

    /// Four independent 32-bit words for one action.
    #[must_use]
    pub fn words(&self, action: u64) -> [u32; 4] {
        let key = mix(mix(self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15)).wrapping_add(u64::from(self.purpose as u32)))
            ^ mix(self.step.wrapping_add(0xD1B5_4A32_D192_ED03));
        let counter = [self.clip as u32, (self.clip >> 32) as u32, action as u32, (action >> 32) as u32];
        philox(counter, [key as u32, (key >> 32) as u32])
    }

    /// A uniform number in [0, 1) with 53 random bits.
    #[must_use]
    pub fn uniform(&self, action: u64) -> f64 {
        let [a, b, ..] = self.words(action);
        unit(a, b)
    }

    /// A reader that walks the actions of this key from 0 on.
    #[must_use]
    pub fn stream(self) -> Stream {
        Stream { key: self, action: 0 }
    }
}

/// 53 bits of two words as a number in [0, 1).
fn unit(a: u32, b: u32) -> f64 {
    let bits = ((u64::from(a) << 32) | u64::from(b)) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// Walks the actions of one [`Key`]: for code that needs many numbers and no particular index.
#[derive(Debug, Clone)]
pub struct Stream {
    key: Key,
    action: u64,
}

impl Stream {
    /// The next four words.
    pub fn words(&mut self) -> [u32; 4] {
        let words = self.key.words(self.action);
        self.action += 1;
        words
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        let [a, b, ..] = self.words();
        unit(a, b)
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform over `0..n`; 0 when `n` is 0. The bias is below `n / 2^53`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// One element; `None` of an empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// Standard normal (Box-Muller, the cosine half).
    pub fn normal(&mut self) -> f64 {
        let [a, b, c, d] = self.words();
        // 1 - u lies in (0, 1]: its logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(a, b)));
        radius * libm::cos(2.0 * core::f64::consts::PI * unit(c, d))
    }

    /// Fisher-Yates, in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_matches_the_known_answers_of_random123() {
        let ones = u32::MAX;
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([ones; 4], [ones; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let base = Key::new(1, Purpose::Test).step(2).clip(3);
        let words = base.words(4);
        for other in [
            Key::new(2, Purpose::Test).step(2).clip(3),
            Key::new(1, Purpose::Init).step(2).clip(3),
            base.step(3),
            base.clip(4),
        ] {
            assert_ne!(other.words(4), words, "{other:?}");
        }
        assert_ne!(base.words(5), words);
        assert_eq!(Key::new(1, Purpose::Test).clip(3).step(2).words(4), words);
    }

    #[test]
    fn moments_of_uniform_and_normal() {
        let n = 20_000_u32;
        let mut stream = Key::new(7, Purpose::Test).stream();
        let (mut sum, mut sum_normal, mut squares) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            sum += stream.uniform();
            let z = stream.normal();
            sum_normal += z;
            squares += z * z;
        }
        let n = f64::from(n);
        // Five standard errors: 1/sqrt(12 n), 1/sqrt(n), sqrt(2/n).
        assert!((sum / n - 0.5).abs() < 5.0 * (1.0 / (12.0 * n)).sqrt());
        assert!((sum_normal / n).abs() < 5.0 / n.sqrt());
        assert!((squares / n - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
    }

    #[test]
    fn shuffle_keeps_the_elements() {
        let mut items: alloc::vec::Vec<usize> = (0..100).collect();
        Key::new(7, Purpose::Test).stream().shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<alloc::vec::Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<alloc::vec::Vec<_>>());
    }
}
