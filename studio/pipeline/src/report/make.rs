//! From folders to a page, and onto the disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use musicrl_codec::write::write_atomic;

use super::{
    ReportInput, ReportSettings,
    page::{
        Page, diversity_section, encode, evaluation_section, findings_section, header_section, models_section,
        players_section, ratings_section, recipes_section, rewards_section, systems_section, utility_section,
    },
    read::{gather, prompts},
};
use crate::{Error, Result};

/// Where the figures lie, beside the page.
const FIGURES: &str = "figures";

/// A finished report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The page: one file that needs no other.
    pub html: String,
    /// The figures: file name and SVG document.
    pub figures: Vec<(String, String)>,
    /// Systems that it shows.
    pub systems: usize,
    /// Clips inside the page.
    pub clips: usize,
    /// What the reader is told beside the numbers.
    pub notes: Vec<String>,
}

/// Makes the report of `input`. The same inputs give the same bytes.
///
/// # Errors
/// [`Error::Config`] for settings that break a rule or nothing to report on; [`Error::File`] naming a folder that is neither
/// a run nor an experiment, or a file that is not what it should be; [`Error::Parse`]; [`Error::Io`].
pub fn report(input: &ReportInput, settings: &ReportSettings) -> Result<Report> {
    settings.validate()?;
    let mut gathered = gather(input)?;
    let (origin, prompts) = prompts(&mut gathered);
    let heard = encode(&prompts, settings)?;
    let mut notes = std::mem::take(&mut gathered.notes);
    notes.extend(heard.notes.iter().cloned());

    let mut body = Page::default();
    body.notes(&notes);
    findings_section(&mut body, &gathered);
    systems_section(&mut body, &gathered);
    rewards_section(&mut body, &gathered);
    utility_section(&mut body, &gathered);
    diversity_section(&mut body, &gathered);
    ratings_section(&mut body, &gathered);
    evaluation_section(&mut body, &gathered);
    models_section(&mut body, &gathered);
    players_section(&mut body, &heard, origin);
    recipes_section(&mut body, &gathered);
    let names = if gathered.titles.is_empty() { "evaluation".into() } else { gathered.titles.join(", ") };
    let title = format!("Report: {names}");
    let (html, figures) = body.finish(&title, |html| header_section(html, &gathered, &title));
    Ok(Report { html, figures, systems: gathered.systems.len(), clips: heard.clips, notes })
}

impl Report {
    /// Writes the page to `out` and the figures into `figures/` beside it.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Codec`] naming the file.
    pub fn write(&self, out: &Path) -> Result<PathBuf> {
        let folder = out.parent().unwrap_or(Path::new("")).join(FIGURES);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        for (name, svg) in &self.figures {
            write_atomic(&folder.join(name), svg.as_bytes())?;
        }
        write_atomic(out, self.html.as_bytes())?;
        Ok(folder)
    }
}
