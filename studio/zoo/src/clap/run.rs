//! Named outputs of a CLAP checkpoint.

use burn::tensor::Tensor;

use super::{Clap, Features, Parts, Truncation};
use crate::{Error, NamedTensors, Result};

/// Without fusion, clips `a` and `b` are a batch. With fusion every `in.waveform_X` is a batch of its own, as what the
/// reference says about a short clip depends on its neighbours.
pub(super) fn run(model: &Clap, inputs: &NamedTensors) -> Result<NamedTensors> {
    let mut out = NamedTensors::new();
    let text = text(model, inputs, &mut out)?;
    match model.front_end().truncation() {
        Truncation::RandTrunc => {
            let (Some(([a], wave_a)), Some(([b], wave_b))) =
                (inputs.floats::<1>("in.waveform_a")?, inputs.floats::<1>("in.waveform_b")?)
            else {
                return Ok(out);
            };
            let starts = rand_trunc_starts(inputs)?;
            let features = [(wave_a, a), (wave_b, b)].into_iter().enumerate().map(|(clip, (wave, samples))| {
                let longer = samples > model.front_end().config().window_samples();
                let start = starts.as_ref().and_then(|starts| starts.get(clip).or(starts.first()));
                match start.filter(|_| longer) {
                    Some(start) => model.front_end().features(wave, Parts::At(&[*start])),
                    None => model.front_end().features(wave, Parts::Middle),
                }
            });
            let features = features.collect::<Result<Vec<_>>>()?;
            sound(model, &features, "out.fe_mel", "_ab", text.as_ref(), &mut out)?;
        }
        Truncation::Fusion => {
            let clips: Vec<String> =
                inputs.names().filter_map(|name| name.strip_prefix("in.waveform_")).map(str::to_string).collect();
            for clip in clips {
                let Some((_, wave)) = inputs.floats::<1>(&format!("in.waveform_{clip}"))? else { continue };
                let starts = fusion_starts(inputs, &format!("in.fusion_starts_{clip}"))?;
                let parts = starts.as_ref().map_or(Parts::Middle, |starts| Parts::At(starts));
                let features = model.front_end().features(wave, parts)?;
                // A lone clip is called longer, whatever its length.
                let longer = flag(inputs, &format!("in.is_longer_{clip}"))?.unwrap_or(true);
                let features = [features.with_longer(longer)];
                let mel = format!("out.fe_mel_{clip}");
                sound(model, &features, &mel, &format!("_{clip}"), text.as_ref(), &mut out)?;
            }
        }
    }
    Ok(out)
}

fn text(model: &Clap, inputs: &NamedTensors, out: &mut NamedTensors) -> Result<Option<Tensor<2>>> {
    let Some((dims, ids)) = inputs.ids::<2>("in.input_ids", model.text.config().vocab_size)? else { return Ok(None) };
    let mask = match inputs.ids::<2>("in.attention_mask", 2)? {
        None => vec![true; ids.len()],
        Some((mask_dims, mask)) if mask_dims == dims => mask.iter().map(|value| *value == 1).collect(),
        Some((got, _)) => return Err(Error::input("in.attention_mask", format!("{dims:?}"), format!("{got:?}"))),
    };
    let hidden = model.text.forward(&ids, &mask, dims)?;
    out.put("out.text_hidden", hidden.clone())?;
    let embeds = model.text_embeds_of(hidden);
    out.put("out.text_embeds", embeds.clone())?;
    Ok(Some(embeds))
}

fn sound(
    model: &Clap,
    features: &[Features],
    mel: &str,
    suffix: &str,
    text: Option<&Tensor<2>>,
    out: &mut NamedTensors,
) -> Result<()> {
    let Some(first) = features.first() else { return Ok(()) };
    let shape = [features.len(), first.channels(), first.frames(), first.bands()];
    out.put_floats(mel, &shape, features.iter().flat_map(Features::values).copied().collect());
    let pooled = model.audio.forward(&features.iter().collect::<Vec<_>>())?;
    out.put(format!("out.audio_pooled{suffix}"), pooled.clone())?;
    let audio = model.audio_embeds_of(pooled);
    out.put(format!("out.audio_embeds{suffix}"), audio.clone())?;
    let Some(text) = text else { return Ok(()) };
    // Each side has a scale of its own.
    let [scale_audio, scale_text] = model.logit_scales();
    let cosines = audio.matmul(text.clone().transpose());
    out.put(format!("out.logits_per_audio{suffix}"), cosines.clone().mul_scalar(scale_audio))?;
    out.put(format!("out.logits_per_text{suffix}"), cosines.transpose().mul_scalar(scale_text))
}

/// One start for all clips, or one a clip; a number or a list.
fn rand_trunc_starts(inputs: &NamedTensors) -> Result<Option<Vec<usize>>> {
    let name = "in.rand_trunc_start";
    match inputs.get(name).map(|named| named.shape.len()) {
        None => Ok(None),
        Some(0) => Ok(inputs.integers::<0>(name)?.map(|(_, values)| starts(name, values)).transpose()?),
        Some(_) => Ok(inputs.integers::<1>(name)?.map(|(_, values)| starts(name, values)).transpose()?),
    }
}

