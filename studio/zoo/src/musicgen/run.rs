//! Named outputs of a MusicGen checkpoint.

use burn::tensor::{Int, Tensor, activation::log_softmax};
use musicrl_core::{
    policy::{Policy as _, Prompt as _},
    sampling::{SamplingConfig, Shaped},
};

use super::{Grid, MusicGen, TextPrompt, greedy, pattern, positions::positions};
use crate::{
    Error, NamedTensors, Result,
    named::{device_ids, host},
};

/// Frames of inputs that are accepted: scores take the square of them.
const FRAMES_MAX: usize = 8192;
/// New steps of `gen_g1_codes` and `gen_g3_codes`.
const NEW_STEPS: usize = 20;
/// New steps of `cont_codes`.
const CONTINUATION_STEPS: usize = 12;
/// New steps of `uncond_codes`.
const UNCONDITIONAL_STEPS: usize = 8;
/// Temperature, top-k (0 for all), top-p, with the name as the reference's language writes it.
const SAMPLINGS: [(&str, f64, usize, f64); 6] = [
    ("T1.0_k0_p1.0", 1.0, 0, 1.0),
    ("T0.7_k0_p1.0", 0.7, 0, 1.0),
    ("T1.0_k5_p1.0", 1.0, 5, 1.0),
    ("T1.3_k0_p0.8", 1.3, 0, 0.8),
    ("T0.9_k10_p0.6", 0.9, 10, 0.6),
    ("T1.0_k0_p0.05", 1.0, 0, 0.05),
];

pub(super) fn run(model: &MusicGen, inputs: &NamedTensors) -> Result<NamedTensors> {
    let mut out = NamedTensors::new();
    let prompt = text(model, inputs, &mut out)?;
    if let Some(prompt) = &prompt {
        teacher_forced(model, inputs, prompt, &mut out)?;
        loss(model, inputs, prompt, &mut out)?;
        generation(model, inputs, prompt, &mut out)?;
    }
    unconditional(model, &mut out)?;
    if let Some(([1, channels, samples], wave)) = inputs.floats::<3>("in.prompt_waveform")? {
        let (dims, codes) = model.codes_of(wave, [1, channels, samples])?;
        out.put_ids("out.prompt_waveform_codes", &dims, &codes);
    }
    if let Some(([count], index)) = inputs.ids::<1>("in.pos_index", 1 << 20)? {
        let width = model.policy.decoder.config().hidden_size;
        let rows = index.iter().flat_map(|row| positions(*row as usize, 1, width)).collect();
        out.put_floats("out.pos_rows", &[count, width], rows);
    }
    sampling(inputs, &mut out)?;
    Ok(out)
}

fn text(model: &MusicGen, inputs: &NamedTensors, out: &mut NamedTensors) -> Result<Option<TextPrompt>> {
    let vocab = model.text.config().vocab_size;
    if let Some((dims, ids)) = inputs.ids::<2>("in.t5_long_ids", vocab)? {
        out.put("out.t5_long_hidden", model.text.forward(&ids, &vec![true; ids.len()], dims)?)?;
    }
    let Some((dims, ids)) = inputs.ids::<2>("in.input_ids", vocab)? else { return Ok(None) };
    let mask = match inputs.ids::<2>("in.attention_mask", 2)? {
        None => vec![true; ids.len()],
        Some((mask_dims, mask)) if mask_dims == dims => mask.iter().map(|value| *value == 1).collect(),
        Some((got, _)) => return Err(Error::input("in.attention_mask", format!("{dims:?}"), format!("{got:?}"))),
    };
    let hidden = model.text.forward(&ids, &mask, dims)?;
    out.put("out.text_hidden", hidden.clone())?;
    let prompt = TextPrompt::new(hidden, &mask)?;
    out.put("out.encoder_states", model.policy.decoder.text(&prompt))?;
    Ok(Some(prompt))
}

/// Codes `[clips, codebooks, frames]` of an input, as many clips as prompts.
fn codes(
    model: &MusicGen,
    inputs: &NamedTensors,
    name: &str,
    clips: Option<usize>,
) -> Result<Option<([usize; 3], Vec<u32>)>> {
    let config = model.policy.decoder.config();
    let Some((dims @ [got, codebooks, frames], ids)) = inputs.ids::<3>(name, config.vocab_size)? else {
        return Ok(None);
    };
    if codebooks != config.num_codebooks || frames > FRAMES_MAX || clips.is_some_and(|clips| clips != got) || got == 0 {
        let clips = clips.map_or("clips".to_string(), |clips| clips.to_string());
        let expected = format!("[{clips}, {}, up to {FRAMES_MAX}]", config.num_codebooks);
        return Err(Error::input(name, expected, format!("{dims:?}")));
    }
    Ok(Some((dims, ids)))
}

