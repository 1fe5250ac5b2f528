//! The decoder's backward pass block by block, each block computed again ([`Kept`]).
//!
//! With one graph over all L blocks, the tensors that every block's backward pass reads exist at once: attention's scores
//! among them, which grow with the square of the length. Here the forward pass leaves no graph, only the input of every
//! block; going back, one block at a time is computed again with a graph, from its input x and the gradient g of its
//! output,
//!
//! dLoss/dx = d(sum(block(x) g))/dx,
//!
//! so one block's tensors exist at a time, for the price of a second forward pass (Chen et al., "Training deep nets with
//! sublinear memory cost", arXiv 1604.06174, with a segment a block).

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Gradients, Int, Tensor},
};
use musicrl_core::{Error as CoreError, Result as CoreResult, params::ParamTable};

use super::{MusicGenPolicy, TextPrompt, pattern};

/// What a forward pass without a graph keeps for the backward pass; all on the plain device.
#[derive(Debug)]
pub struct Kept {
    prompt: TextPrompt,
    columns: Vec<Tensor<2, Int>>,
    /// The text as cross-attention sees it, `[clips, tokens, width]`.
    text: Tensor<3>,
    padding: Tensor<4, Bool>,
    future: Tensor<4, Bool>,
    /// The inputs of the blocks from `lowest` on, then the output of the last, each `[clips, steps, width]`.
    states: Vec<Tensor<3>>,
    /// Where the backward pass ends: the first block with something to learn in it or below.
    lowest: usize,
    frames: usize,
}

/// Where gradients of the parts of a policy go: a flat vector in the order of a table.
#[derive(Debug)]
pub struct PartGradients<'a> {
    /// Names and places.
    pub table: &'a ParamTable,
    /// What the table's names begin with before those of the policy: `trunk.` for a value network.
    pub prefix: &'a str,
    /// The gradients are added to it.
    pub sum: &'a mut [f32],
}

impl PartGradients<'_> {
    fn add<M: Module>(&mut self, part: &M, name: &str, grads: &Gradients) -> CoreResult<()> {
        self.table.add_gradients(part, &format!("{}{name}", self.prefix), grads, self.sum)
    }
}

impl MusicGenPolicy {
    /// Whether anything before the heads learns.
    #[must_use]
    pub fn trunk_learns(&self) -> bool {
        learns(&self.decoder.norm) || self.lowest().is_some()
    }

    /// As [`hidden`](musicrl_core::policy::Policy::hidden), on the plain device, and what
    /// [`add_trunk_gradients`](Self::add_trunk_gradients) needs.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, codebooks]`
    /// - output: `[clips, frames, codebooks, width]`
    ///
    /// # Errors
    /// As `hidden`.
    pub fn hidden_kept(&self, prompt: &TextPrompt, frames: Tensor<3, Int>) -> CoreResult<(Tensor<4>, Kept)> {
        let plain = self.valid().decoder;
        let lowest = self.lowest().unwrap_or(plain.blocks.len());
        let time = frames.dims()[1];
        let columns = self.columns(prompt, &frames.inner())?;
        let (text, padding) = (plain.text(prompt), prompt.hidden(&plain.device()));
        let mut x = plain.embed(columns.clone());
        let future = plain.future(x.dims()[1]);
        let mut states = Vec::with_capacity(plain.blocks.len() + 1 - lowest);
        for (index, block) in plain.blocks.iter().enumerate() {
            let input = x.clone();
            x = block.forward(x, &text, &future, &padding);
            if index >= lowest {
                states.push(input);
            }
        }
        states.push(x.clone());
        let hidden = pattern::actions(&plain.norm.forward(x), self.pattern().delays(), time);
        let kept = Kept { prompt: prompt.clone(), columns, text, padding, future, states, lowest, frames: time };
        Ok((hidden, kept))
    }

