//! Outputs by name: [`Encodec::run`].

use burn::tensor::{Device, Int, Tensor};

use super::{Chunks, Encodec};
use crate::{
    Error, NamedTensors, Result,
    named::{Named, Values, device_floats, device_ids},
};

impl Encodec {
    /// Computes every output whose inputs are there, for any label N:
    ///
    /// | inputs | outputs |
    /// |---|---|
    /// | `waveform_N` `[clips, channels, samples]`, perhaps `padding_mask_N` of that shape (or without channels) | `latents_N` of the whole, unmasked sound; `codes_N_{kbps}` `[chunks, clips, quantisers, frames]` for each bandwidth; `audio_N_{kbps}` for the highest, cut to the mask's length if there is one; `scales_N_{kbps}` `[chunks, clips, 1]` where the model normalises; `last_frame_pad_N_{kbps}` where it has chunks |
    /// | `random_codes` `[1, clips, quantisers, frames]` | `random_codes_quantized`, `random_codes_audio` |
    ///
    /// A whole bandwidth stands under two names, as `24.0` and as `24`.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input).
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors> {
        let mut outputs = NamedTensors::new();
        for name in inputs.names() {
            if let Some(label) = name.strip_prefix("in.waveform_") {
                self.run_waveform(name, label, inputs, &mut outputs)?;
            }
        }
        let size = self.config().codebook_size();
        if let Some((shape, codes)) = inputs.ids::<4>("in.random_codes", size)? {
            let [chunks, clips, levels, frames] = shape;
            if chunks != 1 {
                return Err(Error::input("in.random_codes", "one chunk", chunks));
            }
            let codes = device_ids(&codes, [clips, levels, frames], &self.device());
            let quantised = self.quantised(codes.clone())?;
            outputs.put("out.random_codes_quantized", quantised)?;
            outputs.put("out.random_codes_audio", self.decode_tensor(codes)?)?;
        }
        Ok(outputs)
    }

    fn run_waveform(&self, name: &str, label: &str, inputs: &NamedTensors, outputs: &mut NamedTensors) -> Result<()> {
        let Some((shape, samples)) = inputs.floats::<3>(name)? else { return Ok(()) };
        let device = self.device();
        let waveform = device_floats(samples, shape, &device);
        let mask_name = format!("in.padding_mask_{label}");
        let mask = inputs.get(&mask_name).map(|mask| mask_of(&mask_name, mask, &device)).transpose()?;
        let masked = mask.is_some();
        let latents = self.latents(waveform.clone())?;
        outputs.put(format!("out.latents_{label}"), latents.clone())?;
        // Levels build on each other: fewer quantisers give the first of the codes that more give.
        let quantisers = self.config().quantisers();
        let as_it_is = !masked && !self.config().normalize && self.config().chunk_length_s.is_none();
        let all = if as_it_is {
            let codes: Tensor<4, Int> = self.quantise(latents, quantisers)?.unsqueeze();
            let frames = codes.dims()[3];
            Chunks { codes, scales: None, frames: vec![frames] }
        } else {
            self.encode_chunks(waveform, mask, quantisers)?
        };
        let highest = self.config().target_bandwidths.iter().copied().fold(0.0, f64::max);
        for kbps in &self.config().target_bandwidths {
            let levels = self.config().quantisers_for(*kbps)?;
            let chunks = Chunks { codes: all.codes.clone().narrow(2, 0, levels), ..all.clone() };
            let audio = if *kbps == highest {
                let audio = self.decode_chunks(&chunks)?;
                let length = audio.dims()[2];
                let kept = if masked { length.min(shape[2]) } else { length };
                Some(audio.narrow(2, 0, kept))
            } else {
                None
            };
            for kbps in spellings(*kbps) {
                put_ids(outputs, format!("out.codes_{label}_{kbps}"), chunks.codes.clone())?;
                if let Some(audio) = &audio {
                    outputs.put(format!("out.audio_{label}_{kbps}"), audio.clone())?;
                }
                if let Some(scales) = &chunks.scales {
                    outputs.put(format!("out.scales_{label}_{kbps}"), scales.clone())?;
                }
                if self.config().chunk_length_s.is_some() {
                    let pad = i64::try_from(chunks.last_frame_pad()).unwrap_or(i64::MAX);
                    outputs.put_integers(format!("out.last_frame_pad_{label}_{kbps}"), &[], vec![pad]);
                }
            }
        }
        Ok(())
    }
}

/// How a bandwidth is written: as Python prints the float, and as an integer when it is whole.
fn spellings(kbps: f64) -> Vec<String> {
    let mut all = vec![format!("{kbps:?}"), format!("{kbps}")];
    all.dedup();
    all
}

/// A mask of floats or integers, `[clips, samples]` or `[clips, channels, samples]`, as 0 and 1.
fn mask_of(name: &str, mask: &Named, device: &Device) -> Result<Tensor<3>> {
    let shape = match mask.shape[..] {
        [clips, samples] => [clips, 1, samples],
        [clips, channels, samples] => [clips, channels, samples],
        _ => return Err(Error::input(name, "2 or 3 extents", format!("{:?}", mask.shape))),
    };
    let one = |set: bool| if set { 1.0 } else { 0.0 };
    let values: Vec<f32> = match &mask.values {
        Values::F32(values) => values.iter().map(|value| one(*value != 0.0)).collect(),
        Values::I64(values) => values.iter().map(|value| one(*value != 0)).collect(),
    };
    Ok(device_floats(&values, shape, device))
}

fn put_ids(outputs: &mut NamedTensors, name: String, codes: Tensor<4, Int>) -> Result<()> {
    let shape = codes.dims();
    outputs.put_integers(name, &shape, super::model::host_codes(codes)?);
    Ok(())
}
