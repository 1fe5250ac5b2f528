//! Between codes and sound.

use burn::tensor::Tensor;

use musicrl_core::{policy::Policy as _, tokens::Tokens};

use super::MusicGen;
use crate::{Result, named::host};

impl MusicGen {
    /// The channels of a clip's sound.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) for tokens that do not fit the policy's layout.
    pub fn channels(&self, clip: &Tokens) -> Result<Vec<Vec<f32>>> {
        self.policy.layout().check(clip)?;
        let (frames, slots) = (clip.frames, clip.slots);
        let by_codebook: Vec<u32> =
            (0..slots).flat_map(|k| (0..frames).map(move |t| clip.ids[t * slots + k])).collect();
        let audio = self.audio_of(&by_codebook, [1, slots, frames])?;
        let samples = audio.dims()[2];
        Ok(host(audio)?.chunks(samples.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// The sound of codes. Stereo policies hold the codebooks of left and right by turns; each channel is decoded alone.
    ///
    /// # Shapes
    /// - codes: `[clips, codebooks, frames]`
    /// - output: `[clips, channels, samples]`
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for codes that the codec does not have.
    pub fn audio_of(&self, codes: &[u32], dims: [usize; 3]) -> Result<Tensor<3>> {
        let channels = self.policy.decoder.config().audio_channels.max(1);
        let [clips, codebooks, frames] = dims;
        let mut sounds = Vec::with_capacity(channels);
        for channel in 0..channels {
            let rows =
                codes.chunks_exact(frames.max(1)).enumerate().filter(|(row, _)| row % codebooks % channels == channel);
            let own: Vec<u32> = rows.flat_map(|(_, row)| row).copied().collect();
            sounds.push(self.codec.decode(&own, [clips, codebooks / channels, frames])?);
        }
        Ok(Tensor::cat(sounds, 1))
    }

    /// A sound at the codec's rate as a clip of the policy. Mono is given to every channel of a stereo policy; of several
    /// channels a mono policy hears the mean.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for no sound, channels of different length, or a sound too short or long.
    pub fn tokens_of(&self, channels: &[Vec<f32>]) -> Result<Tokens> {
        let wanted = self.policy.decoder.config().audio_channels.max(1);
        let samples = channels.first().map_or(0, Vec::len);
        if samples == 0 || channels.iter().any(|channel| channel.len() != samples) {
            return Err(crate::Error::input(
                "a sound",
                "channels of one length",
                format!("{} channels", channels.len()),
            ));
        }
        let wave: Vec<f32> = if channels.len() == wanted {
            channels.concat()
        } else {
            let count = channels.len() as f32;
            let mean = (0..samples).map(|at| channels.iter().map(|channel| channel[at]).sum::<f32>() / count);
            mean.collect::<Vec<_>>().repeat(wanted)
        };
        let ([_, slots, frames], codes) = self.codes_of(&wave, [1, wanted, samples])?;
        let ids = (0..frames).flat_map(|t| (0..slots).map(move |k| k * frames + t)).map(|at| codes[at]).collect();
        Ok(Tokens::new(ids, slots)?)
    }

    /// The codes of a sound, with their shape `[clips, codebooks, frames]`.
    ///
    /// # Shapes
    /// - wave: `[clips, channels, samples]`
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for another number of channels, or a sound too short or long.
    pub fn codes_of(&self, wave: &[f32], dims: [usize; 3]) -> Result<([usize; 3], Vec<u32>)> {
        let [clips, channels, samples] = dims;
        let policy_channels = self.policy.decoder.config().audio_channels.max(1);
        if channels != policy_channels {
            return Err(crate::Error::input("a sound", format!("{policy_channels} channels"), channels));
        }
        let quantisers = self.policy.decoder.config().num_codebooks / policy_channels;
        let mut all: Vec<Vec<u32>> = Vec::new();
        let mut frames = 0;
        for channel in 0..channels {
            let rows = wave.chunks_exact(samples.max(1)).enumerate().filter(|(row, _)| row % channels == channel);
            let own: Vec<f32> = rows.flat_map(|(_, row)| row).copied().collect();
            let ([_, _, time], codes) = self.codec.encode(&own, [clips, 1, samples], quantisers)?;
            frames = time;
            all.push(codes);
        }
        let mut codes = Vec::with_capacity(clips * quantisers * channels * frames);
        for clip in 0..clips {
            for level in 0..quantisers {
                for own in &all {
                    codes.extend_from_slice(&own[(clip * quantisers + level) * frames..][..frames]);
                }
            }
        }
        Ok(([clips, quantisers * channels, frames], codes))
    }
}
