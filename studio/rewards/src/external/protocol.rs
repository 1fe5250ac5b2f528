//! What an external judge is asked and what it may answer: one JSON object a clip.

use std::collections::BTreeMap;

use musicrl_core::reward::{Clip, Score};
use serde::Serialize;
use serde_json::Value;

/// How much of a judge's words goes into a message.
const EXCERPT_CHARS: usize = 200;

/// One clip as a judge is asked about it.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    id: u64,
    caption: &'a str,
    /// The path of a WAV file.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<&'a str>,
    /// A WAV file in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_rate_hz: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<&'a [u32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<usize>,
    /// Requests of the same batch that follow; after 0 nothing comes before all answers are there.
    remaining: usize,
}

/// The sound of a request.
pub(super) enum Sound<'a> {
    /// The path of a WAV file.
    Path(&'a str),
    /// A WAV file in base64.
    Base64(String),
    /// None is wanted.
    None,
}

/// A batch between its questions and its answers.
pub(super) struct Batch<'a> {
    clips: &'a [Clip<'a>],
    /// The clip of each id that was asked and not answered.
    open: BTreeMap<u64, usize>,
    scores: Vec<Option<Score>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(clips: &'a [Clip<'a>]) -> Self {
        Self { clips, open: BTreeMap::new(), scores: vec![None; clips.len()] }
    }

    pub(super) fn clips(&self) -> &'a [Clip<'a>] {
        self.clips
    }

    /// The answers so far; a reason that is put here is one.
    pub(super) fn scores(&mut self) -> &mut [Option<Score>] {
        &mut self.scores
    }

    /// Clips without an answer.
    pub(super) fn left(&self) -> usize {
        self.scores.iter().filter(|score| score.is_none()).count()
    }

    /// Requests for all clips without an answer, under new ids. Answers to earlier ids are no longer known.
    pub(super) fn requests(
        &mut self,
        next_id: &mut u64,
        tokens: bool,
        mut sound: impl FnMut(usize, &Clip<'a>) -> Sound<'a>,
    ) -> Vec<Request<'a>> {
        self.open.clear();
        let left: Vec<usize> = (0..self.clips.len()).filter(|at| self.scores[*at].is_none()).collect();
        let mut requests = Vec::with_capacity(left.len());
        for (done, at) in left.iter().enumerate() {
            let clip = &self.clips[*at];
            let (audio, audio_base64) = match sound(*at, clip) {
                Sound::Path(path) => (Some(path), None),
                Sound::Base64(text) => (None, Some(text)),
                Sound::None => (None, None),
            };
            let heard = audio.is_some() || audio_base64.is_some();
            let id = *next_id;
            *next_id = next_id.wrapping_add(1);
            self.open.insert(id, *at);
            requests.push(Request {
                id,
                caption: clip.caption,
                audio,
                audio_base64,
                sample_rate_hz: clip.audio.filter(|_| heard).map(|audio| audio.sample_rate_hz),
                tokens: tokens.then_some(clip.tokens.ids),
                slots: tokens.then_some(clip.tokens.slots),
                remaining: left.len() - done - 1,
            });
        }
        requests
    }

    /// Takes one answer of the judge.
    ///
    /// # Errors
    /// In words, when the answer breaks the protocol.
    pub(super) fn take(&mut self, answer: &Value) -> Result<(), String> {
        let broken = |what: &str| Err(format!("{what}: {}", excerpt(&answer.to_string())));
        let Value::Object(answer_object) = answer else { return broken("an answer is no JSON object") };
        let id = match answer_object.get("id") {
            Some(id) => id.as_u64(),
            None => return broken("an answer has no `id`"),
        };
        let Some(at) = id.and_then(|id| self.open.remove(&id)) else {
            return broken("an answer's `id` was not asked, or is answered twice");
        };
        let score = match (answer_object.get("score"), answer_object.get("unscorable")) {
            (Some(Value::Number(number)), None) => match number.as_f64().filter(|value| value.is_finite()) {
                Some(value) => Score::Value(value),
                None => Score::Unscorable(format!("its score is {number}, which is no finite number")),
            },
            // Where JSON has no word for it (NaN, infinity), programs write null.
            (Some(Value::Null), None) => Score::Unscorable("its score is no finite number".into()),
            (None, Some(Value::String(reason))) => Score::Unscorable(excerpt(reason)),
            (Some(_), Some(_)) => return broken("an answer has both `score` and `unscorable`"),
            (Some(_), None) => return broken("an answer's `score` is no number"),
            (None, Some(_)) => return broken("an answer's `unscorable` is no text"),
            (None, None) => return broken("an answer has neither `score` nor `unscorable`"),
        };
        self.scores[at] = Some(score);
        Ok(())
    }

    /// The scores, in the order of the clips. Those that were never given are unscorable.
    pub(super) fn finish(self) -> Vec<Score> {
        self.scores.into_iter().map(|score| score.unwrap_or_else(|| Score::Unscorable("no answer".into()))).collect()
    }
}

/// JSON text as a value. `NaN` and `Infinity`, which no JSON has and many programs write, are null.
///
/// # Errors
/// In words, with the beginning of what came.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let first = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    serde_json::from_str(&without_non_finite(text)).map_err(|_| format!("{first}: {}", excerpt(text)))
}

/// The text with the words NaN, Infinity, inf and their negatives outside of strings replaced by null.
fn without_non_finite(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !in_string {
            let word = ["-Infinity", "Infinity", "-NaN", "NaN", "-inf", "inf", "nan"]
                .into_iter()
                .find(|word| rest.starts_with(word) && !rest[word.len()..].starts_with(char::is_alphanumeric));
            if let Some(word) = word {
                output += "null";
                rest = &rest[word.len()..];
                continue;
            }
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        output.push(c);
        rest = &rest[c.len_utf8()..];
    }
    output
}

