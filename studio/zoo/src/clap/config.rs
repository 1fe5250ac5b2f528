//! Settings of both towers: [`Config`].

use serde::{Deserialize, Deserializer};

use crate::{
    Error, Result,
    bounds::within,
    nn::{Activation, TextLayerSizes},
};

/// Longest text that is read, whatever the table of positions holds.
const TOKENS_MAX: usize = 1024;
/// Largest intermediate result of one clip, in values.
const VALUES_MAX: usize = 1 << 26;

/// `config.json` of a CLAP checkpoint. Published files leave out what is the reference library's default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The text tower.
    #[serde(deserialize_with = "or_default")]
    pub text_config: TextConfig,
    /// The audio tower.
    #[serde(deserialize_with = "or_default")]
    pub audio_config: AudioConfig,
    /// Width of the common space. The towers' own `projection_dim` does not count, as in the reference library.
    pub projection_dim: usize,
    /// Activation inside both projections.
    pub projection_hidden_act: String,
}

/// The text tower's part of `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Words.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of a block.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Activation of the feed-forward layers.
    pub hidden_act: String,
    /// Rows of the table of positions; the first `pad_token_id + 1` are not those of tokens.
    pub max_position_embeddings: usize,
    /// Rows of the table of token types, of which the first is used.
    pub type_vocab_size: usize,
    /// Added to the variance in norms.
    pub layer_norm_eps: f64,
    /// The id that stands where no token is.
    pub pad_token_id: u32,
}

/// The audio tower's part of `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AudioConfig {
    /// Side of an attention window, in patches.
    pub window_size: usize,
    /// Mel bands.
    pub num_mel_bins: usize,
    /// Side of the square image that the spectrogram is folded into.
    pub spec_size: usize,
    /// Activation of the feed-forward layers.
    pub hidden_act: String,
    /// Rows and columns of a patch.
    #[serde(deserialize_with = "pair")]
    pub patch_size: [usize; 2],
    /// Rows and columns from patch to patch.
    #[serde(deserialize_with = "pair")]
    pub patch_stride: [usize; 2],
    /// Width of the last stage.
    pub hidden_size: usize,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Heads of each stage's blocks.
    pub num_attention_heads: Vec<usize>,
    /// Whether clips longer than the window are heard at two scales.
    pub enable_fusion: bool,
    /// `channel_map` is refused: the reference library cannot run it.
    pub fusion_type: Option<String>,
    /// Channels of the image, 1.
    pub patch_embed_input_channels: usize,
    /// Whether patches become a sequence, true.
    pub flatten_patch_embeds: bool,
    /// Width of the first stage; each stage doubles it.
    pub patch_embeds_hidden_size: usize,
    /// Whether patches are normalised.
    pub enable_patch_layer_norm: bool,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Width inside the feed-forward layers, in widths of the stage.
    pub mlp_ratio: f64,
    /// By what the fusion's inner layers are narrower.
    pub aff_block_r: usize,
    /// Added to the variance in the blocks' norms; the other norms have 1e-5 whatever stands here.
    pub layer_norm_eps: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            text_config: TextConfig::default(),
            audio_config: AudioConfig::default(),
            projection_dim: 512,
            projection_hidden_act: "relu".into(),
        }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50265,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            max_position_embeddings: 514,
            type_vocab_size: 1,
            layer_norm_eps: 1e-12,
            pad_token_id: 1,
        }
    }
}

impl Default for AudioConfig {
    fn default() -> Self {
        Self {
            window_size: 8,
            num_mel_bins: 64,
            spec_size: 256,
            hidden_act: "gelu".into(),
            patch_size: [4, 4],
            patch_stride: [4, 4],
            hidden_size: 768,
            depths: vec![2, 2, 6, 2],
            num_attention_heads: vec![4, 8, 16, 32],
            enable_fusion: false,
            fusion_type: None,
            patch_embed_input_channels: 1,
            flatten_patch_embeds: true,
            patch_embeds_hidden_size: 96,
            enable_patch_layer_norm: true,
            qkv_bias: true,
            mlp_ratio: 4.0,
            aff_block_r: 4,
            layer_norm_eps: 1e-5,
        }
    }
}

