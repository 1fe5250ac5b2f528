//! What the quality predictor is made of: sizes, presets, rules.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, front_end::FrontEndConfig};

/// Whose ratings a predictor's weights were fitted to. It is stored with the weights, so that a judge that never heard
/// of a person says so wherever it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatingsOrigin {
    /// Nobody's: the weights are untrained.
    #[default]
    None,
    /// Those of simulated listeners, computed from the known strength of a degradation.
    Simulated,
    /// Those of people.
    Human,
}

impl RatingsOrigin {
    /// As written in a bundle.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Simulated => "simulated",
            Self::Human => "human",
        }
    }
}

/// Settings of [`QualityModel`](super::QualityModel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityConfig {
    /// Whose ratings the weights were fitted to; a training writes it.
    #[serde(default)]
    pub ratings: RatingsOrigin,
    /// Sample rate and log-mel frames.
    pub front_end: FrontEndConfig,
    /// Frames that make one position.
    pub stack_frames: usize,
    /// Extent of the vectors between the blocks.
    pub width: usize,
    /// Distance, in positions, of the neighbours that each block hears on either side; one block an entry.
    pub dilations: Vec<usize>,
    /// Extent of the layer between the pooled vector and the opinion.
    pub head_width: usize,
    /// Clips shorter than this cannot be judged.
    pub shortest_seconds: f64,
    /// Root mean square that every clip is brought to before it is heard, in dB of full scale.
    pub level_db: f64,
}

impl QualityConfig {
    /// For the shipped base: 16 kHz, about 80,000 parameters; a position is 40 ms and hears 1.2 s around it.
    ///
    /// The transforms are half as long as those of the text-audio embedding (32 ms): a gap of 20 ms is to be seen.
    #[must_use]
    pub fn base() -> Self {
        Self {
            ratings: RatingsOrigin::None,
            front_end: FrontEndConfig { sample_rate_hz: 16_000, fft_samples: 512, hop_samples: 320, bands: 64 },
            stack_frames: 2,
            width: 64,
            dilations: vec![1, 2, 4, 8],
            head_width: 64,
            shortest_seconds: 0.5,
            level_db: -23.0,
        }
    }

    /// For real recordings on one machine: 24 kHz, about 130,000 parameters.
    #[must_use]
    pub fn small() -> Self {
        Self {
            front_end: FrontEndConfig { sample_rate_hz: 24_000, fft_samples: 1024, hop_samples: 480, bands: 80 },
            width: 80,
            ..Self::base()
        }
    }

    /// For an accelerator: 24 kHz, about 2 M parameters. The published predictor's sizes are not known; these are ours.
    #[must_use]
    pub fn published() -> Self {
        Self {
            front_end: FrontEndConfig { sample_rate_hz: 24_000, fft_samples: 1024, hop_samples: 240, bands: 96 },
            stack_frames: 4,
            width: 256,
            dilations: vec![1, 2, 4, 8, 16, 32],
            head_width: 256,
            ..Self::base()
        }
    }

    /// Least number of samples at the front end's rate.
    #[must_use]
    pub fn shortest_samples(&self) -> usize {
        (self.shortest_seconds * f64::from(self.front_end.sample_rate_hz)).ceil() as usize
    }

    /// Checks every field, alone and against the others.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.front_end.validate()?;
        let counts = [
            ("stack_frames", self.stack_frames, 64),
            ("width", self.width, 4096),
            ("head_width", self.head_width, 4096),
            ("dilations (how many)", self.dilations.len(), 32),
        ];
        let dilations = self.dilations.iter().map(|dilation| ("dilations", *dilation, 4096));
        for (field, got, high) in counts.into_iter().chain(dilations) {
            if !(1..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from 1 to {high}"), got: got.to_string() });
            }
        }
        for (field, got, low, high) in
            [("shortest_seconds", self.shortest_seconds, 0.05, 60.0), ("level_db", self.level_db, -60.0, 0.0)]
        {
            if !(low..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from {low} to {high}"), got: got.to_string() });
            }
        }
        let frames = self.shortest_samples() / self.front_end.hop_samples + 1;
        if frames < 2 * self.stack_frames {
            let expected = format!("long enough for two positions of {} frames", self.stack_frames);
            return Err(Error::Config { field: "shortest_seconds", expected, got: self.shortest_seconds.to_string() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_core::params::ParamTable;

    use super::*;

    #[test]
    fn presets_are_valid_and_of_the_promised_size() {
        let parameters = |config: &QualityConfig| {
            config.validate().unwrap();
            ParamTable::collect(&config.init(&Device::flex()).unwrap()).values().len()
        };
        for (config, sizes) in [
            (QualityConfig::base(), 50_000..110_000),
            (QualityConfig::small(), 110_000..160_000),
            (QualityConfig::published(), 1_000_000..3_000_000),
        ] {
            let got = parameters(&config);
            assert!(sizes.contains(&got), "{got} of {sizes:?}");
        }
    }

    #[test]
    fn bad_settings_are_named() {
        let base = QualityConfig::base;
        let cases = [
            (QualityConfig { stack_frames: 0, ..base() }, "stack_frames"),
            (QualityConfig { width: 0, ..base() }, "width"),
            (QualityConfig { dilations: vec![], ..base() }, "dilations"),
            (QualityConfig { dilations: vec![1, 0], ..base() }, "dilations"),
            (QualityConfig { dilations: vec![usize::MAX], ..base() }, "dilations"),
            (QualityConfig { head_width: 1 << 20, ..base() }, "head_width"),
            (QualityConfig { shortest_seconds: f64::NAN, ..base() }, "shortest_seconds"),
            (QualityConfig { shortest_seconds: 0.05, ..base() }, "shortest_seconds"),
            (QualityConfig { level_db: 3.0, ..base() }, "level_db"),
            (QualityConfig { front_end: FrontEndConfig { bands: 0, ..base().front_end }, ..base() }, "bands"),
        ];
        for (config, field) in cases {
            let error = config.init(&Device::flex()).unwrap_err().to_string();
            assert!(error.contains(field), "{error} without {field}");
        }
    }
}
