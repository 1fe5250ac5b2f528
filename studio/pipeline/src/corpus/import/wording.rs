//! Captions where nobody wrote any: from tags, else from the file's name.
//!
//! With S = "\[measured words,\] \[mood\] \[genre\] music \[at B beats a minute\]" in lower case, tags give up to three
//! captions: S (if it says more than "music"), "S: TITLE, by ARTIST", and "S: COMMENT" (unless the comment is an
//! address). Without tags it is "S: NAME" with the words of the file's name, or the name alone if nothing was measured.

use std::collections::BTreeMap;

use musicrl_codec::decode::Tags;

/// S of the module's notes, and whether it says more than "music".
fn sound(tags: &Tags, measured: &[&str]) -> (String, bool) {
    let mut words = Vec::new();
    if !measured.is_empty() {
        words.push(measured.join(", "));
    }
    words.extend([&tags.mood, &tags.genre].into_iter().flatten().map(|words| words.to_lowercase()));
    if !words.last().is_some_and(|last| last.ends_with("music")) {
        words.push("music".into());
    }
    if let Some(bpm) = tags.bpm {
        words.push(format!("at {bpm:.0} beats a minute"));
    }
    let sound = words.join(" ");
    let says_something = sound != "music";
    (sound, says_something)
}

/// Captions from tags and the words that were measured; empty only if both are.
#[must_use]
pub fn of_tags(tags: &Tags, measured: &[&str]) -> Vec<String> {
    let (sound, says_something) = sound(tags, measured);
    let mut captions = Vec::new();
    if says_something {
        captions.push(sound.clone());
    }
    match (&tags.title, &tags.artist) {
        (Some(title), Some(artist)) => captions.push(format!("{sound}: {title}, by {artist}")),
        (Some(title), None) => captions.push(format!("{sound}: {title}")),
        (None, Some(artist)) => captions.push(format!("{sound} by {artist}")),
        (None, None) => {}
    }
    let is_address = |text: &str| text.contains("://") || text.starts_with("www.");
    if let Some(comment) = tags.comment.as_deref().filter(|comment| !is_address(comment)) {
        captions.push(format!("{sound}: {comment}"));
    }
    if captions.is_empty() {
        captions.extend(tags.album.as_ref().map(|album| format!("{sound} from {album}")));
    }
    captions
}

/// Captions from the words of a file's name (without folders, ending and leading track numbers) and those that were
/// measured; empty if neither has any.
#[must_use]
pub fn of_name(name: &str, measured: &[&str]) -> Vec<String> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let words: Vec<&str> = stem.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|w| !w.is_empty()).collect();
    let is_number = |word: &&str| word.chars().all(|c| c.is_ascii_digit());
    let first = words.iter().position(|word| !is_number(word)).unwrap_or(words.len());
    let caption = words[first..].join(" ").to_lowercase();
    let (sound, says_something) = sound(&Tags::default(), measured);
    match (says_something, caption.is_empty()) {
        (true, true) => vec![sound],
        (true, false) => vec![format!("{sound}: {caption}")],
        (false, true) => Vec::new(),
        (false, false) => vec![caption],
    }
}

/// Tags as attributes of a clip.
#[must_use]
pub fn attributes(tags: &Tags) -> BTreeMap<String, String> {
    let text = [
        ("title", &tags.title),
        ("artist", &tags.artist),
        ("album", &tags.album),
        ("genre", &tags.genre),
        ("mood", &tags.mood),
    ];
    let mut attributes: BTreeMap<String, String> =
        text.into_iter().filter_map(|(key, value)| Some((key.into(), value.clone()?))).collect();
    if let Some(bpm) = tags.bpm {
        attributes.insert("bpm".into(), bpm.to_string());
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_in_words() {
        let tags = Tags {
            title: Some("Battle Epic".into()),
            artist: Some("A. Composer".into()),
            genre: Some("Romantic Classical".into()),
            bpm: Some(92.4),
            comment: Some("https://example.org".into()),
            ..Tags::default()
        };
        assert_eq!(
            of_tags(&tags, &[]),
            [
                "romantic classical music at 92 beats a minute",
                "romantic classical music at 92 beats a minute: Battle Epic, by A. Composer",
            ]
        );
        let title = Tags { title: Some("Rain".into()), comment: Some("for sad scenes".into()), ..Tags::default() };
        assert_eq!(of_tags(&title, &[]), ["music: Rain", "music: for sad scenes"]);
        let genre = Tags { genre: Some("Folk Music".into()), mood: Some("Calm".into()), ..Tags::default() };
        assert_eq!(of_tags(&genre, &[]), ["calm folk music"]);
        let album = Tags { album: Some("Songs".into()), ..Tags::default() };
        assert_eq!(of_tags(&album, &[]), ["music from Songs"]);
        assert!(of_tags(&Tags::default(), &[]).is_empty());
        assert_eq!(of_tags(&genre, &["loud", "steady"]), ["loud, steady calm folk music"]);
        assert_eq!(of_tags(&album, &["loud"]), ["loud music"]);
    }

    #[test]
    fn names_in_words() {
        for (name, expected) in [
            ("disc 1/03 - the_deep_path.ogg", "the deep path"),
            ("Elvish-Theme.v2.flac", "elvish theme v2"),
            ("journey's end.ogg", "journey's end"),
        ] {
            assert_eq!(of_name(name, &[]), [expected]);
        }
        assert!(of_name("0012.wav", &[]).is_empty());
        assert_eq!(of_name("0012.wav", &["quiet"]), ["quiet music"]);
        assert_eq!(of_name("rain.wav", &["quiet", "dark"]), ["quiet, dark music: rain"]);
    }
}
