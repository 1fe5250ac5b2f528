//! Reward over-optimisation: how far the proxy went up while the truth went down, and what the guarded choice kept.

use std::{fmt, path::Path};

use musicrl_core::{
    random::{Key, Purpose},
    stats::{BootstrapConfig, Interval, cluster_bootstrap, mean},
};
use serde::{Deserialize, Serialize};

use super::{
    measured::{self as words, difference_of, in_words},
    share::{Moment, Watched, course, guarded_choice, peak, share},
};
use crate::{Error, Result, align::judges::TRUE_UTILITY, evaluate::Evaluation, run::read_metrics};

/// The reward model that is learned from.
pub const PROXY: &str = "user_preference";
/// The reward model that validates.
pub const VALIDATION: &str = "user_preference_validation";

/// The name of the run of seed `index`, from 0.
#[must_use]
pub fn run_name(index: usize) -> String {
    format!("seed-{}", index + 1)
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverOptimisedRun {
    /// Its name.
    pub system: String,
    /// Its seed.
    pub seed: u64,
    /// As it began.
    pub start: Moment,
    /// Where the true utility was highest.
    pub peak: Moment,
    /// As it ended.
    pub end: Moment,
    /// What the guarded choice took.
    pub chosen: Moment,
    /// Whether it was over-optimised: from the peak to the end the proxy rose and the true utility fell.
    pub over_optimised: bool,
    /// True utility of the chosen checkpoint as a share of the way from the start to the peak.
    pub share: Option<f64>,
    /// The same of the last checkpoint, which a run without a guard would end with.
    pub end_share: Option<f64>,
    /// Gain of true utility of the chosen checkpoint over the base on other captions and random numbers than those that
    /// chose it.
    pub gain: Option<Interval>,
    /// All evaluations.
    pub course: Vec<Moment>,
}

/// What the runs showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverOptimisationFindings {
    /// The population that chose, and whose true utility was watched.
    pub population: String,
    /// One a seed.
    pub runs: Vec<OverOptimisedRun>,
    /// Runs that were over-optimised.
    pub over_optimised: usize,
    /// Mean share of the chosen checkpoints, with its interval over seeds; `None` where no run has one.
    pub share: Option<Interval>,
    /// The smallest of them.
    pub smallest_share: Option<f64>,
    /// Mean share of the last checkpoints.
    pub end_share: Option<Interval>,
}

/// One run from its evaluations.
///
/// # Errors
/// [`Error::Config`] where nothing was measured.
fn run(system: String, seed: u64, course: Vec<Moment>) -> Result<OverOptimisedRun> {
    let (Some(start), Some(peak), Some(chosen), Some(end)) =
        (course.first(), peak(&course), guarded_choice(&course), course.last())
    else {
        let expected = format!("evaluations of `{PROXY}` and of the true utility");
        return Err(Error::config("stage.rewards", expected, format!("none in {system}")));
    };
    Ok(OverOptimisedRun {
        start: *start,
        peak: *peak,
        end: *end,
        chosen: *chosen,
        over_optimised: end.proxy > peak.proxy && end.utility < peak.utility,
        share: share(start.utility, chosen.utility, peak.utility),
        end_share: share(start.utility, end.utility, peak.utility),
        gain: None,
        system,
        seed,
        course,
    })
}

/// The findings of the runs below `systems`, each of a name and a seed; their stage has the run's name. `evaluation` is that
/// of `base` and what the runs ended with, on captions of its own.
///
/// # Errors
/// [`Error::Io`] where a run has no metrics; [`Error::Config`] where nothing was measured.
pub fn findings(
    systems: &Path,
    runs: &[(String, u64)],
    population: &str,
    evaluation: Option<&Evaluation>,
    seed: u64,
) -> Result<OverOptimisationFindings> {
    let utility = format!("{TRUE_UTILITY}{population}");
    let names = Watched { proxy: PROXY, validation: VALIDATION, utility: &utility };
    let of = |(name, seed): &(String, u64)| {
        let records = read_metrics(&systems.join(name).join("stages").join(name).join("metrics.jsonl"))?;
        let gain = evaluation.and_then(|evaluation| difference_of(evaluation, &utility, name, "base"));
        Ok(OverOptimisedRun { gain, ..run(name.clone(), *seed, course(&records, names))? })
    };
    let runs = runs.iter().map(of).collect::<Result<Vec<_>>>()?;
    let over_seeds = |shares: Vec<f64>| -> Result<Option<Interval>> {
        if shares.is_empty() {
            return Ok(None);
        }
        let clusters: Vec<usize> = (0..shares.len()).collect();
        let key = Key::new(seed, Purpose::Bootstrap);
        Ok(Some(cluster_bootstrap(&shares, &clusters, &BootstrapConfig::default(), key, mean)?))
    };
    let shares: Vec<f64> = runs.iter().filter_map(|run| run.share).collect();
    Ok(OverOptimisationFindings {
        population: population.into(),
        over_optimised: runs.iter().filter(|run| run.over_optimised).count(),
        smallest_share: shares.iter().copied().reduce(f64::min),
        share: over_seeds(shares)?,
        end_share: over_seeds(runs.iter().filter_map(|run| run.end_share).collect())?,
        runs,
    })
}

