//! Clips to hear: the same prompts by every system, inside the page.

use std::path::Path;

use musicrl_codec::{audio::Audio, decode::decode_file, opus::encode_ogg};

use super::frame::Page;
use crate::{
    Error, Result,
    figure::base64,
    report::{ReportSettings, read::PromptClips},
};

/// A clip, or why there is none.
type Sound = std::result::Result<String, String>;

/// Who played it, what more there is to say of it, and the clip as a data URI.
type Player = (String, String, Sound);

/// Clips in the form that the page holds.
#[derive(Debug, Default)]
pub(in crate::report) struct Heard {
    /// Captions and who played them.
    pub prompts: Vec<(String, Vec<Player>)>,
    /// Clips inside the page.
    pub clips: usize,
    /// Prompts that are not, and why.
    pub left_out: Option<String>,
    /// Clips that could not be read.
    pub notes: Vec<String>,
}

/// Encodes the clips prompt by prompt, each for all systems, until the page is full. A file that is no sound costs its own
/// place alone.
///
/// # Errors
/// When a sound that was read cannot be encoded.
pub(in crate::report) fn encode(prompts: &[PromptClips], settings: &ReportSettings) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut used = 0;
    for (at, prompt) in prompts.iter().enumerate() {
        let mut clips = Vec::with_capacity(prompt.clips.len());
        let (mut bytes, mut sounds) = (0, 0);
        let full = at >= settings.prompts;
        for (system, more, path) in prompt.clips.iter().filter(|_| !full) {
            let sound = data_uri(path, settings.bitrate_bps)?;
            match &sound {
                Ok(uri) => (bytes, sounds) = (bytes + uri.len(), sounds + 1),
                Err(reason) => heard.notes.push(reason.clone()),
            }
            clips.push((system.clone(), more.clone(), sound));
        }
        if full || used + bytes > settings.audio_bytes {
            let why = if full {
                format!("the page holds at most {} prompts", settings.prompts)
            } else {
                format!("the clips would take more than {:.0} MB", settings.audio_bytes as f64 / 1e6)
            };
            heard.left_out = Some(format!("{} of {} prompts are left out: {why}.", prompts.len() - at, prompts.len()));
            break;
        }
        (used, heard.clips) = (used + bytes, heard.clips + sounds);
        heard.prompts.push((prompt.caption.clone(), clips));
    }
    Ok(heard)
}

fn data_uri(path: &Path, bitrate_bps: u32) -> Result<Sound> {
    let decoded = match decode_file(path) {
        Ok(decoded) => decoded,
        Err(error) => return Ok(Err(format!("{error}; it cannot be heard here"))),
    };
    let mono = Audio::from_mono(decoded.audio.mono(), decoded.audio.sample_rate_hz);
    let bytes = encode_ogg(&mono, bitrate_bps, &[]).map_err(Error::from)?;
    Ok(Ok(format!("data:audio/ogg;base64,{}", base64(&bytes))))
}

/// The players; nothing where there is no clip.
pub(in crate::report) fn players_section(page: &mut Page, heard: &Heard, origin: &str) {
    if heard.prompts.is_empty() && heard.left_out.is_none() {
        return;
    }
    page.section("clips", "Clips", |page| {
        page.html.p(&format!("The same prompts by each system: {origin}. Ogg Opus, mono."));
        for (caption, clips) in &heard.prompts {
            page.html.element("div", &[("class", "prompt")], |html| {
                html.p(caption);
                html.element("div", &[("class", "clips")], |html| {
                    for (system, more, sound) in clips {
                        html.element("div", &[], |html| {
                            let more = if more.is_empty() { String::new() } else { format!(" ({more})") };
                            html.leaf("span", &[], &format!("{system}{more}"));
                            match sound {
                                Ok(uri) => {
                                    let label = format!("{system}: {caption}");
                                    let player = [
                                        ("controls", ""),
                                        ("preload", "none"),
                                        ("src", uri.as_str()),
                                        ("aria-label", label.as_str()),
                                    ];
                                    html.element("audio", &player, |_| {});
                                }
                                Err(reason) => html.leaf("span", &[("class", "soft")], reason),
                            }
                        });
                    }
                });
            });
        }
        if let Some(left_out) = &heard.left_out {
            page.html.leaf("p", &[("class", "soft")], left_out);
        }
    });
}
