//! The few tags that captions are made of.

use serde::{Deserialize, Serialize};
use symphonia::core::meta::{MetadataRevision, StandardTag, Tag};

/// Longest text kept of one tag, in characters: comments can hold whole lyrics or cue sheets.
const TEXT_CHARS_MAX: usize = 500;

/// What a file says about its music. Text is trimmed, of one line, and never empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tags {
    /// Title of the track.
    pub title: Option<String>,
    /// Performer, or else composer.
    pub artist: Option<String>,
    /// Album or collection.
    pub album: Option<String>,
    /// Genre; several are joined by ", ".
    pub genre: Option<String>,
    /// Mood.
    pub mood: Option<String>,
    /// Beats a minute, positive and finite.
    pub bpm: Option<f64>,
    /// Comment or description.
    pub comment: Option<String>,
}

impl Tags {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a revision; what is already known stays.
    pub(super) fn add_revision(&mut self, revision: &MetadataRevision) {
        let of_tracks = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
        for tag in revision.media.tags.iter().chain(of_tracks) {
            match &tag.std {
                Some(standard) => self.add_standard(standard),
                None => self.add_raw(tag),
            }
        }
    }

    fn add_standard(&mut self, tag: &StandardTag) {
        match tag {
            StandardTag::TrackTitle(text) => first(&mut self.title, text),
            StandardTag::Artist(text) => first(&mut self.artist, text),
            StandardTag::Composer(text) | StandardTag::AlbumArtist(text) => first(&mut self.artist, text),
            StandardTag::Album(text) => first(&mut self.album, text),
            StandardTag::Genre(text) => join(&mut self.genre, text),
            StandardTag::Mood(text) => join(&mut self.mood, text),
            StandardTag::Comment(text) | StandardTag::Description(text) => first(&mut self.comment, text),
            StandardTag::Bpm(bpm) if *bpm > 0 => self.bpm = self.bpm.or(Some(*bpm as f64)),
            _ => {}
        }
    }

    /// A key that the reader did not recognise, e.g. a tempo with a fraction.
    fn add_raw(&mut self, tag: &Tag) {
        self.add_comment_field(&tag.raw.key, &tag.raw.value.to_string());
    }

    /// One `KEY=value` field of a Vorbis comment (Ogg Vorbis, Opus, FLAC).
    pub(crate) fn add_comment_field(&mut self, key: &str, value: &str) {
        match key.to_ascii_uppercase().as_str() {
            "TITLE" => first(&mut self.title, value),
            "ARTIST" | "COMPOSER" | "ALBUMARTIST" => first(&mut self.artist, value),
            "ALBUM" => first(&mut self.album, value),
            "GENRE" => join(&mut self.genre, value),
            "MOOD" => join(&mut self.mood, value),
            "COMMENT" | "DESCRIPTION" => first(&mut self.comment, value),
            "BPM" | "TBPM" | "TEMPO" => {
                let bpm = value.trim().parse::<f64>().ok().filter(|bpm| bpm.is_finite() && *bpm > 0.0);
                self.bpm = self.bpm.or(bpm);
            }
            _ => {}
        }
    }
}

/// One line without control characters, at most [`TEXT_CHARS_MAX`] long; `None` if nothing is left.
fn clean(text: &str) -> Option<String> {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4 * TEXT_CHARS_MAX).collect();
    let line: String = spaced.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TEXT_CHARS_MAX).collect();
    (!line.is_empty()).then_some(line)
}

fn first(field: &mut Option<String>, text: &str) {
    if field.is_none() {
        *field = clean(text);
    }
}

fn join(field: &mut Option<String>, text: &str) {
    let Some(text) = clean(text) else { return };
    match field {
        None => *field = Some(text),
        Some(known) if known.split(", ").any(|part| part == text) => {}
        Some(known) if known.len() + text.len() < TEXT_CHARS_MAX => *known = format!("{known}, {text}"),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cleaned_joined_and_the_first_wins() {
        let mut tags = Tags::default();
        for (key, value) in [
            ("title", "  Over the\nHills \u{0} "),
            ("TITLE", "second"),
            ("Genre", "folk"),
            ("GENRE", "orchestral"),
            ("genre", "folk"),
            ("bpm", "-3"),
            ("BPM", "NaN"),
            ("TEMPO", "92.5"),
            ("COMMENT", " \t "),
            ("UNKNOWN", "x"),
        ] {
            tags.add_comment_field(key, value);
        }
        let expected = Tags {
            title: Some("Over the Hills".into()),
            genre: Some("folk, orchestral".into()),
            bpm: Some(92.5),
            ..Tags::default()
        };
        assert_eq!(tags, expected);
        assert!(!tags.is_empty());
        let mut long = Tags::default();
        long.add_comment_field("COMMENT", &"ä".repeat(10_000));
        assert_eq!(long.comment.map(|text| text.chars().count()), Some(TEXT_CHARS_MAX));
    }
}
