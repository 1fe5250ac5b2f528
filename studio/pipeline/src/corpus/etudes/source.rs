//! Etudes without a disk: any clip of an endless supply, by its index.

use musicrl_core::random::{Key, Purpose};

use super::{
    attributes::Attributes,
    caption::captions,
    compose::{DRAWING, synthesise},
};
use crate::{
    Error, Result,
    corpus::{Split, store::check_rate},
};

/// Wordings that each clip comes with.
pub const CAPTIONS_PER_CLIP: usize = 3;

/// One piece: what it is, how it is described, how it sounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Etude {
    /// What it is.
    pub attributes: Attributes,
    /// The same piece in several wordings.
    pub captions: Vec<String>,
    /// Mono, full scale at 1.
    pub audio: Vec<f32>,
}

/// A supply of etudes of one split. Clip `i` depends on the seed, the split and `i` alone, so supplies of different
/// length agree where both reach, and no two splits share a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Etudes {
    seed: u64,
    split: Split,
    clips: usize,
    sample_rate_hz: u32,
    clip_seconds: f64,
}

impl Etudes {
    /// A supply of `clips` pieces.
    ///
    /// # Errors
    /// When the rate is not between 4 and 192 kHz, or the clips are not between 0.1 and 600 seconds long.
    pub fn new(seed: u64, split: Split, clips: usize, sample_rate_hz: u32, clip_seconds: f64) -> Result<Self> {
        check_rate(sample_rate_hz)?;
        if !(0.1..=600.0).contains(&clip_seconds) {
            return Err(Error::Config {
                field: "clip_seconds".into(),
                expected: "between 0.1 and 600".into(),
                got: clip_seconds.to_string(),
            });
        }
        Ok(Self { seed, split, clips, sample_rate_hz, clip_seconds })
    }

    /// How many clips there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clips
    }

    /// True without any clip.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clips == 0
    }

    /// Samples a second.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Length of every clip.
    #[must_use]
    pub fn samples(&self) -> usize {
        (self.clip_seconds * f64::from(self.sample_rate_hz)).round() as usize
    }

    /// The generator's clip number: even for training, odd for held-out clips.
    fn number(&self, index: usize) -> u64 {
        2 * index as u64 + u64::from(self.split == Split::HeldOut)
    }

    /// What clip `index` is.
    #[must_use]
    pub fn attributes(&self, index: usize) -> Attributes {
        let key = Key::new(self.seed, Purpose::Corpus).clip(self.number(index)).step(DRAWING);
        Attributes::draw(&mut key.stream(), self.split)
    }

    /// How clip `index` is described.
    #[must_use]
    pub fn captions(&self, index: usize) -> Vec<String> {
        captions(self.seed, self.number(index), &self.attributes(index), CAPTIONS_PER_CLIP)
    }

    /// How clip `index` sounds.
    #[must_use]
    pub fn audio(&self, index: usize) -> Vec<f32> {
        synthesise(self.seed, self.number(index), &self.attributes(index), self.sample_rate_hz, self.samples())
    }

    /// All of clip `index`.
    #[must_use]
    pub fn clip(&self, index: usize) -> Etude {
        Etude { attributes: self.attributes(index), captions: self.captions(index), audio: self.audio(index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(seed: u64, split: Split) -> Etudes {
        Etudes::new(seed, split, 100, 16000, 3.0).unwrap()
    }

    #[test]
    fn a_clip_depends_on_its_key_alone() {
        let train = supply(1, Split::Train);
        assert_eq!(train.clip(7), Etudes::new(1, Split::Train, 8, 16000, 3.0).unwrap().clip(7));
        assert_ne!(train.audio(7), train.audio(8));
        assert_ne!(train.audio(7), supply(2, Split::Train).audio(7));
        assert_ne!(train.audio(7), supply(1, Split::HeldOut).audio(7));
    }

    #[test]
    fn clips_are_clean() {
        for split in [Split::Train, Split::HeldOut] {
            for index in 0..30 {
                let etude = supply(4, split).clip(index);
                let about = format!("{split:?} {index}: {:?}", etude.captions);
                assert_eq!(etude.audio.len(), 48000, "{about}");
                let peak = etude.audio.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
                assert!(etude.audio.iter().all(|x| x.is_finite()) && (0.05..=0.89).contains(&peak), "{about} {peak}");
                let mean = etude.audio.iter().sum::<f32>() / 48000.0;
                assert!(mean.abs() < 0.005, "{about}: offset {mean}");
                assert!(etude.audio[0].abs() < 1e-3 && etude.audio[47999].abs() < 1e-2, "{about}: an edge");
                let loud = etude.audio.iter().filter(|x| x.abs() > 0.01 * peak).count();
                assert!(loud > 4800, "{about}: nearly silent");
            }
        }
    }

    #[test]
    fn any_length_and_rate() {
        for (rate, seconds) in [(4000, 0.1), (8000, 1.0), (24000, 2.5), (44100, 1.0), (192_000, 0.3)] {
            let etudes = Etudes::new(9, Split::Train, 3, rate, seconds).unwrap();
            for index in 0..3 {
                let audio = etudes.audio(index);
                assert_eq!(audio.len(), etudes.samples());
                assert!(audio.iter().all(|x| x.abs() <= 0.89), "{rate} {seconds}");
                assert!(audio.iter().any(|x| x.abs() > 0.01), "{rate} {seconds}");
            }
        }
    }

    #[test]
    fn bad_settings_are_refused() {
        assert!(Etudes::new(0, Split::Train, 1, 1000, 3.0).is_err());
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 601.0] {
            assert!(Etudes::new(0, Split::Train, 1, 16000, seconds).is_err(), "{seconds}");
        }
    }
}