fn teacher_forced(model: &MusicGen, inputs: &NamedTensors, prompt: &TextPrompt, out: &mut NamedTensors) -> Result<()> {
    let Some((dims, ids)) = codes(model, inputs, "in.codes", Some(prompt.clips()))? else { return Ok(()) };
    let [clips, codebooks, frames] = dims;
    if frames == 0 {
        return Err(Error::input("in.codes", "at least 1 frame", 0));
    }
    let decoder = &model.policy.decoder;
    let (delays, pad) = (model.policy.pattern().delays().to_vec(), model.policy.pattern().pad());
    let grid = Grid::new(&ids, clips, frames, frames, &delays, pad)?;
    out.put_ids("out.delayed", &[clips, codebooks, grid.columns()], &grid.ids());

    let device = decoder.device();
    let frames_tensor: Tensor<3, Int> = device_ids(&ids, dims, &device).swap_dims(1, 2);
    let hidden_of = |prompt: &TextPrompt| {
        let columns = pattern::columns(&frames_tensor, &delays, pad);
        decoder.forward(columns, &decoder.text(prompt), &prompt.hidden(&device))
    };
    // [clips, steps, width] to [clips * codebooks, steps, entries], row b * K + k.
    let logits_of = |hidden: &Tensor<3>| {
        let [clips, steps, _] = hidden.dims();
        let heads: Vec<Tensor<3>> = decoder.heads.iter().map(|head| head.forward(hidden.clone())).collect();
        let entries = decoder.config().vocab_size;
        Tensor::stack::<4>(heads, 1).reshape([clips * codebooks, steps, entries])
    };
    let null = prompt.null().unwrap_or_else(|| prompt.clone());
    let (hidden, hidden_null) = (hidden_of(prompt), hidden_of(&null));
    out.put("out.decoder_hidden", hidden.clone())?;
    out.put("out.logits", logits_of(&hidden))?;
    out.put("out.logits_uncond", logits_of(&hidden_null))?;

    let at_actions = |hidden: &Tensor<3>| model.policy.head(pattern::actions(hidden, &delays, frames));
    let (logits, logits_null) = (at_actions(&hidden), at_actions(&hidden_null));
    let taken = frames_tensor.clone().unsqueeze_dim::<4>(3);
    let log_probs = log_softmax(logits.clone(), 3);
    let chosen =
        |all: &Tensor<4>| all.clone().gather(3, taken.clone()).reshape([clips, frames, codebooks]).swap_dims(1, 2);
    out.put("out.logprobs", chosen(&log_probs))?;
    let entropy = (log_probs.clone().exp() * log_probs).sum_dim(3).neg();
    out.put("out.entropy", entropy.reshape([clips, frames, codebooks]).swap_dims(1, 2))?;
    let guided = SamplingConfig { guidance: 3.0, ..SamplingConfig::plain() };
    let guided = guided.temper(logits, Some(logits_null))?;
    out.put("out.logprobs_cfg3", chosen(&log_softmax(guided, 3)))
}

/// The reference library's training loss: labels shifted by one but not delayed, the mean over codebooks of
/// cross-entropies, pads and -100 left out.
fn loss(model: &MusicGen, inputs: &NamedTensors, prompt: &TextPrompt, out: &mut NamedTensors) -> Result<()> {
    let Some((dims @ [clips, steps, codebooks], labels)) = inputs.integers::<3>("in.labels")? else { return Ok(()) };
    let decoder = &model.policy.decoder;
    let config = decoder.config();
    let pad = config.pad();
    let id = |label: &i64| match *label {
        -100 => Ok(pad),
        label => u32::try_from(label)
            .ok()
            .filter(|id| *id <= pad)
            .ok_or_else(|| Error::input("in.labels", format!("-100, or ids up to {pad}"), label)),
    };
    let ids = labels.iter().map(id).collect::<Result<Vec<u32>>>()?;
    if codebooks != config.num_codebooks || clips != prompt.clips() || steps == 0 || steps > FRAMES_MAX {
        let expected = format!("[{}, up to {FRAMES_MAX}, {}]", prompt.clips(), config.num_codebooks);
        return Err(Error::input("in.labels", expected, format!("{dims:?}")));
    }
    let device = decoder.device();
    let column = |k: usize| {
        let row = |clip: usize| {
            let before = (0..steps - 1).map(move |step| (clip * steps + step) * codebooks + k);
            std::iter::once(pad).chain(before.map(|at| ids[at]))
        };
        device_ids(&(0..clips).flat_map(row).collect::<Vec<_>>(), [clips, steps], &device)
    };
    let columns = (0..codebooks).map(column).collect();
    let hidden = decoder.forward(columns, &decoder.text(prompt), &prompt.hidden(&device));
    let mut sum = 0.0;
    for (k, head) in decoder.heads.iter().enumerate() {
        let log_probs = host(log_softmax(head.forward(hidden.clone()), 2))?;
        let rows = log_probs.chunks_exact(config.vocab_size).enumerate();
        let counted: Vec<f64> = rows
            .filter_map(|(row, log_probs)| log_probs.get(ids[row * codebooks + k] as usize))
            .map(|log_prob| -f64::from(*log_prob))
            .collect();
        // Nothing counted is 0 / 0, as in the reference.
        sum += counted.iter().sum::<f64>() / counted.len() as f64;
    }
    out.put_floats("out.hf_loss", &[], vec![(sum / codebooks as f64) as f32]);
    Ok(())
}

