//! The multi-resolution STFT discriminator (Défossez et al., "EnCodec", 2022, section 3.4): one small two-dimensional
//! network a window length looks at the complex spectrum and says, patch by patch, real or made.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, activation::leaky_relu, module::conv2d, ops::ConvOptions},
};
use musicrl_core::{Error, Result, params::reinitialise, random::Key};
use serde::{Deserialize, Serialize};

use super::{
    conv::frame,
    spectrum::{fourier_kernels, hann},
};

/// Settings of [`Discriminator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscriminatorConfig {
    /// Window lengths in samples, each a multiple of 8.
    pub windows: Vec<usize>,
    /// Channels of every layer.
    pub channels: usize,
    /// Dilations in time of the middle layers, one layer each; each halves the frequency axis.
    pub dilations: Vec<usize>,
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self { windows: vec![1_024, 512, 256], channels: 16, dilations: vec![1, 2, 4] }
    }
}

impl DiscriminatorConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let wrong = |field, expected: &str, got: String| Err(Error::Config { field, expected: expected.into(), got });
        if self.windows.is_empty() || self.windows.iter().any(|w| *w < 16 || *w > 1 << 16 || w % 8 != 0) {
            return wrong(
                "discriminator.windows",
                "one or more multiples of 8 in 16..=65536",
                format!("{:?}", self.windows),
            );
        }
        if !(1..=1_024).contains(&self.channels) {
            return wrong("discriminator.channels", "in 1..=1024", self.channels.to_string());
        }
        if self.dilations.iter().any(|d| !(1..=64).contains(d)) {
            return wrong("discriminator.dilations", "each in 1..=64", format!("{:?}", self.dilations));
        }
        Ok(())
    }

    /// A discriminator with first weights from `init`.
    ///
    /// # Errors
    /// As [`DiscriminatorConfig::validate`].
    pub fn init(&self, device: &Device, init: Key) -> Result<Discriminator> {
        self.validate()?;
        let network = |&window: &usize| {
            let energy: f64 = hann(window).iter().map(|w| w * w).sum();
            let mut layers = vec![Layer::new([2, self.channels], [3, 9], [1, 1], 1, device)];
            let middle = self.dilations.iter().map(|&d| Layer::new([self.channels; 2], [3, 9], [1, 2], d, device));
            layers.extend(middle);
            layers.push(Layer::new([self.channels; 2], [3, 3], [1, 1], 1, device));
            Network {
                window,
                kernels: fourier_kernels(window, energy.sqrt().recip(), device),
                layers,
                judge: Layer::new([self.channels, 1], [3, 3], [1, 1], 1, device),
            }
        };
        Ok(reinitialise(Discriminator { networks: self.windows.iter().map(network).collect() }, init))
    }
}

/// A convolution over time and frequency that keeps both but for its stride.
#[derive(Module, Debug)]
struct Layer {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: usize,
}

impl Layer {
    fn new(channels: [usize; 2], kernel: [usize; 2], stride: [usize; 2], dilation: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([channels[1], channels[0], kernel[0], kernel[1]], device)),
            bias: Param::from_tensor(Tensor::zeros([channels[1]], device)),
            stride,
            padding: [kernel[0] / 2 * dilation, kernel[1] / 2],
            dilation,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new(self.stride, self.padding, [self.dilation, 1], 1);
        conv2d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}

#[derive(Module, Debug)]
struct Network {
    window: usize,
    kernels: Tensor<2>,
    layers: Vec<Layer>,
    judge: Layer,
}

/// What one network says of some clips.
#[derive(Debug, Clone)]
pub struct Opinion {
    /// Above 0: sounds real. `[clips, 1, frames, bands]`
    pub verdict: Tensor<4>,
    /// Activations of every layer before the verdict, `[clips, channels, frames, bands]`.
    pub features: Vec<Tensor<4>>,
}

impl Network {
    fn forward(&self, audio: Tensor<3>) -> Opinion {
        let [clips, _, samples] = audio.dims();
        let stride = self.window / 4;
        let whole = samples / stride * stride;
        let framed = frame(audio.narrow(2, 0, whole).reshape([clips, whole, 1]), stride, 4, false);
        let [clips, frames, window] = framed.dims();
        let bins = window / 2 + 1;
        let spectrum = framed.reshape([clips * frames, window]).matmul(self.kernels.clone());
        let mut x = spectrum.reshape([clips, frames, 2, bins]).permute([0, 2, 1, 3]);
        let mut features = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            x = leaky_relu(layer.forward(x), 0.2);
            features.push(x.clone());
        }
        Opinion { verdict: self.judge.forward(x), features }
    }
}

/// One network a window length.
#[derive(Module, Debug)]
pub struct Discriminator {
    networks: Vec<Network>,
}

