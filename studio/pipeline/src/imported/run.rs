//! `align`, `generate` and `export` on imported checkpoints.

use std::path::Path;

use burn::tensor::Device;
use musicrl_core::policy::Policy as _;
use musicrl_zoo::{Checkpoint, musicgen::MusicGenPolicy};

use super::base::ImportedBase;
use crate::{
    Error, Result,
    align::run::{AlignContext, AlignOutcome, AlignSystem, align_system},
    bundle::Bundle,
    generate::{GenerateSettings, Generated, generate_with},
    recipe::AlignRecipe,
    run::Observer,
};

/// Length of clips in seconds where nobody says: a third of what the checkpoints were trained on.
pub const CLIP_SECONDS: f64 = 10.0;

/// Runs a recipe whose base is an imported checkpoint. The result is a folder `bundle` that `generate`, `export` and
/// further recipes open.
///
/// # Errors
/// As [`align`](crate::align::run::align).
pub fn align_imported(
    recipe: &AlignRecipe,
    base: &ImportedBase,
    context: &AlignContext,
    observer: &mut dyn Observer,
) -> Result<AlignOutcome<MusicGenPolicy>> {
    if let Some(reference) = &recipe.reference {
        let expected = "left out where the base is an imported checkpoint";
        return Err(Error::config("reference.path", expected, reference.path.display()));
    }
    let no_judges = Bundle::new();
    let system = AlignSystem {
        identity: base.identity.clone(),
        music: &base.model,
        policy: base.model.policy.clone(),
        reference: None,
        clip_seconds: CLIP_SECONDS,
        judges: &no_judges,
    };
    let save = |policy: &MusicGenPolicy, recipe: &AlignRecipe, folder: &Path| {
        let names: Vec<&str> = recipe.stage.iter().map(|stage| stage.name.as_str()).collect();
        base.save_aligned(policy, format!("aligned: {} (seed {})", names.join(", "), recipe.seed), folder)
    };
    align_system(recipe, system, context, &save, observer)
}

/// Generates clips with an imported checkpoint.
///
/// # Errors
/// As [`generate`](crate::generate::generate).
pub fn generate_imported(
    base: &ImportedBase,
    settings: &GenerateSettings,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Generated>> {
    let (policy, no_judges) = (&base.model.policy, Bundle::new());
    let frames = |seconds| policy.layout().frames_in(seconds);
    generate_with(&base.model, policy, &no_judges, CLIP_SECONDS, &frames, settings, device, progress)
}

/// Writes the aligned policy in the layout of the library that its checkpoint came from.
///
/// # Errors
/// When `to` is there and not empty, or cannot be written.
pub fn export_imported(base: &ImportedBase, to: &Path) -> Result<()> {
    let source = Checkpoint::open(&base.source)?;
    Ok(base.model.policy.export(&source, to)?)
}
