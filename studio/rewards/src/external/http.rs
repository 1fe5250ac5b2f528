//! A service of the user's as a judge.

use std::{sync::Mutex, sync::PoisonError, thread, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use musicrl_core::reward::{Clip, Reward, Score};
use serde::Serialize;
use serde_json::Value;
use ureq::Agent;

use super::{
    AudioForm, HttpConfig,
    protocol::{Batch, Request, Sound, excerpt, parse},
    sounds::{Sounds, wav},
};
use crate::Result;

/// Largest answer that is read, in bytes.
const ANSWER_MAX: u64 = 16 << 20;
/// Largest request that is sent, in bytes.
const REQUEST_MAX: usize = 512 << 20;
/// Pause before the first repetition; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// A judge that is a service: a batch is one POST of `{"clips": [...]}`, answered by `{"answers": [...]}`.
///
/// Where there is no connection, or it breaks, or the service answers 429 or 5xx, the request is repeated after a pause,
/// at most `retries` times. Other answers than 200, and answers that break the protocol, are errors at once.
#[derive(Debug)]
pub struct HttpJudge {
    name: String,
    config: HttpConfig,
    agent: Agent,
    next_id: Mutex<u64>,
}

/// What is posted.
#[derive(Serialize)]
struct Body<'a> {
    clips: Vec<Request<'a>>,
}

/// Why a request has no answer.
enum Trouble {
    /// It may have one later.
    Passing(String),
    /// It will not.
    Lasting(String),
}

impl HttpJudge {
    /// A judge at the settings' URL. Nothing is sent yet.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for settings that break a rule.
    pub fn new(name: impl Into<String>, config: HttpConfig) -> Result<Self> {
        config.validate()?;
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(config.timeout_seconds)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A connection a batch: one that the service closed meanwhile is no trouble then.
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            // No environment: a proxy would be asked about a judge on this machine.
            .proxy(None)
            .user_agent(concat!("musicrl/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { name: name.into(), config, agent, next_id: Mutex::new(0) })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }

    fn scores(&self, clips: &[Clip<'_>]) -> std::result::Result<Vec<Score>, String> {
        let mut batch = Batch::new(clips);
        let mut wavs = Vec::new();
        let sounds = match self.config.audio {
            AudioForm::Path => Some(Sounds::write(clips, batch.scores())?),
            AudioForm::Base64 => {
                wavs = clips.iter().zip(batch.scores()).map(|(clip, score)| wav(clip, score)).collect();
                None
            }
            AudioForm::None => None,
        };
        if batch.left() == 0 {
            return Ok(batch.finish());
        }
        let sound = |at: usize, _: &Clip<'_>| match (&sounds, wavs.get(at)) {
            (Some(sounds), _) => sounds.path(at).map_or(Sound::None, Sound::Path),
            (None, Some(Some(wav))) => Sound::Base64(BASE64.encode(wav)),
            (None, _) => Sound::None,
        };
        let body = {
            let mut next_id = self.next_id.lock().unwrap_or_else(PoisonError::into_inner);
            let requests = batch.requests(&mut next_id, self.config.tokens, sound);
            serde_json::to_vec(&Body { clips: requests }).map_err(|error| format!("a request is no JSON: {error}"))?
        };
        if body.len() > REQUEST_MAX {
            let megabytes = body.len() >> 20;
            return Err(format!(
                "a batch of {megabytes} MiB is more than {} MiB: send paths (audio = \"path\") or smaller batches",
                REQUEST_MAX >> 20
            ));
        }
        let text = self.answer(&body)?;
        self.take(&mut batch, &text)?;
        Ok(batch.finish())
    }

    /// Sends a batch until there is an answer.
    fn answer(&self, body: &[u8]) -> std::result::Result<String, String> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            match self.post(body) {
                Ok(text) => return Ok(text),
                Err(Trouble::Lasting(reason)) => return Err(format!("{}: {reason}", self.config.url)),
                Err(Trouble::Passing(reason)) if tries >= self.config.retries => {
                    return Err(format!("{}: {reason} (tried {} times)", self.config.url, tries + 1));
                }
                Err(Trouble::Passing(_)) => {
                    tries += 1;
                    thread::sleep(pause);
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }

    fn post(&self, body: &[u8]) -> std::result::Result<String, Trouble> {
        let sent = self.agent.post(&self.config.url).content_type("application/json").send(body);
        let mut response = sent.map_err(|error| self.trouble(&error))?;
        let status = response.status();
        let read = response.body_mut().with_config().limit(ANSWER_MAX).lossy_utf8(true).read_to_string();
        if status.as_u16() != 200 {
            // What the service says about it is worth more than why that could not be read.
            let reason = format!("it answered {status}: {}", excerpt(&read.unwrap_or_default()));
            let passing = status.is_server_error() || status.as_u16() == 429;
            return Err(if passing { Trouble::Passing(reason) } else { Trouble::Lasting(reason) });
        }
        read.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(limit) => {
                Trouble::Lasting(format!("its answer is longer than {limit} bytes"))
            }
            error => self.trouble(&error),
        })
    }

    fn trouble(&self, error: &ureq::Error) -> Trouble {
        match error {
            ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => {
                Trouble::Passing(format!("no connection, or it broke: {error}"))
            }
            // Its work is not done faster for being asked again.
            ureq::Error::Timeout(_) => {
                Trouble::Lasting(format!("it took more than {} s ({error})", self.config.timeout_seconds))
            }
            error => Trouble::Lasting(error.to_string()),
        }
    }

    fn take(&self, batch: &mut Batch<'_>, text: &str) -> std::result::Result<(), String> {
        let answer = parse(text).map_err(|reason| format!("its answer is no JSON ({reason})"))?;
        let Some(answers) = answer.get("answers").and_then(Value::as_array) else {
            return Err(format!("its answer has no list `answers`: {}", excerpt(text)));
        };
        for answer in answers {
            batch.take(answer)?;
        }
        match batch.left() {
            0 => Ok(()),
            left => Err(format!("{left} of {} clips have no answer", batch.clips().len())),
        }
    }
}

impl Reward for HttpJudge {
    fn name(&self) -> &str {
        &self.name
    }

    fn hears_audio(&self) -> bool {
        self.config.audio != AudioForm::None
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        self.scores(clips).map_err(|reason| musicrl_core::Error::Reward { name: self.name.clone(), reason })
    }
}

#[cfg(test)]
mod tests;