impl Config {
    /// Checks the settings of both towers.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be.
    pub fn validate(&self) -> Result<()> {
        within("projection_dim", self.projection_dim, 1, 1 << 16)?;
        self.projection_activation()?;
        self.text_config.validate()?;
        self.audio_config.validate()
    }

    /// The activation inside both projections.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn projection_activation(&self) -> Result<Activation> {
        Activation::named("projection_hidden_act", &self.projection_hidden_act)
    }
}

impl TextConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be.
    pub fn validate(&self) -> Result<()> {
        within("text_config.vocab_size", self.vocab_size, 1, 1 << 24)?;
        within("text_config.hidden_size", self.hidden_size, 1, 1 << 16)?;
        within("text_config.num_hidden_layers", self.num_hidden_layers, 1, 1024)?;
        within("text_config.num_attention_heads", self.num_attention_heads, 1, 256)?;
        within("text_config.intermediate_size", self.intermediate_size, 1, 1 << 18)?;
        within("text_config.max_position_embeddings", self.max_position_embeddings, 2, 4096)?;
        within("text_config.type_vocab_size", self.type_vocab_size, 1, 1 << 16)?;
        let id_max = self.vocab_size.min(self.max_position_embeddings - 1) - 1;
        within("text_config.pad_token_id", self.pad_token_id as usize, 0, id_max)?;
        multiple("text_config.hidden_size", self.hidden_size, self.num_attention_heads, "heads")?;
        epsilon("text_config.layer_norm_eps", self.layer_norm_eps)?;
        self.layer().map(|_| ())
    }

    /// Extents of a layer.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown activation.
    pub(super) fn layer(&self) -> Result<TextLayerSizes> {
        Ok(TextLayerSizes {
            width: self.hidden_size,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            epsilon: self.layer_norm_eps,
            activation: Activation::named("text_config.hidden_act", &self.hidden_act)?,
        })
    }

    /// Longest text in tokens: positions begin after the pad's id, and scores take the square of it.
    #[must_use]
    pub fn tokens_max(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.pad_token_id as usize + 1).min(TOKENS_MAX)
    }
}

impl AudioConfig {
    /// Checks the settings, alone and against each other.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be.
    pub fn validate(&self) -> Result<()> {
        within("audio_config.window_size", self.window_size, 1, 16)?;
        within("audio_config.spec_size", self.spec_size, 1, 2048)?;
        within("audio_config.num_mel_bins", self.num_mel_bins, 1, self.spec_size)?;
        multiple("audio_config.spec_size", self.spec_size, self.num_mel_bins, "bands")?;
        within("audio_config.patch_embed_input_channels", self.patch_embed_input_channels, 1, 1)?;
        within("audio_config.patch_embeds_hidden_size", self.patch_embeds_hidden_size, 1, 4096)?;
        within("audio_config.aff_block_r", self.aff_block_r, 1, self.patch_embeds_hidden_size)?;
        within("audio_config.depths (stages)", self.depths.len(), 1, 8)?;
        within("audio_config.num_attention_heads (stages)", self.num_attention_heads.len(), self.depths.len(), 64)?;
        if !self.flatten_patch_embeds {
            return Err(Error::config("audio_config.flatten_patch_embeds", "true", false));
        }
        if self.fusion_type.as_deref() == Some("channel_map") {
            return Err(Error::config("audio_config.fusion_type", "null or `aff_2d`", "channel_map"));
        }
        if !(self.mlp_ratio > 0.0 && self.mlp_ratio <= 64.0) {
            return Err(Error::config("audio_config.mlp_ratio", "above 0 and at most 64", self.mlp_ratio));
        }
        epsilon("audio_config.layer_norm_eps", self.layer_norm_eps)?;
        self.activation()?;
        self.check_patches()?;
        // A scale of half the patches a stage; the reference library has one window for all of them, and its bias tables
        // fit no smaller image.
        let shrink = 1_usize << (self.depths.len() - 1);
        for side in self.grid() {
            if !side.is_multiple_of(shrink) || side / shrink < self.window_size {
                let expected = format!("{shrink} times a whole number of at least {} patches", self.window_size);
                return Err(Error::config("audio_config.spec_size / patch_stride", expected, side));
            }
        }
        for (stage, (depth, heads)) in self.depths.iter().zip(&self.num_attention_heads).enumerate() {
            within("audio_config.depths", *depth, 1, 256)?;
            within("audio_config.num_attention_heads", *heads, 1, 256)?;
            multiple("audio_config.patch_embeds_hidden_size * 2^stage", self.width(stage), *heads, "heads")?;
            within("audio_config.mlp_ratio * width", self.inner_width(stage), 1, 1 << 20)?;
            let patches = self.grid().iter().map(|side| side >> stage).product::<usize>();
            let cells = self.window_size * self.window_size;
            within("audio_config: patches * window_size^2 * heads", patches * cells * heads, 1, VALUES_MAX)?;
            within("audio_config: patches * mlp_ratio * width", patches * self.inner_width(stage), 1, VALUES_MAX)?;
        }
        let last = self.width(self.depths.len() - 1);
        if self.hidden_size != last {
            let expected = format!("the last stage's width, {last}");
            return Err(Error::config("audio_config.hidden_size", expected, self.hidden_size));
        }
        Ok(())
    }

