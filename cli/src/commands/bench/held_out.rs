//! What models are measured on: held-out clips of a corpus.

use std::{path::PathBuf, sync::atomic::Ordering};

use clap::Args;
use musicrl_pipeline::{Error, bundle::Bundle, corpus::Split};

use crate::{
    commands::{Context, align::open_base, corpus::open_at},
    failure::Failure,
    progress::Bar,
};

/// The bundle and the clips.
#[derive(Debug, Args)]
pub struct HeldOut {
    /// Bundle folder [default: the base inside the program]
    #[arg(long, default_value = "embedded", hide_default_value = true)]
    bundle: PathBuf,
    /// Corpus folder whose held-out clips are heard
    #[arg(long)]
    corpus: PathBuf,
    /// Held-out clips that are heard, spread evenly over all of them
    #[arg(long, default_value_t = 32)]
    clips: usize,
    /// Length of the beginnings that are heard, at most that of the clip [default: that of the bundle's clips]
    #[arg(long)]
    seconds: Option<f64>,
}

impl HeldOut {
    /// The bundle.
    pub fn bundle(&self) -> Result<Bundle, Failure> {
        open_base(&self.bundle)
    }

    /// The beginnings of held-out clips of the corpus, which must be at the models' rate.
    pub fn pieces(&self, bundle: &Bundle, sample_rate_hz: u32) -> Result<Vec<Vec<f32>>, Failure> {
        if self.clips == 0 {
            return Err(Failure::usage("--clips must be at least 1"));
        }
        let seconds = super::seconds(self.seconds.unwrap_or(bundle.clip_seconds()))?;
        let corpus = open_at(&self.corpus, sample_rate_hz, "take a bundle that was trained at this one")?;
        let clips = corpus.spread(Split::HeldOut, self.clips);
        if clips.is_empty() {
            let message =
                format!("{} has no held-out clips, {} to learn from", self.corpus.display(), corpus.clips().len());
            return Err(Failure::failed(message)
                .hint("make it with held-out clips: --heldout-clips for etudes, --heldout-share for an import"));
        }
        let samples = ((seconds * f64::from(sample_rate_hz)).round() as usize).max(1);
        // Silence behind a short clip would be measured too.
        let piece = |clip| corpus.crop(clip, 0, samples.min(corpus.samples(clip)));
        Ok(clips.into_iter().map(piece).collect::<Result<_, _>>()?)
    }
}

/// Runs `work` with a bar that counts clips and a way to stop.
pub fn with_progress<T>(
    context: &Context,
    what: &'static str,
    work: impl FnOnce(&mut dyn FnMut(usize, usize) -> Result<(), Error>) -> Result<T, Error>,
) -> Result<T, Failure> {
    let stop = context.interrupt()?;
    let mut bar = Bar::new(what);
    Ok(work(&mut |done, total| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })?)
}