impl Discriminator {
    /// # Shapes
    /// - audio: `[clips, 1, samples]`, at least as many samples as the longest window
    #[must_use]
    pub fn forward(&self, audio: Tensor<3>) -> Vec<Opinion> {
        self.networks.iter().map(|network| network.forward(audio.clone())).collect()
    }
}

fn mean_over<T>(items: &[T], device: &Device, f: impl Fn(&T) -> Tensor<1>) -> Tensor<1> {
    let sum = items.iter().map(f).fold(Tensor::zeros([1], device), |sum, value| sum + value);
    sum / items.len().max(1) as f64
}

/// The discriminator's hinge loss, `mean relu(1 - D(real)) + mean relu(1 + D(made))`, over all networks.
///
/// # Shapes
/// - result: `[1]`
#[must_use]
pub fn judge_loss(real: &[Opinion], made: &[Opinion], device: &Device) -> Tensor<1> {
    let missed = |opinion: &Opinion, sign: f64| (opinion.verdict.clone() * sign + 1.0).clamp_min(0.0).mean();
    mean_over(real, device, |opinion| missed(opinion, -1.0)) + mean_over(made, device, |opinion| missed(opinion, 1.0))
}

/// The codec's side: `-mean D(made)` and the relative distance of features, both over all networks.
///
/// # Shapes
/// - result: `[1]` and `[1]`
#[must_use]
pub fn persuasion_loss(real: &[Opinion], made: &[Opinion], device: &Device) -> (Tensor<1>, Tensor<1>) {
    let verdict = mean_over(made, device, |opinion| -opinion.verdict.clone().mean());
    let pairs: Vec<_> = real.iter().zip(made).flat_map(|(r, m)| r.features.iter().zip(&m.features)).collect();
    let features = mean_over(&pairs, device, |(real, made)| {
        let real = (*real).clone().detach();
        (real.clone() - (*made).clone()).abs().mean() / (real.abs().mean() + 1e-6)
    });
    (verdict, features)
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;

    use super::*;
    use crate::neural::codec::tests::noise;

    fn small() -> DiscriminatorConfig {
        DiscriminatorConfig { windows: vec![64, 32], channels: 4, dilations: vec![1, 2] }
    }

    #[test]
    fn opinions_have_the_stated_shapes() {
        let discriminator = small().init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
        let opinions = discriminator.forward(noise([2, 1, 330]));
        assert_eq!(opinions.len(), 2);
        // 20 windows of 64 samples, 33 bins halved twice; 41 of 32, 17 bins halved twice.
        assert_eq!(opinions[0].verdict.dims(), [2, 1, 20, 9]);
        assert_eq!(opinions[1].verdict.dims(), [2, 1, 41, 5]);
        assert_eq!(opinions[0].features.len(), 4);
        assert!(DiscriminatorConfig { channels: 0, ..small() }.validate().is_err());
    }

    #[test]
    fn losses_have_known_values() {
        let device = Device::flex();
        let opinion = |value: f64| {
            vec![Opinion {
                verdict: Tensor::full([1, 1, 2, 2], value, &device),
                features: vec![Tensor::full([1, 1, 2, 2], value, &device)],
            }]
        };
        let hinge = |real, made| judge_loss(&opinion(real), &opinion(made), &device).into_scalar::<f32>();
        assert_eq!(hinge(1.0, -1.0), 0.0);
        assert_eq!(hinge(-1.0, 0.5), 3.5);
        let (verdict, features) = persuasion_loss(&opinion(2.0), &opinion(0.5), &device);
        assert_eq!(verdict.into_scalar::<f32>(), -0.5);
        assert!((features.into_scalar::<f32>() - 0.75).abs() < 1e-5);
    }

    #[test]
    fn a_step_against_the_gradient_judges_better() {
        let device = Device::flex().autodiff();
        let mut discriminator = small().init(&device, Key::new(1, Purpose::Init)).unwrap();
        let real = Tensor::<3>::from_inner(noise([1, 1, 320]));
        let made = real.clone() * 0.1;
        let loss = |d: &Discriminator| judge_loss(&d.forward(real.clone()), &d.forward(made.clone()), &device);
        let before: f32 = loss(&discriminator).into_scalar();
        for _ in 0..5 {
            let grads = musicrl_core::params::gradients(&discriminator, &loss(&discriminator).backward());
            let mut table = musicrl_core::params::ParamTable::collect(&discriminator);
            table.values_mut().iter_mut().zip(&grads).for_each(|(value, grad)| *value -= 0.05 * grad);
            discriminator = table.apply(discriminator).unwrap();
        }
        let after: f32 = loss(&discriminator).into_scalar();
        assert!(after < before, "{before} to {after}");
    }
}