    fn check_patches(&self) -> Result<()> {
        for axis in 0..2 {
            let (size, stride) = (self.patch_size[axis], self.patch_stride[axis]);
            within("audio_config.patch_size", size, 1, self.spec_size.min(64))?;
            within("audio_config.patch_stride", stride, 1, size)?;
            let patches = (self.spec_size + 2 * self.padding()[axis] - size) / stride + 1;
            if patches != self.grid()[axis] {
                let expected = format!("such that {} patches fill the image", self.grid()[axis]);
                return Err(Error::config("audio_config.patch_size", expected, size));
            }
        }
        // Three patches side by side are the fusion's: they must fit.
        if self.enable_fusion && self.spec_size + 2 * self.padding()[1] < 3 * self.patch_size[1] {
            return Err(Error::config("audio_config.spec_size", "at least three patches wide", self.spec_size));
        }
        let [rows, columns] = self.grid();
        within("audio_config.spec_size / patch_stride (patches)", rows * columns, 1, 1 << 14)
    }

    /// The activation of the feed-forward layers.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn activation(&self) -> Result<Activation> {
        Activation::named("audio_config.hidden_act", &self.hidden_act)
    }

    /// Slices of time that are stacked along frequency.
    #[must_use]
    pub fn freq_ratio(&self) -> usize {
        self.spec_size / self.num_mel_bins.max(1)
    }

    /// Frames that fill the image; spectrograms of fewer are stretched.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.spec_size * self.freq_ratio()
    }

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        self.patch_stride.map(|stride| self.spec_size / stride.max(1))
    }

    /// Zeros around the image, rows and columns.
    #[must_use]
    pub fn padding(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.patch_size[axis].saturating_sub(self.patch_stride[axis]) / 2)
    }

    /// Width of a stage.
    #[must_use]
    pub fn width(&self, stage: usize) -> usize {
        self.patch_embeds_hidden_size << stage
    }

    /// Width inside a stage's feed-forward layers.
    #[must_use]
    pub fn inner_width(&self, stage: usize) -> usize {
        // Truncated, as the reference library does.
        (self.mlp_ratio * self.width(stage) as f64) as usize
    }
}

fn multiple(field: &str, value: usize, of: usize, what: &str) -> Result<()> {
    if value.is_multiple_of(of) {
        return Ok(());
    }
    Err(Error::config(field, format!("a multiple of {of} {what}"), value))
}

fn epsilon(field: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 { Ok(()) } else { Err(Error::config(field, "between 0 and 1", value)) }
}

