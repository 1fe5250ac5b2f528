//! Captions to hash buckets: a vocabulary that is never closed.
//!
//! A word becomes its own bucket and the buckets of its character trigrams, so that words that were never seen and
//! words that are misspelt still land near their relatives (Bojanowski et al., "Enriching word vectors with subword
//! information", TACL 2017). There is no table to ship and nothing to go out of date: the hash is FNV-1a (64 bits,
//! <http://www.isthe.com/chongo/tech/comp/fnv/>), fixed here for ever because trained weights depend on it.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Settings of [`TextTokeniser`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextTokeniserConfig {
    /// Buckets that whole words are hashed into; bucket 0 is kept for "no words at all".
    pub word_buckets: usize,
    /// Buckets that character trigrams are hashed into.
    pub trigram_buckets: usize,
    /// Words that are read; the rest of a longer prompt is ignored.
    pub words_max: usize,
    /// Characters of a word that are read.
    pub word_chars_max: usize,
}

impl Default for TextTokeniserConfig {
    fn default() -> Self {
        Self { word_buckets: 1024, trigram_buckets: 2048, words_max: 40, word_chars_max: 24 }
    }
}

impl TextTokeniserConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            ("tokeniser.word_buckets", self.word_buckets, 2, 1 << 24),
            ("tokeniser.trigram_buckets", self.trigram_buckets, 1, 1 << 24),
            ("tokeniser.words_max", self.words_max, 1, 4096),
            ("tokeniser.word_chars_max", self.word_chars_max, 1, 256),
        ];
        for (field, got, low, high) in rules {
            if !(low..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from {low} to {high}"), got: got.to_string() });
            }
        }
        Ok(())
    }

    /// The tokeniser of these settings.
    ///
    /// # Errors
    /// As [`TextTokeniserConfig::validate`].
    pub fn init(&self) -> Result<TextTokeniser> {
        self.validate()?;
        Ok(TextTokeniser { config: self.clone() })
    }
}

/// One word as buckets of one common table: words first, then trigrams.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// The word's own bucket, below `word_buckets`.
    pub word: u32,
    /// Its trigrams' buckets, from `word_buckets` on; empty for the word that stands for an empty prompt.
    pub trigrams: Vec<u32>,
}

/// Splits and hashes captions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTokeniser {
    config: TextTokeniserConfig,
}

impl TextTokeniser {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> &TextTokeniserConfig {
        &self.config
    }

    /// Rows of the table that the buckets index.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.config.word_buckets + self.config.trigram_buckets
    }

    /// The words of a prompt: from 1 to `words_max`, whatever the prompt is.
    #[must_use]
    pub fn tokenise(&self, prompt: &str) -> Vec<Word> {
        let words = split_words(prompt, self.config.words_max, self.config.word_chars_max);
        if words.is_empty() {
            return vec![Word { word: 0, trigrams: Vec::new() }];
        }
        words.iter().map(|word| self.hash_word(word)).collect()
    }

    fn hash_word(&self, word: &str) -> Word {
        let (words, trigrams) = (self.config.word_buckets as u64, self.config.trigram_buckets as u64);
        // The ends of the word are part of its trigrams: `^` and `$` never occur inside a word.
        let padded: Vec<char> = std::iter::once('^').chain(word.chars()).chain(std::iter::once('$')).collect();
        let bucket = |gram: &[char]| {
            let text: String = gram.iter().collect();
            (words + fnv1a(b't', &text) % trigrams) as u32
        };
        Word { word: (1 + fnv1a(b'w', word) % (words - 1)) as u32, trigrams: padded.windows(3).map(bucket).collect() }
    }
}

/// FNV-1a over a tag byte (words and trigrams never share hashes) and the UTF-8 bytes, the high half folded in because
/// a remainder by a power of two sees only low bits.
fn fnv1a(tag: u8, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    let hash = text.bytes().fold(step(0xCBF2_9CE4_8422_2325, tag), step);
    hash ^ (hash >> 32)
}

/// Lower-cased words. A word is a run of letters and digits; sharps and flats belong to it ("f#", "b♭"), apostrophes
/// and combining marks inside it are dropped, and every ideograph or kana is a word of its own, since scripts without
/// spaces would otherwise be one long word.
fn split_words(prompt: &str, words_max: usize, word_chars_max: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = 0;
    for original in prompt.chars() {
        for char in original.to_lowercase() {
            if words.len() == words_max {
                return words;
            }
            let char = match char {
                '♯' => '#',
                '♭' => 'b',
                other => other,
            };
            match kind(char, word.is_empty()) {
                Kind::Inside => {
                    if chars < word_chars_max {
                        word.push(char);
                        chars += 1;
                    }
                }
                Kind::Dropped => {}
                Kind::Alone => {
                    end_word(&mut words, &mut word, &mut chars);
                    if words.len() < words_max {
                        words.push(char.to_string());
                    }
                }
                Kind::Between => end_word(&mut words, &mut word, &mut chars),
            }
        }
    }
    if words.len() < words_max {
        end_word(&mut words, &mut word, &mut chars);
    }
    words
}

