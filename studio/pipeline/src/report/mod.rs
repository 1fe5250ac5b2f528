//! One page about alignment runs and their evaluation: `musicrl report`.
//!
//! - [`ReportInput`], [`ReportSettings`], [`report`]: folders in, a [`Report`] out; [`Report::write`] puts the page and its
//!   figures on the disk.
//! - `read`: what lies in runs, experiments and evaluations, in types of its own that pass over what they do not know.
//! - `plot`: the figures, drawn with [`figure`](crate::figure).
//! - `page`: the sections, and the HTML that they are written in.
//!
//! The page is one file that asks for nothing else: no script, no font, no style from elsewhere. All text that comes from
//! files is escaped, and the page's own policy forbids scripts. The same inputs give the same bytes: no clock is read.
//! Which files are read, and what the page shows of them, is written in `spec/report.md`.

mod make;
mod page;
mod plot;
mod read;
mod settings;
#[cfg(test)]
mod tests;

pub use make::{Report, report};
pub use read::Against;
pub use settings::{ReportInput, ReportSettings};

/// The figure of a study's file alone; `None` when it has no point.
///
/// # Errors
/// [`Error::Parse`](crate::Error::Parse) with the line for another form; [`Error::Io`](crate::Error::Io).
pub fn accuracy_svg(path: &std::path::Path, against: Against) -> crate::Result<Option<String>> {
    let curves = read::AccuracyCurve::read_study(path, against)?;
    Ok(plot::accuracy_figure(&curves, against).map(|drawn| drawn.svg))
}
