//! The feed-forward half of a block: [`FeedForwardLayer`].

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation::silu},
};

use super::{FeedForward, Linear, TransformerConfig, gelu};

/// Works on every position alone; kind by [`FeedForward`].
#[derive(Module, Debug)]
pub struct FeedForwardLayer {
    /// `[width, ff_width]`; SwiGLU only.
    pub gate: Option<Linear>,
    /// `[width, ff_width]`.
    pub up: Linear,
    /// `[ff_width, width]`.
    pub down: Linear,
}

impl FeedForwardLayer {
    pub(super) fn new(config: &TransformerConfig, device: &Device) -> Self {
        let up = || Linear::zeros(config.width, config.ff_width, device);
        Self {
            gate: (config.feed_forward == FeedForward::SwiGlu).then(up),
            up: up(),
            down: Linear::zeros(config.ff_width, config.width, device),
        }
    }

    /// # Shapes
    /// - x, output: `[clips, time, width]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inside = match &self.gate {
            Some(gate) => silu(gate.forward(x.clone())) * self.up.forward(x),
            None => gelu(self.up.forward(x)),
        };
        self.down.forward(inside)
    }
}
