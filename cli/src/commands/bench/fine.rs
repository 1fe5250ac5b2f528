//! `musicrl bench fine`.

use musicrl_pipeline::evaluate_fine::{FineModels, evaluate_fine};

use super::held_out::{HeldOut, with_progress};
use crate::{commands::Context, failure::Failure, report::Report};

/// Decodes held-out clips with and without the fine stage, from their own tokens.
pub fn run(context: &Context, flags: &HeldOut) -> Result<Report, Failure> {
    let bundle = flags.bundle()?;
    let models = FineModels::load(&bundle, &context.backend.device()?)?;
    let pieces = flags.pieces(&bundle, models.sample_rate_hz())?;
    let measured =
        with_progress(context, "bench fine", |progress| evaluate_fine(&models, &pieces, context.seed(), progress))?;
    Ok(Report::new()
        .table(&measured)
        .value("clips", measured.clips)
        .value("seconds", measured.seconds)
        .value("rows", &measured.rows)
        .value("fine_less_coarse", measured.fine_less_coarse))
}
