//! Generation: [`generate`].

use alloc::{format, vec, vec::Vec};

use super::{SamplingConfig, Shaped};
use crate::{
    Error, Result,
    policy::{Policy, Prompt},
    random::{Key, Purpose},
    tokens::Tokens,
};

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRequest {
    /// How logits become the distribution that is sampled.
    pub sampling: SamplingConfig,
    /// Frames a clip (T).
    pub frames: usize,
    /// The run's seed.
    pub seed: u64,
    /// The step of the run; other steps draw other numbers.
    pub step: u64,
    /// Global index of each clip: which random numbers it uses. Independent of how clips are batched.
    pub clips: Vec<u64>,
}

impl GenerationRequest {
    /// Clips numbered on from `first_clip`.
    #[must_use]
    pub fn consecutive(
        sampling: SamplingConfig,
        frames: usize,
        (seed, step): (u64, u64),
        first_clip: u64,
        clips: usize,
    ) -> Self {
        Self {
            sampling,
            frames,
            seed,
            step,
            clips: (0..clips as u64).map(|clip| first_clip.wrapping_add(clip)).collect(),
        }
    }
}

/// A generated clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The tokens.
    pub tokens: Tokens,
    /// Log-probability of each action under the distribution that was sampled, at the places of `tokens`.
    pub log_probabilities: Vec<f32>,
    /// Entropy in nats of that distribution at each action, at the places of `tokens`.
    pub entropies: Vec<f32>,
}

