//! Provisional stand-in for `musicrl_codec::mel`: the transform as a matrix product.

use burn::tensor::{Device, Tensor, TensorData};

use crate::front_end::FrontEndConfig;

#[derive(Debug, Clone)]
pub(crate) struct Mel {
    fft: usize,
    hop: usize,
    dft: Tensor<2>,
    filters: Tensor<2>,
}

impl Mel {
    pub fn new(config: &FrontEndConfig) -> Self {
        let n = config.fft_samples;
        let bins = n / 2 + 1;
        let device = Device::flex();
        let mut dft = vec![0.0_f32; n * 2 * bins];
        for t in 0..n {
            let window = 0.5 - 0.5 * (2.0 * std::f64::consts::PI * t as f64 / n as f64).cos();
            for k in 0..bins {
                let angle = 2.0 * std::f64::consts::PI * ((t * k) % n) as f64 / n as f64;
                dft[t * 2 * bins + k] = (window * angle.cos() / (n as f64 / 2.0)) as f32;
                dft[t * 2 * bins + bins + k] = (window * angle.sin() / (n as f64 / 2.0)) as f32;
            }
        }
        let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
        let top = mel(f64::from(config.sample_rate_hz) / 2.0);
        let mut filters = vec![0.0_f32; bins * config.bands];
        for k in 0..bins {
            let hz = k as f64 * f64::from(config.sample_rate_hz) / n as f64;
            let place = mel(hz) / top * (config.bands + 1) as f64;
            for band in 0..config.bands {
                filters[k * config.bands + band] = (1.0 - (place - (band + 1) as f64).abs()).max(0.0) as f32;
            }
        }
        Self {
            fft: n,
            hop: config.hop_samples,
            dft: Tensor::from_data(TensorData::new(dft, [n, 2 * bins]), &device),
            filters: Tensor::from_data(TensorData::new(filters, [bins, config.bands]), &device),
        }
    }

    pub fn power(&self, samples: &[f32]) -> Vec<f32> {
        let frames = samples.len() / self.hop;
        if frames == 0 {
            return Vec::new();
        }
        let mut x = vec![0.0_f32; frames * self.fft];
        for (frame, row) in x.chunks_mut(self.fft).enumerate() {
            let start = (frame * self.hop + self.hop / 2) as i64 - self.fft as i64 / 2;
            for (offset, value) in row.iter_mut().enumerate() {
                let index = start + offset as i64;
                *value = usize::try_from(index).ok().and_then(|index| samples.get(index)).copied().unwrap_or(0.0);
            }
        }
        let x = Tensor::<2>::from_data(TensorData::new(x, [frames, self.fft]), &Device::flex());
        let bins = self.fft / 2 + 1;
        let y = x.matmul(self.dft.clone());
        let y = y.clone() * y;
        let power = y.clone().narrow(1, 0, bins) + y.narrow(1, bins, bins);
        power.matmul(self.filters.clone()).into_data().try_to_vec::<f32>().unwrap_or_default()
    }
}
