//! `musicrl bench codec`.

use musicrl_codec::neural::CodecConfig;
use musicrl_pipeline::{bundle::part, evaluate_codec::evaluate_codec, music::load_codec};

use super::held_out::{HeldOut, with_progress};
use crate::{commands::Context, failure::Failure, report::Report};

/// Encodes and decodes held-out clips with every number of levels, and with Opus.
pub fn run(context: &Context, flags: &HeldOut) -> Result<Report, Failure> {
    let bundle = flags.bundle()?;
    let config: CodecConfig = bundle.config(part::CODEC)?;
    let pieces = flags.pieces(&bundle, config.sample_rate_hz)?;
    let codec = load_codec(&bundle, &context.backend.device()?)?;
    let measured = with_progress(context, "bench codec", |progress| evaluate_codec(&codec, &pieces, progress))?;
    Ok(Report::new()
        .table(&measured)
        .value("clips", measured.clips)
        .value("seconds", measured.seconds)
        .value("rows", &measured.rows)
        .value("levels", &measured.levels))
}
