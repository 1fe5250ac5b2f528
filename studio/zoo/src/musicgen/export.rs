//! A policy back in the layout that it came in.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::Tensor;

use super::MusicGenPolicy;
use crate::{
    Checkpoint, Result,
    checkpoint::{Replacement, export},
    named::host,
    nn::{LayerNorm, Linear, transposed},
};

impl MusicGenPolicy {
    /// Writes the checkpoint `source` with this policy's weights in the place of its own, adapters merged, as 32-bit
    /// floats; text encoder and codec byte for byte, and the files beside them (tokeniser, generation settings).
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Tensor`](crate::Error::Tensor) when `source` has other tensors, or a
    /// weight is not finite; [`Error::Config`](crate::Error::Config) when `to` is there and not empty.
    pub fn export(&self, source: &Checkpoint, to: &Path) -> Result<()> {
        export(source, self.named_weights()?, to)
    }

    /// The weights by the names of published checkpoints.
    fn named_weights(&self) -> Result<BTreeMap<String, Replacement>> {
        let mut out = BTreeMap::new();
        let decoder = &self.decoder;
        let inside = "decoder.model.decoder";
        if let Some(projection) = &decoder.projection {
            linear(&mut out, "enc_to_dec_proj", projection)?;
        }
        for (k, table) in decoder.embeddings.iter().enumerate() {
            tensor(&mut out, format!("{inside}.embed_tokens.{k}.weight"), table.val())?;
        }
        for (k, head) in decoder.heads.iter().enumerate() {
            linear(&mut out, &format!("decoder.lm_heads.{k}"), head)?;
        }
        for (index, block) in decoder.blocks.iter().enumerate() {
            let prefix = format!("{inside}.layers.{index}");
            for (name, attention) in [("self_attn", &block.own), ("encoder_attn", &block.cross)] {
                for (matrix, values) in attention.linears() {
                    linear(&mut out, &format!("{prefix}.{name}.{matrix}"), values)?;
                }
            }
            linear(&mut out, &format!("{prefix}.fc1"), &block.inner)?;
            linear(&mut out, &format!("{prefix}.fc2"), &block.outer)?;
            norm(&mut out, &format!("{prefix}.self_attn_layer_norm"), &block.own_norm)?;
            norm(&mut out, &format!("{prefix}.encoder_attn_layer_norm"), &block.cross_norm)?;
            norm(&mut out, &format!("{prefix}.final_layer_norm"), &block.feed_forward_norm)?;
        }
        norm(&mut out, &format!("{inside}.layer_norm"), &decoder.norm)?;
        Ok(out)
    }
}

type Weights = BTreeMap<String, Replacement>;

fn tensor<const D: usize>(out: &mut Weights, name: String, tensor: Tensor<D>) -> Result<()> {
    out.insert(name, Replacement { shape: tensor.dims().to_vec(), values: host(tensor)? });
    Ok(())
}

/// Files have `[out, in]`.
fn linear(out: &mut Weights, name: &str, linear: &Linear) -> Result<()> {
    let merged = linear.merged();
    let [rows, columns] = merged.dims();
    let values = transposed(&host(merged)?, rows, columns);
    out.insert(format!("{name}.weight"), Replacement { shape: vec![columns, rows], values });
    match &linear.bias {
        Some(bias) => tensor(out, format!("{name}.bias"), bias.val()),
        None => Ok(()),
    }
}

fn norm(out: &mut Weights, name: &str, norm: &LayerNorm) -> Result<()> {
    tensor(out, format!("{name}.weight"), norm.weight.val())?;
    tensor(out, format!("{name}.bias"), norm.bias.val())
}
