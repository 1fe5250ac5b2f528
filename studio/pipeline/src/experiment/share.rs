//! What a choice of the checkpoint kept of a run: a run's course, and shares of its best true utility.

use serde::{Deserialize, Serialize};

use crate::run::{Kind, Record};

/// One evaluation of a run that was watched by the truth of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Learning steps done.
    pub step: u64,
    /// Mean score of the reward model that is learned from.
    pub proxy: f64,
    /// Mean score of the reward model that validates; `None` where there is none.
    pub validation: Option<f64>,
    /// Mean true utility.
    pub utility: f64,
    /// Sequence KL to the reference, in nats.
    pub kl: f64,
    /// Mean token entropy, in nats.
    pub entropy: f64,
    /// What the guarded choice goes by; `None` where a guard forbids the checkpoint.
    pub guarded: Option<f64>,
}

/// The names of what [`course`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// The reward that is learned from.
    pub proxy: &'a str,
    /// The reward that validates.
    pub validation: &'a str,
    /// The true utility.
    pub utility: &'a str,
}

/// The evaluations of a run in which proxy and true utility were measured, in ascending order of steps.
#[must_use]
pub fn course(records: &[Record], names: Watched<'_>) -> Vec<Moment> {
    let of = |record: &Record| {
        let get = |name: &str| record.metrics.get(name).filter(|value| value.is_finite());
        let reward = |name: &str| get(&format!("reward_{name}"));
        Some(Moment {
            step: record.step,
            proxy: reward(names.proxy)?,
            validation: reward(names.validation),
            utility: reward(names.utility)?,
            kl: get("kl").unwrap_or(0.0),
            entropy: get("entropy").unwrap_or(0.0),
            guarded: get("guarded"),
        })
    };
    let mut moments: Vec<Moment> =
        records.iter().filter(|record| record.kind == Kind::Evaluation).filter_map(of).collect();
    moments.sort_by_key(|moment| moment.step);
    moments
}

/// The moment of the highest true utility, the first of equals; `None` of no moments.
#[must_use]
pub fn peak(course: &[Moment]) -> Option<&Moment> {
    course.iter().reduce(|best, moment| if moment.utility > best.utility { moment } else { best })
}

/// The moment that the guarded choice takes: that of the highest `guarded` above 0, the newest of equals; the start where
/// there is none. `None` of no moments.
#[must_use]
pub fn guarded_choice(course: &[Moment]) -> Option<&Moment> {
    let candidates = course.iter().filter(|moment| moment.step > 0 && moment.guarded.is_some_and(|gain| gain > 0.0));
    candidates.reduce(|best, moment| if moment.guarded >= best.guarded { moment } else { best }).or(course.first())
}

/// What `value` has of the way from `start` up to `best`: (value - start) / (best - start). Below 0 where it is worse than
/// the start; `None` where the best is no better than the start, so that there was nothing to keep.
#[must_use]
pub fn share(start: f64, value: f64, best: f64) -> Option<f64> {
    let gain = best - start;
    (gain > 0.0 && gain.is_finite() && value.is_finite()).then(|| (value - start) / gain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Metrics;

    fn moment(step: u64, proxy: f64, utility: f64, guarded: Option<f64>) -> Moment {
        Moment { step, proxy, validation: guarded, utility, kl: 0.0, entropy: 1.0, guarded }
    }

    #[test]
    fn shares_are_of_the_way_from_the_start_to_the_best() {
        assert_eq!(share(0.25, 0.75, 1.25), Some(0.5));
        assert_eq!(share(-1.0, -2.0, 0.0), Some(-1.0));
        assert_eq!(share(0.5, 0.5, 1.0), Some(0.0));
        assert_eq!(share(1.0, 1.0, 1.0), None);
        assert_eq!(share(1.0, f64::NAN, 2.0), None);
        assert_eq!(share(0.0, 1.0, f64::INFINITY), None);
    }

    #[test]
    fn the_course_of_an_over_optimised_run() {
        let course = [
            moment(0, 0.0, 0.0, Some(0.0)),
            moment(10, 1.0, 0.5, Some(0.4)),
            moment(20, 2.0, 0.8, Some(0.3)),
            moment(30, 3.0, 0.8, None),
            moment(40, 4.0, -1.0, Some(0.4)),
        ];
        assert_eq!(peak(&course).unwrap().step, 20);
        // As the checkpoints do: the newest of equals.
        assert_eq!(guarded_choice(&course).unwrap().step, 40);
        assert_eq!(guarded_choice(&course[..4]).unwrap().step, 10);
        // Nothing above 0: the start.
        assert_eq!(guarded_choice(&course[..1]).unwrap().step, 0);
        assert!(peak(&[]).is_none() && guarded_choice(&[]).is_none());
    }

    #[test]
    fn only_evaluations_with_both_are_moments() {
        let record = |step, kind, metrics: &[(&str, f64)]| Record {
            step,
            kind,
            metrics: Metrics(metrics.iter().map(|(name, value)| ((*name).into(), *value)).collect()),
        };
        let both = [("reward_p", 1.0), ("reward_u", 0.5), ("kl", 2.0), ("guarded", 0.1)];
        let records = [
            record(2, Kind::Evaluation, &both),
            record(1, Kind::Train, &both),
            record(3, Kind::Evaluation, &both[..1]),
            record(0, Kind::Evaluation, &both[..3]),
        ];
        let course = course(&records, Watched { proxy: "p", validation: "v", utility: "u" });
        assert_eq!(course.iter().map(|moment| moment.step).collect::<Vec<_>>(), [0, 2]);
        assert_eq!((course[1].proxy, course[1].kl, course[1].guarded, course[0].guarded), (1.0, 2.0, Some(0.1), None));
        assert_eq!(course[1].validation, None);
    }
}