    /// Adds the gradients of all that learns before the heads to `into`, from the gradient of what
    /// [`hidden_kept`](Self::hidden_kept) gave.
    ///
    /// # Shapes
    /// - gradient: `[clips, frames, codebooks, width]`, on the plain device
    ///
    /// # Errors
    /// [`CoreError::Weights`] when the table is not that of a module with this policy at the prefix.
    pub fn add_trunk_gradients(&self, kept: Kept, gradient: Tensor<4>, into: &mut PartGradients<'_>) -> CoreResult<()> {
        let Kept { prompt, columns, text, padding, future, mut states, lowest, frames } = kept;
        let decoder = &self.decoder;
        let (padding, future) = (padding.autodiff(), future.autodiff());
        let embeds = decoder.embeddings.iter().any(learns);
        let projects = decoder.projection.as_ref().is_some_and(learns);

        let x = leaf(states.pop().ok_or_else(no_state)?, lowest < decoder.blocks.len());
        let hidden = pattern::actions(&decoder.norm.forward(x.clone()), self.pattern().delays(), frames);
        let Some(mut grads) = backward(hidden, gradient) else { return Ok(()) };
        into.add(&decoder.norm, "decoder.norm", &grads)?;
        let mut above = x.grad_remove(&mut grads);

        let mut of_text: Option<Tensor<3>> = None;
        for (index, block) in decoder.blocks.iter().enumerate().skip(lowest).rev() {
            let Some(gradient) = above.take() else { return Ok(()) };
            let x = leaf(states.pop().ok_or_else(no_state)?, index > lowest || embeds);
            let text = leaf(text.clone(), projects);
            let output = block.forward(x.clone(), &text, &future, &padding);
            let Some(mut grads) = backward(output, gradient) else { return Ok(()) };
            into.add(block, &format!("decoder.blocks.{index}"), &grads)?;
            above = x.grad_remove(&mut grads);
            of_text = match (of_text, text.grad_remove(&mut grads)) {
                (Some(sum), Some(more)) => Some(sum + more),
                (sum, more) => sum.or(more),
            };
        }
        if let Some(gradient) = above.filter(|_| embeds) {
            let columns = columns.into_iter().map(Tensor::autodiff).collect();
            if let Some(grads) = backward(decoder.embed(columns), gradient) {
                into.add(&decoder.embeddings, "decoder.embeddings", &grads)?;
            }
        }
        if let (Some(gradient), Some(projection)) = (of_text, &decoder.projection)
            && let Some(grads) = backward(decoder.text(&prompt), gradient)
        {
            into.add(projection, "decoder.projection", &grads)?;
        }
        Ok(())
    }

    /// The first block through which a gradient must go; `None` where nothing before the last norm learns.
    fn lowest(&self) -> Option<usize> {
        let decoder = &self.decoder;
        let inputs = decoder.projection.as_ref().is_some_and(learns) || decoder.embeddings.iter().any(learns);
        if inputs { Some(0) } else { decoder.blocks.iter().position(learns) }
    }
}

/// A new leaf of a graph, whose gradient is kept where it is `wanted`.
fn leaf(x: Tensor<3>, wanted: bool) -> Tensor<3> {
    x.autodiff().set_require_grad(wanted)
}

/// The gradients behind `output`, whose own gradient is given; `None` where nothing behind it wants one.
fn backward<const D: usize>(output: Tensor<D>, gradient: Tensor<D>) -> Option<Gradients> {
    // The gradient of sum(output g) with respect to the output is g to the last bit.
    let sum = (output * gradient.autodiff()).sum();
    sum.is_tracked().then(|| sum.backward())
}

/// Whether any parameter of `part` learns.
fn learns<M: Module>(part: &M) -> bool {
    struct Any(bool);
    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.val().is_require_grad();
        }
    }
    let mut any = Any(false);
    part.visit(&mut any);
    any.0
}

fn no_state() -> CoreError {
    CoreError::Shape { what: "kept states", expected: "one a block and one more".into(), got: "fewer".into() }
}
