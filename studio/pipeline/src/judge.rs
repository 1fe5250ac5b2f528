//! A recipe's rewards on sound files: what `musicrl align` would make of them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use musicrl_codec::{decode::decode_file, resample::resample, semantic::SemanticTokeniser};
use musicrl_core::{
    reward::{Score, SumReport},
    tokens::Tokens,
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    align::judges::{Asked, Judges},
    bundle::{Bundle, part},
    music::{Music, load_semantic, tokenise},
    recipe::StageConfig,
};

/// What is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgeSettings {
    /// The sound files.
    pub files: Vec<PathBuf>,
    /// One caption a file, or one for all.
    pub captions: Vec<String>,
}

/// One number of a judge, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The reward's name; "total" for the weighted sum.
    pub name: String,
    /// Its weight in the sum; 1 for the sum itself.
    pub weight: f64,
    /// On the judge's own scale.
    pub raw: Option<f64>,
    /// On the recipe's scale.
    pub scaled: Option<f64>,
    /// Why there is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unscorable: Option<String>,
}

/// What the judges say about one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedFile {
    /// The file.
    pub file: PathBuf,
    /// The caption that it was judged with.
    pub caption: String,
    /// Its length.
    pub seconds: f64,
    /// One a reward, in the recipe's order, and the total.
    pub verdicts: Vec<Verdict>,
}

/// What the judges say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeReport {
    /// One a file, in order.
    pub clips: Vec<JudgedFile>,
}

/// Judges sound files with the rewards of `stage`, all in one batch.
///
/// Files are heard as a run's clips are: mono, at the rate of the base's codec. Judges that read tokens get those of
/// the base's tokenisers, which `base` must have then.
///
/// # Errors
/// [`Error::Config`] for no files or a number of captions that does not fit; when a file is no sound, a model of the
/// base is missing, or a judge fails.
pub fn judge(base: &Bundle, stage: &StageConfig, settings: &JudgeSettings, device: &Device) -> Result<JudgeReport> {
    let (files, captions) = (&settings.files, &settings.captions);
    if files.is_empty() {
        return Err(Error::config("audio", "at least one sound file", "none"));
    }
    if captions.len() != 1 && captions.len() != files.len() {
        let expected = format!("one for all or one for each of {} files", files.len());
        return Err(Error::config("caption", expected, captions.len()));
    }
    let device = device.clone().inner();
    let music = Music::load(base, &device)?;
    let rate_hz = music.sample_rate_hz();
    let audio: Vec<Vec<f32>> = files.iter().map(|file| hear(file, rate_hz)).collect::<Result<_>>()?;
    let asked = stage.rewards.iter().any(|reward| reward.asks_for_tokens());
    let tokeniser = match asked || base.parts().any(|name| name == part::SEMANTIC) {
        true => Some(load_semantic(base, &device)?),
        false => None,
    };
    let tokens: Vec<Tokens> = audio
        .iter()
        .map(|samples| {
            tokens_of(&music, tokeniser.as_ref(), samples).or_else(|error| if asked { Err(error) } else { none() })
        })
        .collect::<Result<_>>()?;
    let captions: Vec<&str> = captions.iter().map(String::as_str).cycle().take(files.len()).collect();
    let report =
        Judges::of_recipe(&stage.rewards, base, &device)?.score(Asked::All, &captions, &tokens, &audio, rate_hz)?;
    let clips = (0..files.len()).map(|at| JudgedFile {
        file: files[at].clone(),
        caption: captions[at].to_string(),
        seconds: audio[at].len() as f64 / f64::from(rate_hz.max(1)),
        verdicts: verdicts(&report, at),
    });
    Ok(JudgeReport { clips: clips.collect() })
}

fn hear(file: &Path, rate_hz: u32) -> Result<Vec<f32>> {
    let audio = decode_file(file)?.audio;
    Ok(resample(&audio.mono(), audio.sample_rate_hz, rate_hz)?)
}

fn tokens_of(music: &Music, tokeniser: Option<&SemanticTokeniser>, samples: &[f32]) -> Result<Tokens> {
    let Some(tokeniser) = tokeniser else { return none() };
    match tokenise(&music.codec, tokeniser, &[samples])?.first() {
        Some(clip) => music.frames(clip),
        None => none(),
    }
}

/// No tokens, for judges that hear.
fn none() -> Result<Tokens> {
    Ok(Tokens { ids: Vec::new(), frames: 0, slots: 1 })
}

fn verdicts(report: &SumReport, clip: usize) -> Vec<Verdict> {
    let verdict = |name: &str, weight: f64, raw: Option<&Score>, scaled: Option<&Score>| Verdict {
        name: name.into(),
        weight,
        raw: raw.and_then(Score::value),
        scaled: scaled.and_then(Score::value),
        unscorable: [raw, scaled].into_iter().flatten().find_map(|score| match score {
            Score::Unscorable(reason) => Some(reason.clone()),
            Score::Value(_) => None,
        }),
    };
    let total = report.total.get(clip);
    report
        .parts
        .iter()
        .map(|part| verdict(&part.name, part.weight, part.raw.get(clip), part.scaled.get(clip)))
        .chain([verdict("total", 1.0, total, total)])
        .collect()
}

impl fmt::Display for JudgeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.4}"));
        for clip in &self.clips {
            writeln!(f, "{}  {:.1} s  {}", clip.file.display(), clip.seconds, clip.caption)?;
            writeln!(f, "  {:<28}{:>8}{:>12}{:>12}", "reward", "weight", "raw", "scaled")?;
            for Verdict { name, weight, raw, scaled, unscorable } in &clip.verdicts {
                let (raw, scaled) = (number(*raw), number(*scaled));
                match name.as_str() {
                    "total" => write!(f, "  {name:<28}{:>8}{:>12}{scaled:>12}", "", "")?,
                    _ => write!(f, "  {name:<28}{weight:>8}{raw:>12}{scaled:>12}")?,
                }
                match unscorable {
                    Some(reason) => writeln!(f, "  {reason}")?,
                    None => writeln!(f)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::reward::PartReport;

    use super::*;

    #[test]
    fn numbers_and_reasons_stand_beside_each_other() {
        let (good, bad) = (Score::Value(3.0), Score::Unscorable("too short".into()));
        let part = PartReport {
            name: "mine".into(),
            weight: 2.0,
            raw: vec![good, bad.clone()],
            scaled: vec![Score::Value(0.5), bad.clone()],
        };
        let report = SumReport { parts: vec![part], total: vec![Score::Value(1.0), bad] };
        let file = |at| JudgedFile {
            file: "a.wav".into(),
            caption: "a waltz".into(),
            seconds: 2.0,
            verdicts: verdicts(&report, at),
        };
        let judged = JudgeReport { clips: vec![file(0), file(1)] };
        assert_eq!(judged.clips[0].verdicts[0].raw, Some(3.0));
        assert_eq!(judged.clips[1].verdicts[0].unscorable.as_deref(), Some("too short"));
        let text = judged.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["mine", "2", "3.0000", "0.5000"]);
        assert_eq!(lines[3], ["total", "1.0000"]);
        assert_eq!(lines[6], ["mine", "2", "-", "-", "too", "short"]);
    }
}