impl fmt::Display for OverOptimisationFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "proxy (the reward learned from) and true utility of {} (simulated), by step", self.population)?;
        writeln!(
            f,
            "{:<9}{:>24}{:>24}{:>24}{:>24}  share",
            "run", "start", "peak of true utility", "end", "guarded choice"
        )?;
        let moment = |moment: &Moment| format!("{}: {:+.2} / {:+.3}", moment.step, moment.proxy, moment.utility);
        let percent = |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share));
        for run in &self.runs {
            let moments = [run.start, run.peak, run.end, run.chosen].map(|at| format!("{:>24}", moment(&at)));
            let over = if run.over_optimised { "over-optimised" } else { "not over-optimised" };
            let shares = format!("{} (end {})", percent(run.share), percent(run.end_share));
            writeln!(f, "{:<9}{}  {shares}, {over}", run.system, moments.concat())?;
        }
        for run in &self.runs {
            let gain = in_words(run.gain.as_ref(), 1.0, 3);
            writeln!(f, "{:<9}true utility of the choice less the base's, on other captions: {gain}", run.system)?;
        }
        writeln!(
            f,
            "share of the best true utility, from the start: guarded choice {} %, smallest {}; last checkpoint {} %; {} of {} \
             runs over-optimised",
            words::percent(self.share.as_ref()),
            percent(self.smallest_share),
            words::percent(self.end_share.as_ref()),
            self.over_optimised,
            self.runs.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(systems: &Path, name: &str, lines: &[(u64, f64, f64, Option<f64>)]) {
        let folder = systems.join(name).join("stages").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let line = |(step, proxy, utility, guarded): &(u64, f64, f64, Option<f64>)| {
            let guarded = guarded.map_or(String::new(), |gain| format!(",\"guarded\":{gain}"));
            format!(
                "{{\"step\":{step},\"evaluation\":{{\"reward_user_preference\":{proxy},\"reward_true_utility_town\":\
                 {utility}{guarded}}}}}\n"
            )
        };
        std::fs::write(folder.join("metrics.jsonl"), lines.iter().map(line).collect::<String>()).unwrap();
    }

    #[test]
    fn a_guard_is_measured_by_what_it_kept() {
        let temp = tempfile::tempdir().unwrap();
        let rising = |step: u64, utility: f64, guarded: f64| (step, step as f64, utility, Some(guarded));
        write(
            temp.path(),
            "seed-1",
            &[rising(0, 0.0, 0.0), rising(8, 1.0, 0.5), rising(16, 0.8, 0.6), rising(24, -1.0, 0.1)],
        );
        // Nothing was gained at all: no share.
        write(temp.path(), "seed-2", &[rising(0, 0.5, 0.0), rising(8, 0.2, 0.5)]);
        let runs = [(run_name(0), 1), (run_name(1), 1001)];
        let found = findings(temp.path(), &runs, "town", None, 1).unwrap();
        let first = &found.runs[0];
        assert_eq!((first.peak.step, first.chosen.step, first.end.step), (8, 16, 24));
        assert_eq!((first.share, first.end_share, first.over_optimised), (Some(0.8), Some(-1.0), true));
        // The proxy rose and the utility fell from the very start.
        assert_eq!((found.runs[1].share, found.runs[1].over_optimised, found.over_optimised), (None, true, 2));
        assert_eq!((found.share.unwrap().estimate, found.smallest_share), (0.8, Some(0.8)));
        let text = found.to_string();
        assert!(text.contains("80 % (end -100 %), over-optimised") && text.contains("2 of 2 runs"), "{text}");
        write(temp.path(), "seed-2", &[]);
        assert!(findings(temp.path(), &runs, "town", None, 1).unwrap_err().to_string().contains("none in seed-2"));
        let gone = findings(temp.path(), &[("gone".into(), 1)], "town", None, 1).unwrap_err().to_string();
        assert!(gone.contains("metrics.jsonl"), "{gone}");
    }
}
