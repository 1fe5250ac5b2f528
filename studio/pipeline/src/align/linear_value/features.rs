//! What a stage's linear baseline reads: [`linear_value`].

use musicrl_core::{
    policy::{Policy as _, Prompt as _, frames_from_tokens},
    random::{Key, Purpose},
    tokens::Tokens,
};

use super::{
    super::{
        family::{Learnable as _, Player, PromptOf},
        play::{PlaySettings, play},
        stage::StageParts,
    },
    LinearValue, Vectors,
};
use crate::{Error, Result};

/// Clips, each of another caption, and captions that the features of a linear baseline are made of.
const FEATURE_CLIPS: usize = 64;
const FEATURE_CAPTIONS: usize = 512;

/// The step whose random numbers those clips draw: no training step reaches it.
const FEATURE_STEP: u64 = u64::MAX - 1;

/// A linear baseline with the features of the stage's reference, and no weights yet.
///
/// # Errors
/// When a model fails, or there is no caption.
pub fn linear_value<M: Player>(parts: &StageParts<'_, M>, settings: &PlaySettings) -> Result<LinearValue> {
    let of = |count: usize| parts.captions.iter().take(count).map(String::as_str).collect::<Vec<_>>();
    let reference = &parts.reference;
    let vectors = |prompt: &PromptOf<M>, tokens: &[Tokens]| -> Result<Vectors> {
        let mut joined: Option<Vectors> = None;
        let clips: Vec<usize> = (0..tokens.len()).collect();
        for clips in clips.chunks(M::Policy::clips_at_once().max(1)) {
            let frames = frames_from_tokens(
                reference.layout(),
                &tokens[clips[0]..=clips[clips.len() - 1]],
                &reference.device(),
            )?;
            let next = Vectors::of(&reference.hidden(&prompt.select(clips)?, frames)?);
            joined = Some(match joined {
                Some(joined) => joined.join(next),
                None => next,
            });
        }
        joined.ok_or_else(|| Error::config("captions", "at least one caption", "none"))
    };
    let played = play(reference, parts.music, &of(FEATURE_CLIPS), settings, (FEATURE_STEP, 0), false)?;
    let clips = vectors(&played.prompt, &played.tokens)?;
    let captions = of(FEATURE_CAPTIONS);
    let slots = reference.layout().slots_per_frame();
    let blank = vec![Tokens { ids: vec![0; slots], frames: 1, slots }; captions.len()];
    let prompts = vectors(&parts.music.prompt(&captions)?, &blank)?;
    LinearValue::new(&clips, &prompts, Key::new(parts.seed, Purpose::Init).step(FEATURE_STEP))
}