/// The beginning of a text that others wrote, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let line: String = text.chars().take(EXCERPT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() { format!("{line}...") } else { line }
}

#[cfg(test)]
mod tests {
    use musicrl_core::reward::{AudioView, TokensView};
    use proptest::prelude::*;

    use super::*;

    fn clips() -> Vec<Clip<'static>> {
        let audio = Some(AudioView { samples: &[0.0], sample_rate_hz: 16_000 });
        let clip = |caption| Clip { caption, tokens: TokensView { ids: &[1, 2, 3, 4], slots: 2 }, audio };
        vec![clip("a"), clip("b \"quoted\"\n"), clip("c")]
    }

    /// A batch of three that was asked under the ids 5, 6, 7.
    fn asked(clips: &[Clip<'static>], check: impl FnOnce(&mut Batch<'_>)) {
        let mut batch = Batch::new(clips);
        let requests = batch.requests(&mut 5, false, |_, _| Sound::None);
        assert_eq!(requests.iter().map(|request| request.id).collect::<Vec<_>>(), [5, 6, 7]);
        check(&mut batch);
    }

    #[test]
    fn requests_hold_what_was_asked_for() {
        let clips = clips();
        let mut batch = Batch::new(&clips);
        let mut id = 0;
        let text =
            |requests: &[Request<'_>]| requests.iter().map(|r| serde_json::to_string(r).unwrap()).collect::<Vec<_>>();
        let lines = text(&batch.requests(&mut id, true, |_, _| Sound::Path("/tmp/x.wav")));
        assert_eq!(
            lines[0],
            r#"{"id":0,"caption":"a","audio":"/tmp/x.wav","sample_rate_hz":16000,"tokens":[1,2,3,4],"slots":2,"remaining":2}"#
        );
        batch.take(&parse(r#"{"id": 1, "score": 0.25}"#).unwrap()).unwrap();
        // What is answered is not asked again, and old ids are gone.
        let lines = text(&batch.requests(&mut id, false, |_, _| Sound::None));
        assert_eq!(lines, [r#"{"id":3,"caption":"a","remaining":1}"#, r#"{"id":4,"caption":"c","remaining":0}"#]);
        assert!(batch.take(&parse(r#"{"id": 0, "score": 1}"#).unwrap()).is_err());
        assert_eq!(batch.left(), 2);
    }

    #[test]
    fn answers_come_in_any_order() {
        asked(&clips(), |batch| {
            for line in
                [r#"{"id":7,"score":3,"more":1}"#, r#"{"id":5,"unscorable":"too\nshort"}"#, r#"{"score":-1e-3,"id":6}"#]
            {
                batch.take(&parse(line).unwrap()).unwrap();
            }
            assert_eq!(batch.left(), 0);
            let scores = std::mem::take(&mut batch.scores);
            let expected = [Score::Unscorable("too short".into()), Score::Value(-1e-3), Score::Value(3.0)];
            assert_eq!(scores, expected.map(Some));
        });
    }

    #[test]
    fn scores_that_are_not_finite_are_unscorable() {
        for score in ["null", "NaN", "Infinity", "-Infinity", "nan", "-inf"] {
            asked(&clips(), |batch| {
                let line = format!("{{\"note\": \"NaN\", \"id\": 5, \"score\": {score}}}");
                let value = parse(&line).unwrap();
                assert_eq!(value["note"], "NaN", "strings stay");
                batch.take(&value).unwrap();
                assert!(matches!(&batch.scores[0], Some(Score::Unscorable(why)) if why.contains("finite")), "{score}");
            });
        }
    }

    #[test]
    fn answers_that_break_the_protocol_are_told() {
        for (line, expected) in [
            (r#"{"id": 9, "score": 1}"#, "not asked"),
            (r#"{"id": -1, "score": 1}"#, "not asked"),
            (r#"{"id": "5", "score": 1}"#, "not asked"),
            (r#"{"id": 5.5, "score": 1}"#, "not asked"),
            (r#"{"score": 1}"#, "no `id`"),
            (r#"{"id": 5}"#, "neither"),
            (r#"{"id": 5, "score": "1"}"#, "no number"),
            (r#"{"id": 5, "score": [1]}"#, "no number"),
            (r#"{"id": 5, "unscorable": null}"#, "no text"),
            (r#"{"id": 5, "score": 1, "unscorable": "x"}"#, "both"),
            (r#"[5, 1]"#, "no JSON object"),
            ("0.7", "no JSON object"),
        ] {
            asked(&clips(), |batch| {
                let error = batch.take(&parse(line).unwrap()).unwrap_err();
                assert!(error.contains(expected), "{line}: {error}");
            });
        }
        asked(&clips(), |batch| {
            let answer = parse(r#"{"id": 5, "score": 1}"#).unwrap();
            batch.take(&answer).unwrap();
            assert!(batch.take(&answer).unwrap_err().contains("twice"));
        });
        let error = parse("Loading model\u{1b}[0m...").unwrap_err();
        assert!(error.contains("Loading model [0m..."), "{error}");
        assert!(parse(r#"{"id": 1, "score": 1e999}"#).is_err());
        assert!(parse(&"x".repeat(10_000)).unwrap_err().len() < 400);
    }

    proptest! {
        #[test]
        fn any_text_is_answered_or_refused(text in "\\PC*|[{}\\[\\]\":,NaInfity0-9\\\\-]*") {
            asked(&clips(), |batch| {
                if let Ok(value) = parse(&text) {
                    let _ = batch.take(&value);
                }
            });
        }

        #[test]
        fn json_is_read_as_it_is(text in "\\PC*") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(without_non_finite(&json), json);
        }
    }
}
