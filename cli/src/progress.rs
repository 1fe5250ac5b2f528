//! Progress with an honest estimate: a bar on a terminal, now and then a line elsewhere.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use musicrl_pipeline::{
    run::{Observer, Progress, Remaining},
    training::Metrics,
};

use crate::words;

/// Lines come no closer than this where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Runs that take at least so long are announced with their time.
const ANNOUNCE_FROM_SECONDS: f64 = 20.0;
/// Metrics shown beside a bar; all of them are in `metrics.jsonl`.
const METRICS_SHOWN: usize = 4;

/// Shows how far a piece of work is.
pub struct Bar {
    what: &'static str,
    bar: Option<ProgressBar>,
    last_line: Instant,
    /// For work that is counted here, not by the driver.
    remaining: Remaining,
    last_count: Instant,
    position: u64,
    /// Whether the time of the whole has been said.
    announced: bool,
}

impl Bar {
    /// A bar for `what`; nothing is shown when `quiet`.
    pub fn new(what: &'static str) -> Self {
        use std::io::IsTerminal as _;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}");
            // The template is a constant; should it ever be wrong, indicatif's own style shows.
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_prefix(what);
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        let now = Instant::now();
        Self {
            what,
            bar,
            last_line: now,
            remaining: Remaining::default(),
            last_count: now,
            position: 0,
            announced: false,
        }
    }

    /// Units of work done by now, of how many; the time left comes from a moving median of their durations.
    pub fn count(&mut self, done: u64, total: u64) {
        let units = done.saturating_sub(self.position);
        if units > 0 {
            self.remaining.step(self.last_count.elapsed().as_secs_f64() / units as f64);
            self.last_count = Instant::now();
            self.position = done;
        }
        let left = self.remaining.seconds(total.saturating_sub(done), 0, 0);
        self.show(done, total, &time_left(left), done == total);
    }

    fn show(&mut self, done: u64, total: u64, message: &str, last: bool) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(message.to_string());
            }
            None if last || self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                let message = if message.is_empty() { String::new() } else { format!(", {message}") };
                self.say(&format!("{}: {done}/{total}{message}", self.what));
            }
            None => {}
        }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Work of unknown length: the bar shows what is being done.
    pub fn doing(&self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_string());
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn time_left(seconds: Option<f64>) -> String {
    seconds.map_or(String::new(), |seconds| format!("about {} left", words::duration(seconds)))
}

fn in_short(metrics: &Metrics) -> String {
    let shown = metrics.0.iter().take(METRICS_SHOWN).map(|(name, value)| format!("{name} {value:.4}"));
    shown.collect::<Vec<_>>().join("  ")
}

impl Observer for Bar {
    fn started(&mut self, step: u64, steps: u64) {
        // A stage of a recipe has an estimate of its own.
        self.announced = false;
        if step > 0 && step < steps {
            self.say(&format!("{}: going on from the checkpoint of step {step} of {steps}", self.what));
        }
    }

    fn stepped(&mut self, progress: &Progress<'_>) {
        if let Some(seconds) = progress.remaining_seconds.filter(|_| !self.announced) {
            self.announced = true;
            if seconds >= ANNOUNCE_FROM_SECONDS {
                let steps = progress.steps - progress.step;
                self.say(&format!("{}: about {} for {steps} more steps", self.what, words::duration(seconds)));
            }
        }
        let left = time_left(progress.remaining_seconds);
        let message = [in_short(progress.metrics), left].into_iter().filter(|part| !part.is_empty());
        let message = message.collect::<Vec<_>>().join("  ");
        self.show(progress.step, progress.steps, &message, progress.step == progress.steps);
    }

    fn evaluating(&mut self, _step: u64) {
        self.doing("measuring on held-out data");
    }

    fn evaluated(&mut self, step: u64, metrics: &Metrics) {
        if !metrics.0.is_empty() {
            self.say(&format!("{}: step {step}, held out: {}", self.what, in_short(metrics)));
        }
    }

    fn checkpointed(&mut self, _step: u64, _path: &Path) {}

    fn notice(&mut self, message: &str) {
        self.say(&format!("note: {message}"));
    }
}