fn fusion_starts(inputs: &NamedTensors, name: &str) -> Result<Option<Vec<usize>>> {
    inputs.integers::<1>(name)?.map(|(_, values)| starts(name, values)).transpose()
}

fn starts(name: &str, values: &[i64]) -> Result<Vec<usize>> {
    let start = |value: &i64| usize::try_from(*value).map_err(|_| Error::input(name, "at least 0", value));
    values.iter().map(start).collect()
}

/// A truth value of one element, whatever its rank.
fn flag(inputs: &NamedTensors, name: &str) -> Result<Option<bool>> {
    let values = match inputs.get(name).map(|named| named.shape.len()) {
        None => return Ok(None),
        Some(0) => inputs.integers::<0>(name)?.map(|(_, values)| values),
        Some(1) => inputs.integers::<1>(name)?.map(|(_, values)| values),
        Some(_) => inputs.integers::<2>(name)?.map(|(_, values)| values),
    };
    match values {
        Some([value @ (0 | 1)]) => Ok(Some(*value == 1)),
        other => Err(Error::input(name, "one truth value", format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::Checkpoint;

    fn model(fixture: &str) -> Clap {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        Clap::load(&Checkpoint::open(&dir).unwrap(), &Device::flex()).unwrap()
    }

    #[test]
    fn what_is_not_there_is_not_computed() {
        let model = model("clap_unfused");
        assert_eq!(model.run(&NamedTensors::new()).unwrap(), NamedTensors::new());
        let mut inputs = NamedTensors::new();
        inputs.put_floats("in.waveform_a", &[5], vec![0.1, -0.2, 0.3, 0.1, 0.5]);
        assert_eq!(model.run(&inputs).unwrap().names().count(), 0);
        inputs.put_floats("in.waveform_b", &[8_123], vec![0.25; 8_123]);
        let out = model.run(&inputs).unwrap();
        let names: Vec<&str> = out.names().collect();
        assert_eq!(names, ["out.audio_embeds_ab", "out.audio_pooled_ab", "out.fe_mel"]);
        // A start a clip; the first clip is short and needs none.
        inputs.put_integers("in.rand_trunc_start", &[2], vec![9_999, 3]);
        assert!(model.run(&inputs).is_ok());
        inputs.put_integers("in.input_ids", &[1, 1], vec![0]);
        assert!(model.run(&inputs).unwrap().has("out.logits_per_text_ab"));
    }

    #[test]
    fn inputs_that_cannot_be_are_errors() {
        let (unfused, fused) = (model("clap_unfused"), model("clap_fused"));
        let wave = |samples: usize| (vec![samples], vec![0.1; samples]);
        let refused = |model: &Clap, change: &dyn Fn(&mut NamedTensors)| {
            let mut inputs = NamedTensors::new();
            for clip in ["a", "b"] {
                let (shape, values) = wave(8_200);
                inputs.put_floats(format!("in.waveform_{clip}"), &shape, values);
            }
            change(&mut inputs);
            assert!(matches!(model.run(&inputs), Err(Error::Input { .. })), "{:?}", inputs.names().collect::<Vec<_>>());
        };
        refused(&unfused, &|inputs| inputs.put_floats("in.waveform_a", &[0], vec![]));
        refused(&unfused, &|inputs| inputs.put_floats("in.waveform_a", &[1, 5], vec![0.0; 5]));
        refused(&unfused, &|inputs| inputs.put_floats("in.waveform_a", &[2], vec![0.0, f32::NAN]));
        refused(&unfused, &|inputs| inputs.put_integers("in.waveform_a", &[2], vec![0, 1]));
        for start in [-1, 201, i64::MAX] {
            refused(&unfused, &|inputs| inputs.put_integers("in.rand_trunc_start", &[], vec![start]));
            refused(&fused, &|inputs| inputs.put_integers("in.fusion_starts_a", &[3], vec![0, start, 0]));
        }
        refused(&fused, &|inputs| inputs.put_integers("in.fusion_starts_a", &[2], vec![0, 0]));
        refused(&fused, &|inputs| inputs.put_integers("in.is_longer_a", &[1, 1], vec![2]));
        refused(&fused, &|inputs| inputs.put_integers("in.is_longer_a", &[2], vec![0, 1]));
        refused(&fused, &|inputs| inputs.put_floats("in.waveform_b", &[0], vec![]));
        for (shape, ids) in [([0, 0], vec![]), ([1, 0], vec![]), ([1, 23], vec![5; 23]), ([1, 1], vec![60])] {
            refused(&unfused, &|inputs| inputs.put_integers("in.input_ids", &shape, ids.clone()));
        }
        refused(&unfused, &|inputs| {
            inputs.put_integers("in.input_ids", &[1, 2], vec![0, 2]);
            inputs.put_integers("in.attention_mask", &[2, 1], vec![1, 1]);
        });
    }
}