/// Frames of `steps` new steps: the delays take theirs.
fn frames_of(model: &MusicGen, steps: usize) -> usize {
    (steps + 1).saturating_sub(model.policy.pattern().delay_max() + 1)
}

fn generation(model: &MusicGen, inputs: &NamedTensors, prompt: &TextPrompt, out: &mut NamedTensors) -> Result<()> {
    let decoder = &model.policy.decoder;
    let config = decoder.config();
    let (delays, pad) = (model.policy.pattern().delays().to_vec(), model.policy.pattern().pad());
    let (clips, codebooks) = (prompt.clips(), config.num_codebooks);
    let packed = model.policy.packed()?;
    let frames = frames_of(model, NEW_STEPS);
    if frames > 0 {
        for (name, guidance) in [("gen_g1", 1.0), ("gen_g3", 3.0)] {
            let mut grid = Grid::new(&[], clips, 0, frames, &delays, pad)?;
            let scores = greedy(&packed, decoder, prompt, guidance, &mut grid)?;
            out.put_floats(format!("out.{name}_last_scores"), &[clips * codebooks, config.vocab_size], scores);
            let codes = grid.codes();
            out.put_ids(format!("out.{name}_codes"), &[clips, codebooks, frames], &codes);
            out.put(format!("out.{name}_audio"), model.audio_of(&codes, [clips, codebooks, frames])?)?;
        }
    }
    if let Some(([_, _, given], ids)) = codes(model, inputs, "in.prompt_codes", Some(clips))? {
        let frames = given + frames_of(model, CONTINUATION_STEPS);
        let mut grid = Grid::new(&ids, clips, given, frames, &delays, pad)?;
        greedy(&packed, decoder, prompt, 3.0, &mut grid)?;
        out.put_ids("out.cont_codes", &[clips, codebooks, frames], &grid.codes());
    }
    Ok(())
}

fn unconditional(model: &MusicGen, out: &mut NamedTensors) -> Result<()> {
    let decoder = &model.policy.decoder;
    let frames = frames_of(model, UNCONDITIONAL_STEPS);
    if frames == 0 {
        return Ok(());
    }
    // One clip: without a condition all would be the same.
    let clips = 1;
    let prompt = TextPrompt::unconditional(clips, model.text.config().d_model);
    let (delays, pad) = (model.policy.pattern().delays().to_vec(), model.policy.pattern().pad());
    let mut grid = Grid::new(&[], clips, 0, frames, &delays, pad)?;
    greedy(&model.policy.packed()?, decoder, &prompt, 1.0, &mut grid)?;
    out.put_ids("out.uncond_codes", &[clips, delays.len(), frames], &grid.codes());
    Ok(())
}

fn sampling(inputs: &NamedTensors, out: &mut NamedTensors) -> Result<()> {
    let Some((dims @ [_, entries], logits)) = inputs.floats::<2>("in.sampling_logits")? else { return Ok(()) };
    if entries == 0 {
        return Err(Error::input("in.sampling_logits", "at least one entry a row", format!("{dims:?}")));
    }
    for (name, temperature, top_k, top_p) in SAMPLINGS {
        let config = SamplingConfig {
            temperature,
            top_k: (top_k > 0).then_some(top_k),
            top_p: (top_p < 1.0).then_some(top_p),
            guidance: 1.0,
        };
        let mut shaped = Shaped::default();
        let mut probs = Vec::with_capacity(logits.len());
        for row in logits.chunks_exact(entries) {
            shaped.shape(&config, row, None)?;
            probs.extend(shaped.probabilities().iter().map(|p| *p as f32));
        }
        out.put_floats(format!("out.sampling_probs_{name}"), &dims, probs);
    }
    Ok(())
}
