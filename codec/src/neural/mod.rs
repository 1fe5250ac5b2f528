//! The neural codec: sound to a few tokens a frame and back.
//!
//! A convolutional encoder turns `hop` samples into one latent vector, a residual vector quantiser names it with one
//! token a level, and a convolutional decoder makes sound of the named vectors (Zeghidour et al., "SoundStream: an
//! end-to-end neural audio codec", 2021; Défossez et al., "High fidelity neural audio compression", 2022).
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use musicrl_codec::neural::CodecConfig;
//! use musicrl_core::random::{Key, Purpose};
//!
//! # fn main() -> Result<(), musicrl_core::Error> {
//! let device = Device::flex();
//! let codec = CodecConfig::base().init(&device, Key::new(1, Purpose::Init))?;
//! let second = Tensor::<3>::zeros([1, 1, 16_000], &device);
//! let codes = codec.encode(second)?;
//! assert_eq!(codes.dims(), [1, 25, 8]);
//! assert_eq!(codec.decode(codes)?.dims(), [1, 1, 16_000]);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it has |
//! |---|---|
//! | [`config`] | settings and presets |
//! | [`conv`] | convolutions as products over channels-last frames |
//! | [`spectrum`] | fixed Fourier bases as convolution kernels: the spectral front and head |
//! | [`encoder`], [`decoder`] | the two networks |
//! | [`quantiser`] | residual vector quantisation and its codebooks |
//! | [`codec`] | the whole |
//! | [`track`] | long recordings piece by piece |
//! | [`loss`] | multi-resolution mel and waveform losses |
//! | [`discriminator`] | the multi-resolution STFT discriminator |
//!
//! It deliberately does not decode files, resample, or train: see `audio`, `resample`, and the pipeline crate.

pub mod codec;
pub mod config;
pub mod conv;
pub mod decoder;
pub mod discriminator;
pub mod encoder;
pub mod loss;
pub mod quantiser;
pub mod spectrum;
pub mod track;

pub use codec::NeuralCodec;
pub use config::{Activation, CodecConfig, QuantiserConfig, WaveKernels};
pub use discriminator::{Discriminator, DiscriminatorConfig};
pub use loss::{SpectralLoss, SpectralLossConfig};
pub use track::TrackCodes;
