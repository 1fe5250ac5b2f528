//! The model: [`Mimi`].

use burn::tensor::{DType, Device, Int, Tensor};

use super::{
    Config, PadMode,
    conv::{Conv, Deconv, Sizes},
    quantiser::SplitQuantiser,
    seanet::{SeanetDecoder, SeanetEncoder},
    transformer::Transformer,
};
use crate::{Error, NamedTensors, Result, checkpoint::Weights, named::device_floats};

/// The codec.
#[derive(Debug)]
pub struct Mimi {
    config: Config,
    seanet_encoder: SeanetEncoder,
    encoder_transformer: Transformer,
    downsample: Conv,
    quantiser: SplitQuantiser,
    upsample: Deconv,
    decoder_transformer: Transformer,
    seanet_decoder: SeanetDecoder,
    device: Device,
}

impl Mimi {
    /// Takes its tensors from `weights`, under published names (`encoder.layers`, `encoder_transformer`, ...) or under
    /// those of the reference library's modules (`encoder.encoder_seanet.layers`, `encoder.encoder_transformer`, ...).
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Tensor`].
    pub fn load(config: Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let (encoder, decoder) = (weights.child("encoder"), weights.child("decoder"));
        let nested = encoder.child("encoder_seanet").is_present() || decoder.child("decoder_seanet").is_present();
        let [encoder_side, decoder_side] = if nested { [&encoder, &decoder] } else { [weights; 2] };
        let [encoder_layers, decoder_layers] = if nested {
            [encoder.child("encoder_seanet"), decoder.child("decoder_seanet")]
        } else {
            [encoder.clone(), decoder.clone()]
        };
        let (width, stride) = (config.hidden_size, config.latent_stride());
        let resampling = Sizes::strided(width, width, stride);
        let model = Self {
            seanet_encoder: SeanetEncoder::load(&encoder_layers, &config, device)?,
            encoder_transformer: Transformer::load(&encoder_side.child("encoder_transformer"), &config, device)?,
            downsample: Conv::load_unbiased(
                &encoder_side.child("downsample"),
                &config,
                resampling,
                PadMode::Replicate,
                device,
            )?,
            quantiser: SplitQuantiser::load(&weights.child("quantizer"), &config, device)?,
            upsample: Deconv::load_unbiased(
                &decoder_side.child("upsample"),
                &config,
                resampling,
                config.upsample_groups,
                device,
            )?,
            decoder_transformer: Transformer::load(&decoder_side.child("decoder_transformer"), &config, device)?,
            seanet_decoder: SeanetDecoder::load(&decoder_layers, &config, device)?,
            device: device.clone(),
            config,
        };
        Ok(model)
    }

    /// Its settings: rates, quantisers, the codebooks' size.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Codes of the first `quantisers` codebooks, the semantic ones first, and their extents. Sound is filled up to a
    /// whole frame.
    ///
    /// # Shapes
    /// - waveform: `dims` = `[clips, channels, samples]`, row-major, of the config's rate and channels
    /// - output: `[clips, quantisers, frames]`
    ///
    /// # Errors
    /// [`Error::Input`] for other extents, no samples, or too many; fewer quantisers than the semantic ones, or more
    /// than there are.
    pub fn encode(&self, waveform: &[f32], dims: [usize; 3], quantisers: usize) -> Result<([usize; 3], Vec<u32>)> {
        self.check_quantisers("quantisers", quantisers)?;
        let waveform = self.waveform("waveform", waveform, dims)?;
        self.quantise(self.latents(waveform), quantisers)
    }

    /// Sound of codes.
    ///
    /// # Shapes
    /// - codes: `dims` = `[clips, quantisers, frames]`, row-major
    /// - output: `[clips, channels, frames * samples_per_frame]`
    ///
    /// # Errors
    /// [`Error::Input`] for other extents, an id that the codebooks do not have, no frames, or too many.
    pub fn decode(&self, codes: &[u32], dims: [usize; 3]) -> Result<Tensor<3>> {
        Ok(self.sound(self.dequantise("codes", codes, dims)?))
    }

    /// Computes every output whose inputs are there: `in.waveform`, `in.random_codes`.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of another shape, type or range.
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors> {
        let mut out = NamedTensors::new();
        if let Some((dims, values)) = inputs.floats::<3>("in.waveform")? {
            let seanet = self.seanet_encoder.forward(self.waveform("in.waveform", values, dims)?);
            let hidden = self.encoder_transformer.forward(seanet.clone().swap_dims(1, 2));
            let latents = self.downsample.forward(hidden.clone().swap_dims(1, 2));
            out.put("out.seanet_out", seanet)?;
            out.put("out.encoder_transformer_out", hidden)?;
            out.put("out.latents", latents.clone())?;
            if self.check_quantisers("", 3).is_ok() {
                let (dims, codes) = self.quantise(latents.clone(), 3)?;
                out.put_ids("out.codes_q3", &dims, &codes);
            }
            let (dims, codes) = self.quantise(latents, self.config.num_quantizers)?;
            out.put_ids("out.codes", &dims, &codes);
            out.put("out.audio", self.decode(&codes, dims)?)?;
        }
        if let Some((dims, codes)) = inputs.ids::<3>("in.random_codes", self.config.codebook_size)? {
            let latents = self.dequantise("in.random_codes", &codes, dims)?;
            out.put("out.random_codes_latents", latents.clone())?;
            out.put("out.random_codes_audio", self.sound(latents))?;
        }
        Ok(out)
    }

    fn waveform(&self, what: &str, values: &[f32], dims: [usize; 3]) -> Result<Tensor<3>> {
        let [clips, channels, samples] = dims;
        filled(what, values.len(), dims)?;
        if channels != self.config.audio_channels {
            return Err(Error::input(what, format!("{} channels", self.config.audio_channels), channels));
        }
        self.config.check_size(what, clips, Some(samples))?;
        Ok(device_floats(values, dims, &self.device))
    }

    /// `[clips, channels, samples]` to `[clips, hidden_size, frames]`.
    fn latents(&self, waveform: Tensor<3>) -> Tensor<3> {
        let hidden = self.encoder_transformer.forward(self.seanet_encoder.forward(waveform).swap_dims(1, 2));
        self.downsample.forward(hidden.swap_dims(1, 2))
    }

    /// `[clips, hidden_size, frames]` to ids `[clips, quantisers, frames]`.
    fn quantise(&self, latents: Tensor<3>, quantisers: usize) -> Result<([usize; 3], Vec<u32>)> {
        let [clips, width, frames] = latents.dims();
        let rows = latents.swap_dims(1, 2).reshape([clips * frames, width]);
        let levels = self.quantiser.encode(rows, quantisers);
        let levels = levels.into_iter().map(ids).collect::<Result<Vec<_>>>()?;
        let mut codes = Vec::with_capacity(clips * quantisers * frames);
        for clip in 0..clips {
            for level in &levels {
                codes.extend(level.iter().skip(clip * frames).take(frames));
            }
        }
        Ok(([clips, quantisers, frames], codes))
    }

    /// Ids `[clips, quantisers, frames]` to `[clips, hidden_size, frames]`.
    fn dequantise(&self, what: &str, codes: &[u32], dims: [usize; 3]) -> Result<Tensor<3>> {
        let [clips, quantisers, frames] = dims;
        filled(what, codes.len(), dims)?;
        self.check_quantisers(what, quantisers)?;
        self.config.check_size(what, clips, frames.checked_mul(self.config.samples_per_frame()))?;
        if let Some(id) = codes.iter().find(|id| **id as usize >= self.config.codebook_size) {
            return Err(Error::input(what, format!("ids below {}", self.config.codebook_size), id));
        }
        let mut levels = vec![Vec::with_capacity(clips * frames); quantisers];
        for clip in codes.chunks_exact(quantisers * frames) {
            for (level, row) in levels.iter_mut().zip(clip.chunks_exact(frames)) {
                level.extend_from_slice(row);
            }
        }
        let rows = self.quantiser.decode(&levels, &self.device);
        let rows = rows.ok_or_else(|| Error::input(what, "codes of the semantic quantisers", quantisers))?;
        Ok(rows.reshape([clips, frames, self.config.hidden_size]).swap_dims(1, 2))
    }

    /// `[clips, hidden_size, frames]` to `[clips, channels, samples]`.
    fn sound(&self, latents: Tensor<3>) -> Tensor<3> {
        let hidden = self.decoder_transformer.forward(self.upsample.forward(latents).swap_dims(1, 2));
        self.seanet_decoder.forward(hidden.swap_dims(1, 2))
    }

    fn check_quantisers(&self, what: &str, quantisers: usize) -> Result<()> {
        let (least, most) = (self.config.num_semantic_quantizers, self.config.num_quantizers);
        if (least..=most).contains(&quantisers) {
            return Ok(());
        }
        Err(Error::input(what, format!("{least} to {most} quantisers"), quantisers))
    }
}

/// Refuses empty extents, and values that do not fill them.
fn filled(what: &str, values: usize, dims: [usize; 3]) -> Result<()> {
    let elements = dims.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent));
    if values == 0 || elements != Some(values) {
        return Err(Error::input(what, format!("values that fill {dims:?}, not empty"), format!("{values} values")));
    }
    Ok(())
}

/// Ids of a device on the host.
fn ids(tensor: Tensor<1, Int>) -> Result<Vec<u32>> {
    let unreadable = |got: String| Error::input("codes", "values readable from the device", got);
    let data = tensor.try_into_data_dtype(DType::I64).map_err(|error| unreadable(format!("{error:?}")))?;
    let ids = data.try_to_vec::<i64>().map_err(|error| unreadable(format!("{error:?}")))?;
    ids.into_iter().map(|id| u32::try_from(id).map_err(|_| unreadable(id.to_string()))).collect()
}