/// `null` as if nothing were there.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(from: D) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A number for both axes, or one each.
fn pair<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<[usize; 2], D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Both(usize),
        Each([usize; 2]),
    }
    Ok(match Either::deserialize(from)? {
        Either::Both(side) => [side, side],
        Either::Each(sides) => sides,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_published_files_leave_out_is_the_default() {
        let config = parse("{\"text_config\": null, \"audio_config\": {\"patch_stride\": [4, 4], \"patch_size\": 4}}");
        assert_eq!(config, Config::default());
        config.validate().unwrap();
        let audio = &config.audio_config;
        assert_eq!((audio.freq_ratio(), audio.frames(), audio.grid(), audio.padding()), (4, 1024, [64, 64], [0, 0]));
        assert_eq!((audio.width(3), audio.inner_width(1)), (768, 768));
        assert_eq!(config.text_config.tokens_max(), 512);
        // The last stage's side is the window's.
        assert_eq!(audio.grid()[0] >> 3, audio.window_size);
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let huge = usize::MAX;
        for (json, field) in [
            ("{\"projection_dim\": 0}".to_string(), "projection_dim"),
            ("{\"projection_hidden_act\": \"mish\"}".into(), "projection_hidden_act"),
            ("{\"text_config\": {\"hidden_size\": 0}}".into(), "hidden_size"),
            ("{\"text_config\": {\"num_hidden_layers\": 1000000000}}".into(), "num_hidden_layers"),
            ("{\"text_config\": {\"num_attention_heads\": 5}}".into(), "hidden_size"),
            ("{\"text_config\": {\"pad_token_id\": 514}}".into(), "pad_token_id"),
            ("{\"text_config\": {\"max_position_embeddings\": 1}}".into(), "max_position_embeddings"),
            ("{\"text_config\": {\"layer_norm_eps\": -1}}".into(), "layer_norm_eps"),
            (format!("{{\"audio_config\": {{\"spec_size\": {huge}}}}}"), "spec_size"),
            ("{\"audio_config\": {\"spec_size\": 250}}".into(), "spec_size"),
            ("{\"audio_config\": {\"spec_size\": 128}}".into(), "spec_size"),
            ("{\"audio_config\": {\"num_mel_bins\": 0}}".into(), "num_mel_bins"),
            ("{\"audio_config\": {\"patch_size\": 0}}".into(), "patch_size"),
            ("{\"audio_config\": {\"patch_stride\": 0}}".into(), "patch_stride"),
            ("{\"audio_config\": {\"patch_stride\": [1, 1]}}".into(), "patch"),
            ("{\"audio_config\": {\"depths\": []}}".into(), "depths"),
            ("{\"audio_config\": {\"depths\": [1, 1, 1, 1000000000]}}".into(), "depths"),
            ("{\"audio_config\": {\"num_attention_heads\": [4, 8]}}".into(), "num_attention_heads"),
            ("{\"audio_config\": {\"num_attention_heads\": [4, 8, 16, 31]}}".into(), "patch_embeds_hidden_size"),
            ("{\"audio_config\": {\"hidden_size\": 96}}".into(), "hidden_size"),
            ("{\"audio_config\": {\"mlp_ratio\": 1e300}}".into(), "mlp_ratio"),
            ("{\"audio_config\": {\"mlp_ratio\": 0.0001}}".into(), "mlp_ratio"),
            ("{\"audio_config\": {\"aff_block_r\": 0}}".into(), "aff_block_r"),
            ("{\"audio_config\": {\"fusion_type\": \"channel_map\"}}".into(), "fusion_type"),
            ("{\"audio_config\": {\"flatten_patch_embeds\": false}}".into(), "flatten_patch_embeds"),
            ("{\"audio_config\": {\"window_size\": 0}}".into(), "window_size"),
        ] {
            let error = parse(&json).validate().unwrap_err().to_string();
            assert!(error.contains(field), "{json}: {error}");
        }
        for json in ["{\"audio_config\": {\"patch_size\": [1, 2, 3]}}", "{\"text_config\": {\"vocab_size\": -5}}"] {
            assert!(serde_json::from_str::<Config>(json).is_err(), "{json}");
        }
    }
}