fn end_word(words: &mut Vec<String>, word: &mut String, chars: &mut usize) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
    *chars = 0;
}

enum Kind {
    Inside,
    Dropped,
    Alone,
    Between,
}

fn kind(char: char, at_start: bool) -> Kind {
    match char {
        '\u{0300}'..='\u{036F}' | '\'' | '\u{2019}' => Kind::Dropped,
        '\u{3040}'..='\u{30FF}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}' => Kind::Alone,
        // A hash after a letter is a sharp; before one it is a tag.
        '#' if !at_start => Kind::Inside,
        char if char.is_alphanumeric() => Kind::Inside,
        _ => Kind::Between,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokeniser() -> TextTokeniser {
        TextTokeniserConfig::default().init().unwrap()
    }

    fn check(prompt: &str, expected: &[&str]) {
        assert_eq!(split_words(prompt, 40, 24), expected, "{prompt:?}");
    }

    #[test]
    fn words_are_split_as_documented() {
        check("A calm PIANO piece, in F# minor!", &["a", "calm", "piano", "piece", "in", "f#", "minor"]);
        check("b♭ major; 3/4 time", &["bb", "major", "3", "4", "time"]);
        check("don't stop #jazz", &["dont", "stop", "jazz"]);
        check("cafe\u{301} ÄRGER", &["cafe", "ärger"]);
        check("静かなピアノ", &["静", "か", "な", "ピ", "ア", "ノ"]);
        check(" \u{0}\u{7}\t\n\u{feff} ", &[]);
        check("", &[]);
        check(&"x".repeat(100), &[&"x".repeat(24)]);
    }

    #[test]
    fn hashes_are_the_published_function() {
        // FNV-1a of "foobar" is 0x85944171f73967e8: the tag is the first byte of the hashed text.
        let hash = 0x8594_4171_F739_67E8_u64;
        assert_eq!(fnv1a(b'f', "oobar"), hash ^ (hash >> 32));
    }

    #[test]
    fn an_empty_prompt_has_a_word_of_its_own() {
        let tokeniser = tokeniser();
        for prompt in ["", " ", "\u{0}\u{1}", "...!?"] {
            assert_eq!(tokeniser.tokenise(prompt), [Word { word: 0, trigrams: Vec::new() }], "{prompt:?}");
        }
        assert!(tokeniser.tokenise("a").iter().all(|word| word.word > 0 && word.trigrams.len() == 1));
    }

    #[test]
    fn a_typo_keeps_most_trigrams() {
        let tokeniser = tokeniser();
        let trigrams = |word: &str| tokeniser.tokenise(word)[0].trigrams.clone();
        let (right, typo) = (trigrams("saxophone"), trigrams("saxophon"));
        let shared = typo.iter().filter(|gram| right.contains(gram)).count();
        assert!(2 * shared > right.len(), "{shared} of {}", right.len());
        assert_ne!(tokeniser.tokenise("saxophone")[0].word, tokeniser.tokenise("saxophon")[0].word);
    }

    #[test]
    fn bad_settings_are_named() {
        for (config, field) in [
            (TextTokeniserConfig { word_buckets: 1, ..Default::default() }, "tokeniser.word_buckets"),
            (TextTokeniserConfig { trigram_buckets: 0, ..Default::default() }, "tokeniser.trigram_buckets"),
            (TextTokeniserConfig { words_max: 0, ..Default::default() }, "tokeniser.words_max"),
            (TextTokeniserConfig { word_chars_max: 1000, ..Default::default() }, "tokeniser.word_chars_max"),
        ] {
            assert!(config.init().unwrap_err().to_string().contains(field), "{field}");
        }
    }

    proptest! {
        #[test]
        fn any_prompt_gives_bounded_words(prompt in "\\PC{0,200}|[\\x00-\\x20a-z#']{0,300}|(.|\\n){0,100}") {
            let tokeniser = tokeniser();
            let words = tokeniser.tokenise(&prompt);
            let config = tokeniser.config();
            prop_assert!((1..=config.words_max).contains(&words.len()));
            for word in &words {
                prop_assert!((word.word as usize) < config.word_buckets);
                prop_assert!(word.trigrams.len() <= config.word_chars_max);
                for gram in &word.trigrams {
                    prop_assert!((config.word_buckets..tokeniser.buckets()).contains(&(*gram as usize)));
                }
            }
            prop_assert_eq!(&words, &tokeniser.tokenise(&prompt));
        }

        #[test]
        fn case_and_punctuation_do_not_matter(words in proptest::collection::vec("[a-z]{1,10}", 1..10)) {
            let tokeniser = tokeniser();
            let plain = words.join(" ");
            let shouted = format!("«{}!»", words.join(", ").to_uppercase());
            prop_assert_eq!(tokeniser.tokenise(&plain), tokeniser.tokenise(&shouted));
        }
    }
}
