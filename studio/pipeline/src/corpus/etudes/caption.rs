//! Captions from attributes, in varied wording. A caption leaves much out; what it says is true.

use musicrl_core::random::{Key, Purpose, Stream};

use super::{
    attributes::{Attributes, Bass, Dynamics, Metre, Mode, Pattern, Percussion, TONICS, Texture},
    words,
};
use crate::corpus::Split;

/// A caption and the attributes that it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionedAttributes {
    /// The caption.
    pub caption: String,
    /// What it describes, and what it leaves out.
    pub attributes: Attributes,
}

/// The parts of a caption, before they are put in order.
struct Facts {
    /// Before the noun or behind it.
    adjectives: Vec<&'static str>,
    /// "drums", "a walking bass": joined behind "with".
    with: Vec<&'static str>,
    /// "over string chords".
    over: Option<String>,
    /// "in D minor".
    key: Option<String>,
    /// "growing louder", "at 72 bpm", "in 3/4 time".
    tail: Vec<String>,
}

fn pick(random: &mut Stream, words: &[&'static str]) -> &'static str {
    random.pick(words).copied().unwrap_or("")
}

/// "in D minor", "in a minor key", "in the dorian mode".
fn key(attributes: &Attributes, random: &mut Stream) -> String {
    let mode = attributes.mode.name();
    if random.chance(0.45) {
        format!("in {} {mode}", TONICS[usize::from(attributes.tonic) % 12])
    } else if matches!(attributes.mode, Mode::Major | Mode::Minor) {
        format!("in a {mode} key")
    } else {
        format!("in the {mode} mode")
    }
}

/// Chooses what to say. Captions of held-out combinations name what makes the combination: tempo and percussion, and the
/// lead that every caption names.
fn choose(attributes: &Attributes, random: &mut Stream) -> Facts {
    let held_out = attributes.split() == Split::HeldOut;
    let tempo = pick(random, words::tempo(attributes.tempo));
    let mut others: Vec<&'static str> = [
        words::dynamics(attributes.dynamics),
        words::brightness(attributes.brightness),
        words::density(attributes.density),
        words::articulation(attributes.articulation),
        words::mood(attributes),
    ]
    .into_iter()
    .filter(|choices| !choices.is_empty())
    .map(|choices| pick(random, choices))
    .collect();
    random.shuffle(&mut others);
    others.truncate(random.below(4));
    let mut adjectives = others;
    if held_out || random.chance(0.65) || adjectives.is_empty() {
        adjectives.push(tempo);
    }
    random.shuffle(&mut adjectives);

    let mut with = Vec::new();
    match attributes.bass {
        Bass::Walking if random.chance(0.7) => with.push("a walking bass"),
        Bass::Walking | Bass::Root if random.chance(0.55) => with.push(pick(random, &["bass", "a bass line"])),
        _ => {}
    }
    match attributes.percussion {
        Percussion::Drums if held_out || random.chance(0.8) => with.push(pick(random, &["drums", "a drum beat"])),
        Percussion::Shaker if held_out || random.chance(0.75) => with.push("a shaker"),
        _ => {}
    }
    random.shuffle(&mut with);
    let over = attributes.accompaniment.filter(|_| random.chance(0.7)).map(|(timbre, pattern)| {
        let name = words::attributive(timbre)[0];
        let form = match pattern {
            Pattern::Block => pick(random, &["chords", "block chords"]),
            Pattern::Arpeggio => "arpeggios",
            Pattern::Held => return format!("over {} {name} chords", pick(random, &["held", "long"])),
        };
        format!("over {name} {form}")
    });
    let key = random.chance(0.4).then(|| key(attributes, random));

    let mut tail = Vec::new();
    if attributes.dynamics == Dynamics::Crescendo && random.chance(0.7) {
        tail.push(pick(random, &["growing louder", "building from soft to loud", "with a crescendo"]).to_owned());
    }
    if attributes.metre == Metre::Three && random.chance(0.35) {
        tail.push(pick(random, &["in three-four time", "in 3/4 time"]).to_owned());
    }
    if random.chance(0.08) {
        tail.push(format!("at {} bpm", attributes.tempo_bpm));
    }
    if attributes.percussion == Percussion::None && (held_out || random.chance(0.25)) {
        tail.push(pick(random, &["without drums", "without percussion"]).to_owned());
    }
    Facts { adjectives, with, over, key, tail }
}

/// "a, b and c".
fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Puts one caption together.
fn caption(attributes: &Attributes, random: &mut Stream) -> String {
    let facts = choose(attributes, random);
    let lead = pick(random, words::attributive(attributes.lead));
    let player = pick(random, words::player(attributes.lead));
    let bare = player.trim_start_matches("a ");
    // Three adjectives before a noun at most; the rest follows.
    let (before, behind) = facts.adjectives.split_at(random.below(facts.adjectives.len() + 1).min(3));
    let before = before.join(if random.chance(0.6) { ", " } else { " " });
    let (singular, noun) = match attributes.texture {
        Texture::Melody => (true, pick(random, &["melody", "tune", "piece"])),
        Texture::Chords => (false, "chords"),
        Texture::Arpeggio => (false, "arpeggios"),
    };
    let waltz = attributes.metre == Metre::Three && random.chance(0.3);
    let piece = if waltz { "waltz" } else { pick(random, &["piece", "track"]) };
    let article = if singular { "a " } else { "" };
    let mut text = match random.below(9) {
        0 | 1 => format!("{article}{before} {lead} {noun}"),
        2 => format!("a {before} {piece} for {bare}"),
        3 => format!("{before} {lead} {noun}"),
        4 => format!("{player} playing {article}{before} {noun}"),
        5 if !waltz => format!("{before} music for {bare}"),
        6 if attributes.is_solo() => format!("{before} solo {lead} {piece}"),
        7 => format!("a {before} {lead} {piece}"),
        _ => format!("a {before} {piece} with {article}{lead} {noun}"),
    };
    let with = if facts.with.is_empty() {
        String::new()
    } else {
        // A second "with" in one breath would stumble.
        let joints: &[&str] = if text.contains(" with ") {
            &[" accompanied by ", " backed by ", " plus "]
        } else {
            &[" with ", " with ", " accompanied by ", " backed by "]
        };
        format!("{}{}", pick(random, joints), list(&facts.with))
    };
    let over = facts.over.map_or_else(String::new, |over| format!(" {over}"));
    let key = facts.key.map_or_else(String::new, |key| format!("{}{key}", pick(random, &[" ", ", "])));
    let parts = match random.below(4) {
        0 => [key, over, with],
        1 => [over, key, with],
        _ => [over, with, key],
    };
    text.push_str(&parts.concat());
    if !behind.is_empty() {
        text.push_str(", ");
        text.push_str(&list(behind));
    }
    for tail in &facts.tail {
        text.push_str(", ");
        text.push_str(tail);
    }
    tidy(&text)
}

/// One space between words, "an" before a vowel.
fn tidy(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut out = String::with_capacity(text.len());
    for (index, word) in words.iter().enumerate() {
        if index > 0 && *word != "," {
            out.push(' ');
        }
        let vowel = words.get(index + 1).is_some_and(|next| next.starts_with(['a', 'e', 'i', 'o', 'u']));
        out.push_str(if *word == "a" && vowel { "an" } else { word });
    }
    out
}

/// `count` wordings for clip `clip` of `seed`; some may be equal.
#[must_use]
pub fn captions(seed: u64, clip: u64, attributes: &Attributes, count: usize) -> Vec<String> {
    let key = Key::new(seed, Purpose::Caption).clip(clip);
    (0..count as u64).map(|wording| caption(attributes, &mut key.step(1 + wording).stream())).collect()
}

/// Up to `n` different captions of one split without audio, for reinforcement learning and evaluation. Fewer come only
/// when the wordings run out. Held-out captions name a combination of lead, tempo and percussion that no training clip
/// and no training caption has.
#[must_use]
pub fn caption_bank(seed: u64, n: usize, split: Split) -> Vec<CaptionedAttributes> {
    let mut seen = std::collections::BTreeSet::new();
    let mut bank = Vec::with_capacity(n);
    for clip in 0..20 * n as u64 {
        if bank.len() == n {
            break;
        }
        // Numbers of their own: step 0 is not a wording, and corpora draw under another purpose.
        let attributes = Attributes::draw(&mut Key::new(seed, Purpose::Caption).clip(clip).stream(), split);
        let caption = caption(&attributes, &mut Key::new(seed, Purpose::Caption).clip(clip).step(1).stream());
        if seen.insert(caption.clone()) {
            bank.push(CaptionedAttributes { caption, attributes });
        }
    }
    bank
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::corpus::etudes::attributes::{Articulation, Brightness, Density, Tempo, Timbre};

    /// True where a word of a caption follows from the attributes; the words before it decide whose it is.
    fn holds(word: &str, before: &[&str], attributes: &Attributes) -> Option<bool> {
        let over = before.iter().rev().take(2).any(|word| *word == "over");
        let last = before.last().copied().unwrap_or("");
        let timbre = |timbre: Timbre| {
            if over {
                attributes.accompaniment.is_some_and(|(other, _)| other == timbre)
            } else {
                attributes.lead == timbre
            }
        };
        let pattern = |pattern: Pattern| attributes.accompaniment.is_some_and(|(_, other)| other == pattern);
        let behind_over = before.iter().rev().take(3).any(|word| *word == "over");
        Some(match word {
            "a" | "an" | "and" | "with" | "plus" | "for" | "over" | "in" | "the" | "key" | "mode" | "at" | "bpm"
            | "accompanied" | "backed" | "by" | "piece" | "track" | "music" | "playing" | "time" | "line"
            | "section" | "to" | "from" => true,
            "slow" | "unhurried" | "slow-paced" => attributes.tempo == Tempo::Slow,
            "mid-tempo" | "moderate" | "medium-paced" => attributes.tempo == Tempo::Moderate,
            "fast" | "quick" | "fast-paced" => attributes.tempo == Tempo::Fast,
            "growing" | "louder" | "building" | "crescendo" => attributes.dynamics == Dynamics::Crescendo,
            "soft" | "loud" if matches!(last, "from" | "to") => attributes.dynamics == Dynamics::Crescendo,
            "soft" | "quiet" | "hushed" => attributes.dynamics == Dynamics::Soft,
            "loud" | "forceful" => attributes.dynamics == Dynamics::Loud,
            "dark" | "muffled" | "mellow" => attributes.brightness == Brightness::Dark,
            "bright" | "brilliant" | "crisp" => attributes.brightness == Brightness::Bright,
            "sparse" | "spacious" => attributes.density == Density::Sparse,
            "busy" | "dense" => attributes.density == Density::Dense,
            "staccato" | "detached" => attributes.articulation == Articulation::Staccato,
            "legato" | "smooth" | "flowing" => attributes.articulation == Articulation::Legato,
            "cheerful" | "happy" => {
                attributes.mode.has_major_third()
                    && attributes.tempo == Tempo::Fast
                    && attributes.dynamics != Dynamics::Soft
            }
            "sad" | "melancholy" => !attributes.mode.has_major_third() && attributes.tempo == Tempo::Slow,
            "calm" | "peaceful" => {
                attributes.mode.has_major_third()
                    && attributes.tempo == Tempo::Slow
                    && attributes.dynamics == Dynamics::Soft
            }
            "energetic" | "driving" => attributes.tempo == Tempo::Fast && attributes.percussion == Percussion::Drums,
            "tense" | "dramatic" => {
                !attributes.mode.has_major_third()
                    && attributes.tempo == Tempo::Fast
                    && attributes.dynamics == Dynamics::Loud
            }
            "solo" => attributes.is_solo(),
            "guitar" | "plucked" => timbre(Timbre::Guitar),
            "piano" => timbre(Timbre::Piano),
            "organ" | "pipe" => timbre(Timbre::Organ),
            "flute" => timbre(Timbre::Flute),
            "bells" | "bell" => timbre(Timbre::Bells),
            "trumpet" | "brass" => timbre(Timbre::Trumpet),
            "strings" | "string" => timbre(Timbre::Strings),
            "marimba" => timbre(Timbre::Marimba),
            "clarinet" => timbre(Timbre::Clarinet),
            "synth" | "synthesizer" => timbre(Timbre::Synth),
            "melody" | "tune" => attributes.texture == Texture::Melody,
            "held" | "long" => pattern(Pattern::Held),
            "block" => pattern(Pattern::Block),
            "chords" if behind_over => pattern(Pattern::Block) || pattern(Pattern::Held),
            "arpeggios" if behind_over => pattern(Pattern::Arpeggio),
            "chords" => attributes.texture == Texture::Chords,
            "arpeggios" => attributes.texture == Texture::Arpeggio,
            "walking" => attributes.bass == Bass::Walking,
            "bass" => attributes.bass != Bass::None,
            "without" => attributes.percussion == Percussion::None,
            "drums" | "percussion" if last == "without" => attributes.percussion == Percussion::None,
            "drums" | "drum" | "beat" => attributes.percussion == Percussion::Drums,
            "shaker" => attributes.percussion == Percussion::Shaker,
            "waltz" | "three-four" | "3/4" => attributes.metre == Metre::Three,
            "flat" | "sharp" => TONICS[usize::from(attributes.tonic)] == format!("{last} {word}"),
            "C" | "D" | "E" | "F" | "G" | "A" | "B" => TONICS[usize::from(attributes.tonic)].starts_with(word),
            number if number.parse::<u16>().is_ok() => number.parse() == Ok(attributes.tempo_bpm),
            mode => Mode::ALL.iter().find(|other| other.name() == mode).map(|&other| other == attributes.mode)?,
        })
    }

    fn check(caption: &str, attributes: &Attributes) {
        let text = caption.replace(',', "");
        let words: Vec<&str> = text.split(' ').collect();
        for (index, word) in words.iter().enumerate() {
            assert_eq!(holds(word, &words[..index], attributes), Some(true), "`{word}` in `{caption}`: {attributes:?}");
        }
        assert!(!caption.contains("  ") && !caption.contains(" ,") && !caption.contains(",,"), "{caption}");
        assert!(!caption.starts_with([',', ' ']) && !caption.ends_with([',', ' ']), "{caption}");
    }

    #[test]
    fn captions_do_not_lie() {
        for split in [Split::Train, Split::HeldOut] {
            for item in caption_bank(3, 3000, split) {
                check(&item.caption, &item.attributes);
            }
        }
    }

    #[test]
    fn captions_vary() {
        let bank = caption_bank(1, 2000, Split::Train);
        assert_eq!(bank.len(), 2000);
        let words: BTreeSet<&str> =
            bank.iter().flat_map(|item| item.caption.split([' ', ','])).filter(|word| word.len() > 1).collect();
        assert!(words.len() > 90, "{}", words.len());
        let attributes = bank[0].attributes;
        let wordings: BTreeSet<String> = captions(1, 0, &attributes, 50).into_iter().collect();
        assert!(wordings.len() > 40, "{}", wordings.len());
    }

    #[test]
    fn held_out_captions_name_combinations_that_training_has_not() {
        let train: BTreeSet<String> =
            caption_bank(1, 4000, Split::Train).into_iter().map(|item| item.caption).collect();
        for item in caption_bank(1, 500, Split::HeldOut) {
            assert!(!train.contains(&item.caption), "{}", item.caption);
            // Whoever reads the caption alone knows lead, tempo and percussion.
            let says = |words: &[&str]| words.iter().any(|word| item.caption.contains(word));
            assert!(says(words::tempo(item.attributes.tempo)), "{}", item.caption);
            assert!(says(words::attributive(item.attributes.lead)) || says(words::player(item.attributes.lead)));
            let percussion: &[&str] = match item.attributes.percussion {
                Percussion::None => &["without"],
                Percussion::Drums => &["drum"],
                Percussion::Shaker => &["shaker"],
            };
            assert!(says(percussion), "{}", item.caption);
        }
    }

    #[test]
    fn articles_and_lists() {
        assert_eq!(tidy("a  unhurried organ piece"), "an unhurried organ piece");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list(&["a"]), "a");
    }
}
