//! A program of the user's as a judge.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use musicrl_core::reward::{Clip, Reward, Score};

use super::{
    ProcessConfig,
    child::{Line, Missing, Program, Running},
    protocol::{Batch, Sound, parse},
    sounds::Sounds,
};
use crate::Result;

/// A judge that is a program: it reads a JSON object a line for every clip and writes one for every score.
///
/// The program is started once and kept. When it ends before a batch is answered, or takes longer than the limit, it is
/// started again and asked for what it has not answered, up to `restarts` times in a row. An answer that breaks the
/// protocol is an error at once: the same program would give it again.
#[derive(Debug)]
pub struct ProcessJudge {
    name: String,
    config: ProcessConfig,
    program: Program,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    running: Option<Running>,
    /// Ids are never used twice, so that a late answer is not taken for another clip's.
    next_id: u64,
    /// Starts that did not lead to a whole batch of answers, in a row.
    failures: u32,
}

/// Why a batch was not answered.
enum Trouble {
    /// Another start may help.
    Lost(String),
    /// It would not.
    Broken(String),
}

impl ProcessJudge {
    /// Starts the program, in the settings' folder.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for settings that break a rule; [`musicrl_core::Error::Reward`] when it cannot be
    /// started.
    pub fn new(name: impl Into<String>, config: ProcessConfig) -> Result<Self> {
        config.validate()?;
        let name = name.into();
        let folder = config.folder.clone().unwrap_or_default();
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
        let started = Program::new(&config.command, folder).and_then(|program| Ok((program.start()?, program)));
        let (running, program) =
            started.map_err(|reason| musicrl_core::Error::Reward { name: name.clone(), reason })?;
        let state = Mutex::new(State { running: Some(running), next_id: 0, failures: 0 });
        Ok(Self { name, config, program, state })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ProcessConfig {
        &self.config
    }

    /// Asks once for all that is open.
    fn ask<'a>(
        &self,
        state: &mut State,
        batch: &mut Batch<'a>,
        sounds: Option<&'a Sounds>,
    ) -> std::result::Result<(), Trouble> {
        let running = match state.running.take() {
            Some(running) => running,
            None => self.program.start().map_err(Trouble::Broken)?,
        };
        let sound =
            |at: usize, _: &Clip<'_>| sounds.and_then(|sounds| sounds.path(at)).map_or(Sound::None, Sound::Path);
        let mut bytes = Vec::new();
        for request in batch.requests(&mut state.next_id, self.config.tokens, sound) {
            serde_json::to_writer(&mut bytes, &request)
                .map_err(|error| Trouble::Broken(format!("a request is no JSON: {error}")))?;
            bytes.push(b'\n');
        }
        running.send(bytes);
        let deadline = Instant::now() + Duration::from_secs_f64(self.config.timeout_seconds);
        let asked = batch.left();
        while batch.left() > 0 {
            let broken = match running.next(deadline) {
                Ok(Line::Text(line)) => match parse(&line) {
                    Ok(answer) => match batch.take(&answer) {
                        Ok(()) => continue,
                        Err(reason) => reason,
                    },
                    Err(reason) => format!("a line is no JSON ({reason}); its output is for answers alone"),
                },
                Ok(Line::Broken(reason)) => reason,
                Err(missing) => {
                    let what = match missing {
                        Missing::Ended => "it stopped answering",
                        Missing::TimedOut => &format!("it took more than {} s", self.config.timeout_seconds),
                    };
                    let done = asked - batch.left();
                    let end = running.epitaph(Some(missing));
                    return Err(Trouble::Lost(format!("{what} after {done} of {asked} answers; {end}")));
                }
            };
            return Err(Trouble::Broken(format!("{broken}\n{}", running.epitaph(None))));
        }
        state.running = Some(running);
        Ok(())
    }

    fn scores(&self, clips: &[Clip<'_>]) -> std::result::Result<Vec<Score>, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new(clips);
        let sounds = if self.config.audio { Some(Sounds::write(clips, batch.scores())?) } else { None };
        if batch.left() == 0 {
            return Ok(batch.finish());
        }
        loop {
            match self.ask(&mut state, &mut batch, sounds.as_ref()) {
                Ok(()) => {
                    state.failures = 0;
                    return Ok(batch.finish());
                }
                Err(Trouble::Broken(reason)) => return Err(reason),
                Err(Trouble::Lost(reason)) if state.failures >= self.config.restarts => {
                    let restarts = match self.config.restarts {
                        0 => "without a restart".to_string(),
                        count => format!("after {count} restarts in a row"),
                    };
                    return Err(format!("given up {restarts}: {reason}"));
                }
                Err(Trouble::Lost(_)) => state.failures += 1,
            }
        }
    }
}

impl Reward for ProcessJudge {
    fn name(&self) -> &str {
        &self.name
    }

    fn hears_audio(&self) -> bool {
        self.config.audio
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        self.scores(clips).map_err(|reason| musicrl_core::Error::Reward { name: self.name.clone(), reason })
    }
}

#[cfg(all(test, unix))]
mod tests;
