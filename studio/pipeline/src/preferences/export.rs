//! The judgements of a preference set as a table.

use std::path::{Path, PathBuf};

use musicrl_codec::write::write_atomic;
use musicrl_feedback::PreferenceSet;

use super::table::{Form, Row};
use crate::{Error, Result};

/// Writes all judgements of a set, those that do not count included, as CSV or JSONL by the file's ending; returns their
/// number. Sounds are named by absolute paths, so the table can be read from anywhere on this machine; clips without a
/// sound have an empty name. Tokens and ratings are no part of it.
///
/// # Errors
/// [`Error::File`] for another ending; [`Error::Io`].
pub fn export(set: &PreferenceSet, file: &Path) -> Result<usize> {
    let form = Form::of(file)?;
    let home: PathBuf = std::path::absolute(set.path()).map_err(Error::io("find", set.path()))?;
    let mut rows = Vec::with_capacity(set.judgements().len());
    for judgement in set.judgements() {
        let [a, b] = [&judgement.a, &judgement.b].map(|id| set.clip(id));
        let audio = |clip: Option<&musicrl_feedback::ClipRecord>| {
            let audio = clip.and_then(|clip| clip.audio.as_deref());
            audio.map_or(String::new(), |audio| home.join(audio).to_string_lossy().into_owned())
        };
        let row = Row {
            caption: a.map_or(String::new(), |clip| clip.caption.clone()),
            audio_a: audio(a),
            audio_b: audio(b),
            listener: judgement.listener.clone(),
            confidence: Some(judgement.confidence),
            margin: Some(judgement.margin),
            heard_a: Some(judgement.heard[0]),
            heard_b: Some(judgement.heard[1]),
            system_a: a.map(|clip| clip.system.clone()),
            system_b: b.map(|clip| clip.system.clone()),
            ..Row::default()
        };
        rows.push(row.said(judgement.outcome, &judgement.source));
    }
    write_atomic(file, form.write(&rows)?.as_bytes())?;
    Ok(rows.len())
}
