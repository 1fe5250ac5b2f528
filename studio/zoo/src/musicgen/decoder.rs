//! The decoder, teacher-forced: [`MusicGenDecoder`].

use burn::{
    module::{Module, Param},
    tensor::{Bool, Device, Int, Tensor, TensorData},
};

use super::{
    DecoderConfig,
    block::{Block, final_norm},
    positions::positions,
    prompt::TextPrompt,
};
use crate::{
    Result,
    checkpoint::Weights,
    named::device_floats,
    nn::{LayerNorm, Linear},
};

/// Embeddings of K codebooks, blocks, a norm, K heads; and the projection of the text's states.
#[derive(Module, Debug)]
pub struct MusicGenDecoder {
    /// From the text encoder's width; absent where the widths are equal.
    pub projection: Option<Linear>,
    /// One table a codebook, `[vocab_size + 1, width]`; the last row is the pad's.
    pub embeddings: Vec<Param<Tensor<2>>>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    /// One head a codebook, `[width, vocab_size]`: the pad cannot be predicted.
    pub heads: Vec<Linear>,
    #[module(skip)]
    config: DecoderConfig,
}

impl MusicGenDecoder {
    /// Takes its tensors (`decoder...`, `enc_to_dec_proj...`) from the root of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config), [`Error::Tensor`](crate::Error::Tensor).
    pub fn load(config: DecoderConfig, text_width: usize, root: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let width = config.hidden_size;
        let inside = root.child("decoder.model.decoder");
        let heads = root.child("decoder.lm_heads");
        // Was a parameter in older files; it is computed here.
        let table = inside.name("embed_positions.weights");
        root.checkpoint().pass_over(|name| name == table);
        let projection = if text_width != width && config.cross_attention_hidden_size.is_none() {
            Some(Linear::load_biased(&root.child("enc_to_dec_proj"), text_width, width, device)?)
        } else {
            None
        };
        let codebooks = || 0..config.num_codebooks;
        Ok(Self {
            projection,
            embeddings: codebooks()
                .map(|k| inside.child("embed_tokens").child(k).param("weight", [config.vocab_size + 1, width], device))
                .collect::<Result<_>>()?,
            blocks: (0..config.num_hidden_layers)
                .map(|index| Block::load(&config, &inside.child("layers").child(index), device))
                .collect::<Result<_>>()?,
            norm: final_norm(&config, &inside.child("layer_norm"), device)?,
            heads: codebooks()
                .map(|k| Linear::load(&heads.child(k), width, config.vocab_size, device))
                .collect::<Result<_>>()?,
            config,
        })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The device of its weights.
    #[must_use]
    pub fn device(&self) -> Device {
        self.embeddings[0].val().device()
    }

    /// The text's states as cross-attention sees them: projected, then multiplied by the mask, so that the projection's
    /// bias does not reach padding, and a clip without a condition has keys and values of zero.
    ///
    /// # Shapes
    /// - output: `[clips, tokens, width]`
    #[must_use]
    pub fn text(&self, prompt: &TextPrompt) -> Tensor<3> {
        let (states, mask) = prompt.to_device(&self.device());
        let dtype = self.norm.weight.val().dtype();
        let (states, mask) = (states.cast(dtype), mask.cast(dtype));
        let states = match &self.projection {
            Some(projection) => projection.forward(states),
            None => states,
        };
        states * mask.unsqueeze_dim::<3>(2)
    }

    /// The vectors before the heads, after the final norm.
    ///
    /// # Shapes
    /// - columns: ids of each codebook at each step, `K` tensors `[clips, steps]`, the pad where no frame is
    /// - text: `[clips, tokens, width]`, of [`text`](Self::text)
    /// - padding: true where a token does not count, `[clips, 1, 1, tokens]`
    /// - output: `[clips, steps, width]`
    #[must_use]
    pub fn forward(&self, columns: Vec<Tensor<2, Int>>, text: &Tensor<3>, padding: &Tensor<4, Bool>) -> Tensor<3> {
        let mut x = self.embed(columns);
        let future = self.future(x.dims()[1]);
        for block in &self.blocks {
            x = block.forward(x, text, &future, padding);
        }
        self.norm.forward(x)
    }

    /// What the first block reads: the sum of the codebooks' embeddings, and positions.
    ///
    /// # Shapes
    /// - columns: as in [`forward`](Self::forward)
    /// - output: `[clips, steps, width]`
    pub(super) fn embed(&self, columns: Vec<Tensor<2, Int>>) -> Tensor<3> {
        let width = self.config.hidden_size;
        let [clips, steps] = columns.first().map_or([0, 0], |column| column.dims());
        let table = device_floats(&positions(0, steps, width), [1, steps, width], &self.device());
        let table = table.cast(self.norm.weight.val().dtype());
        let mut x: Option<Tensor<3>> = None;
        for (embedding, ids) in self.embeddings.iter().zip(columns) {
            let rows = embedding.val().select(0, ids.reshape([clips * steps])).reshape([clips, steps, width]);
            x = Some(match x {
                Some(sum) => sum + rows,
                None => rows,
            });
        }
        match x {
            Some(sum) => sum + table,
            None => table,
        }
    }

    /// True where a step lies ahead, `[1, 1, steps, steps]`.
    pub(super) fn future(&self, steps: usize) -> Tensor<4, Bool> {
        let future: Vec<bool> = (0..steps * steps).map(|at| at % steps > at / steps).collect();
        Tensor::from_data(TensorData::new(future, [1, 1, steps, steps]), &self.device())
    }
}
