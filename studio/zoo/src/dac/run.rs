//! Outputs by name: [`Dac::run`].

use burn::tensor::{Int, Tensor};

use super::{Dac, model::host_codes};
use crate::{
    NamedTensors, Result,
    named::{device_floats, device_ids},
};

/// Levels of the outputs that show a lower bandwidth.
const FEW: usize = 4;

impl Dac {
    /// Computes every output whose inputs are there:
    ///
    /// | inputs | outputs |
    /// |---|---|
    /// | `waveform` `[clips, 1, samples]` | `latents`, `projected_latents`, `codes`, `quantized`; `codes_q4` and `quantized_q4` of 4 levels, or all if there are fewer; `audio_from_codes` and `audio_from_quantized` `[clips, samples]` |
    /// | `random_codes` `[clips, levels, frames]` | `random_codes_audio` `[clips, samples]` |
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input).
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors> {
        let mut outputs = NamedTensors::new();
        if let Some((shape, samples)) = inputs.floats::<3>("in.waveform")? {
            let latents = self.latents(device_floats(samples, shape, &self.device()))?;
            outputs.put("out.latents", latents.clone())?;
            let few = self.quantise(latents.clone(), FEW.min(self.config().n_codebooks))?;
            put_ids(&mut outputs, "out.codes_q4", few.codes)?;
            outputs.put("out.quantized_q4", few.quantised)?;
            let all = self.quantise(latents, self.config().n_codebooks)?;
            put_ids(&mut outputs, "out.codes", all.codes.clone())?;
            outputs.put("out.quantized", all.quantised.clone())?;
            outputs.put("out.projected_latents", all.projected)?;
            outputs.put("out.audio_from_codes", mono(self.decode(all.codes)?))?;
            outputs.put("out.audio_from_quantized", mono(self.decode_quantised(all.quantised)?))?;
        }
        if let Some((shape, codes)) = inputs.ids::<3>("in.random_codes", self.config().codebook_size)? {
            let codes = device_ids(&codes, shape, &self.device());
            outputs.put("out.random_codes_audio", mono(self.decode(codes)?))?;
        }
        Ok(outputs)
    }
}

/// The reference drops the extent of channels.
fn mono(sound: Tensor<3>) -> Tensor<2> {
    let [clips, _, samples] = sound.dims();
    sound.reshape([clips, samples])
}

fn put_ids(outputs: &mut NamedTensors, name: &str, codes: Tensor<3, Int>) -> Result<()> {
    let shape = codes.dims();
    outputs.put_integers(name, &shape, host_codes(codes)?);
    Ok(())
}