/// As [`generate`], with the first frames of each clip given: clips go on from them. `given` holds one clip a prompt, all of
/// one length, at most `request.frames`; given actions have log-probability and entropy 0, as nothing was chosen.
///
/// # Errors
/// As [`generate`]; [`Error::Shape`] and [`Error::Token`] when what is given does not fit the request or the layout.
pub fn continue_from<P: Policy>(
    policy: &P,
    prompt: &P::Prompt,
    given: &[Tokens],
    request: &GenerationRequest,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Sample>> {
    let frames = given.first().map_or(0, |clip| clip.frames);
    let fits = given.len() == prompt.clips() && frames <= request.frames;
    if !fits || given.iter().any(|clip| clip.frames != frames) {
        return Err(Error::Shape {
            what: "given clips",
            expected: format!("{} of one length, at most {} frames", prompt.clips(), request.frames),
            got: format!("{} clips, the first of {frames} frames", given.len()),
        });
    }
    for (clip, tokens) in given.iter().enumerate() {
        policy.layout().check_clip(clip, tokens)?;
    }
    run(policy, prompt, given, request, progress)
}

/// Samples one clip for each prompt. `progress` is told the number of finished frames after each.
///
/// The draw of clip `c` at action `t` (its place in the clip, whatever the order of generation) is
/// `Key::new(seed, Purpose::Sampling).step(step).clip(c).uniform(t)`.
///
/// # Errors
/// [`Error::Config`] for bad settings or guidance without a null condition; [`Error::Shape`] when request and prompt
/// disagree in the number of clips; [`Error::NonFinite`] for logits that are no distribution, naming clip and action;
/// and what the policy's decoder reports.
pub fn generate<P: Policy>(
    policy: &P,
    prompt: &P::Prompt,
    request: &GenerationRequest,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Sample>> {
    run(policy, prompt, &[], request, progress)
}

fn run<P: Policy>(
    policy: &P,
    prompt: &P::Prompt,
    given: &[Tokens],
    request: &GenerationRequest,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Sample>> {
    request.sampling.validate()?;
    let clips = prompt.clips();
    if request.clips.len() != clips {
        return Err(Error::Shape {
            what: "clip indices",
            expected: format!("[{clips}]"),
            got: format!("[{}]", request.clips.len()),
        });
    }
    if clips == 0 || request.frames == 0 {
        let nothing = |_| Sample {
            tokens: Tokens { ids: Vec::new(), frames: 0, slots: policy.layout().slots_per_frame() },
            log_probabilities: Vec::new(),
            entropies: Vec::new(),
        };
        return Ok((0..clips).map(nothing).collect());
    }
    let slots = policy.layout().slots_per_frame();
    let codebook = policy.layout().codebook_max();
    let null = request.sampling.null_prompt(prompt)?;
    let prompts: Vec<&P::Prompt> = core::iter::once(prompt).chain(&null).collect();
    let mut decoders = policy.decoders(&prompts, request.frames)?.into_iter();
    let Some(mut decoder) = decoders.next() else {
        return Err(Error::Shape { what: "decoders", expected: "one a prompt".into(), got: "none".into() });
    };
    let mut null = decoders.next();

    let actions = request.frames * slots;
    let order = policy.order(request.frames);
    let blank =
        |_| Drawn { ids: vec![0; actions], log_probabilities: vec![0.0; actions], entropies: vec![0.0; actions] };
    let mut drawn: Vec<Drawn> = (0..clips).map(blank).collect();
    let key = Key::new(request.seed, Purpose::Sampling).step(request.step);
    let mut shaped = Shaped::default();
    let mut tokens = Vec::with_capacity(clips);
    for (done, action) in order.iter().copied().enumerate() {
        let slot = policy.layout().slots[action % slots].codebook;
        let logits = decoder.logits()?;
        let null_logits = match &mut null {
            Some(null) => Some(null.logits()?),
            None => None,
        };
        if logits.len() != clips * codebook {
            return Err(Error::Shape {
                what: "a decoder's logits",
                expected: format!("[{clips}, {codebook}]"),
                got: format!("{} values", logits.len()),
            });
        }
        tokens.clear();
        for (clip, drawn) in drawn.iter_mut().enumerate() {
            if let Some(token) = given.get(clip).and_then(|given| given.ids.get(action)) {
                drawn.give(action, *token);
                tokens.push(*token);
                continue;
            }
            // Only the slot's own entries: padding cannot be drawn whatever it holds.
            let row = clip * codebook..clip * codebook + slot;
            let null_row = null_logits.and_then(|null| null.get(row.clone()));
            shaped.shape(&request.sampling, &logits[row], null_row).map_err(|error| locate(error, clip, action))?;
            let id = shaped.draw(key.clip(request.clips[clip]).uniform(action as u64));
            drawn.put(action, &shaped, id)?;
            tokens.push(id as u32);
        }
        decoder.accept(&tokens)?;
        if let Some(null) = &mut null {
            null.accept(&tokens)?;
        }
        if (done + 1) % slots == 0 {
            progress((done + 1) / slots);
        }
    }
    drawn.into_iter().map(|drawn| drawn.finish(slots)).collect()
}

/// A clip under way.
struct Drawn {
    ids: Vec<u32>,
    log_probabilities: Vec<f32>,
    entropies: Vec<f32>,
}

impl Drawn {
    /// A token that nobody chose.
    fn give(&mut self, action: usize, token: u32) {
        if let Some(place) = self.ids.get_mut(action) {
            *place = token;
        }
    }

    fn put(&mut self, action: usize, shaped: &Shaped, id: usize) -> Result<()> {
        let place = (self.ids.get_mut(action), self.log_probabilities.get_mut(action), self.entropies.get_mut(action));
        let (Some(token), Some(log_probability), Some(entropy)) = place else {
            return Err(Error::Shape {
                what: "a policy's order",
                expected: format!("places below {}", self.ids.len()),
                got: format!("{action}"),
            });
        };
        *token = id as u32;
        *log_probability = shaped.log_probability(id) as f32;
        *entropy = shaped.entropy() as f32;
        Ok(())
    }

    fn finish(self, slots: usize) -> Result<Sample> {
        let tokens = Tokens::new(self.ids, slots)?;
        Ok(Sample { tokens, log_probabilities: self.log_probabilities, entropies: self.entropies })
    }
}

/// Says where in the batch a row was bad.
fn locate(error: Error, clip: usize, action: usize) -> Error {
    match error {
        Error::NonFinite { what, at } => {
            Error::NonFinite { what, at: format!("{at}, clip {clip} of the batch, action {action}") }
        }
        other => other,
    }
}
