//! What a preference set holds, counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use musicrl_core::{preference::Outcome, stats::Tally};
use musicrl_feedback::{JudgementRecord, PreferenceSet, Source};
use serde::Serialize;

/// A share with the number of things that it is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Between 0 and 1.
    pub share: f64,
    /// Out of how many.
    pub of: usize,
}

impl Share {
    /// `None` of nothing.
    fn of(count: usize, of: usize) -> Option<Self> {
        (of > 0).then(|| Self { share: count as f64 / of as f64, of })
    }
}

/// One listener's part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListenerCount {
    /// Who.
    pub listener: String,
    /// Judgements that count.
    pub judgements: usize,
    /// Share of its decided pairs whose first clip won.
    pub first_wins: Option<Share>,
}

/// Two systems side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SystemTally {
    /// One system.
    pub system: String,
    /// The other.
    pub against: String,
    /// How often the one won against the other.
    pub tally: Tally,
}

/// Ratings of one system's clips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatingMean {
    /// The system.
    pub system: String,
    /// Mean rating.
    pub mean: f64,
    /// Number of ratings.
    pub ratings: usize,
}

/// The counts of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Clips.
    pub clips: usize,
    /// Those with a sound in the set.
    pub with_audio: usize,
    /// Those with tokens.
    pub with_tokens: usize,
    /// Different captions.
    pub captions: usize,
    /// All judgements.
    pub judgements: usize,
    /// Those that count: both clips heard, something said.
    pub counted: usize,
    /// Judgements by outcome, all of them.
    pub outcomes: BTreeMap<String, usize>,
    /// Counted judgements by source: `human`, or the population of simulated listeners.
    pub sources: BTreeMap<String, usize>,
    /// By listener, those with most judgements first.
    pub listeners: Vec<ListenerCount>,
    /// Share of decided pairs whose first clip won: a half without position bias.
    pub first_wins: Option<Share>,
    /// Where two listeners decided the same pair: how often they decided alike.
    pub agreement: Option<Share>,
    /// Pairs that more than one listener judged.
    pub repeated_pairs: usize,
    /// Systems side by side.
    pub systems: Vec<SystemTally>,
    /// Mean rating of each system.
    pub ratings: Vec<RatingMean>,
}

/// The name of a source, as it is shown and exported.
pub(super) fn source_name(source: &Source) -> String {
    match source {
        Source::Human => "human".into(),
        Source::Simulated { population } => format!("simulated:{population}"),
    }
}

/// The name of an outcome, as records have it.
pub(super) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::BetterA => "better-a",
        Outcome::BetterB => "better-b",
        Outcome::Tie => "tie",
        Outcome::BothBad => "both-bad",
        Outcome::Skipped => "skipped",
    }
}

impl Summary {
    /// Counts a set.
    #[must_use]
    pub fn of(set: &PreferenceSet) -> Self {
        let clips = set.clips();
        let counted: Vec<&JudgementRecord> = set.judgements().iter().filter(|judgement| judgement.counts()).collect();
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for judgement in set.judgements() {
            *outcomes.entry(outcome_name(judgement.outcome).into()).or_default() += 1;
        }
        let mut sources: BTreeMap<String, usize> = BTreeMap::new();
        let mut by_listener: BTreeMap<&str, Vec<&JudgementRecord>> = BTreeMap::new();
        for judgement in &counted {
            *sources.entry(source_name(&judgement.source)).or_default() += 1;
            by_listener.entry(judgement.listener.as_str()).or_default().push(judgement);
        }
        let mut listeners: Vec<ListenerCount> = by_listener
            .into_iter()
            .map(|(listener, judgements)| ListenerCount {
                listener: listener.into(),
                judgements: judgements.len(),
                first_wins: first_wins(&judgements),
            })
            .collect();
        listeners.sort_by_key(|count| std::cmp::Reverse(count.judgements));
        let (agreement, repeated_pairs) = agreement(&counted);
        Self {
            clips: clips.len(),
            with_audio: clips.iter().filter(|clip| clip.audio.is_some()).count(),
            with_tokens: clips.iter().filter(|clip| !clip.tokens.is_empty()).count(),
            captions: clips.iter().map(|clip| clip.caption.as_str()).collect::<BTreeSet<_>>().len(),
            judgements: set.judgements().len(),
            counted: counted.len(),
            outcomes,
            sources,
            listeners,
            first_wins: first_wins(&counted),
            agreement,
            repeated_pairs,
            systems: systems(set, &counted),
            ratings: ratings(set),
        }
    }
}

fn first_wins(judgements: &[&JudgementRecord]) -> Option<Share> {
    let count = |outcome| judgements.iter().filter(|judgement| judgement.outcome == outcome).count();
    let (first, second) = (count(Outcome::BetterA), count(Outcome::BetterB));
    Share::of(first, first + second)
}

/// How often two listeners who decided the same pair decided alike, and how many pairs more than one judged.
fn agreement(judgements: &[&JudgementRecord]) -> (Option<Share>, usize) {
    let mut pairs: BTreeMap<[&str; 2], Vec<(&str, Option<&str>)>> = BTreeMap::new();
    for judgement in judgements {
        let winner = match judgement.outcome {
            Outcome::BetterA => Some(judgement.a.as_str()),
            Outcome::BetterB => Some(judgement.b.as_str()),
            Outcome::Tie | Outcome::BothBad | Outcome::Skipped => None,
        };
        let mut pair = [judgement.a.as_str(), judgement.b.as_str()];
        pair.sort_unstable();
        pairs.entry(pair).or_default().push((judgement.listener.as_str(), winner));
    }
    let (mut alike, mut both, mut repeated) = (0, 0, 0);
    for said in pairs.values() {
        let listeners: BTreeSet<&str> = said.iter().map(|(listener, _)| *listener).collect();
        repeated += usize::from(listeners.len() > 1);
        for (index, (listener, winner)) in said.iter().enumerate() {
            for (other, other_winner) in &said[index + 1..] {
                if let (Some(winner), Some(other_winner)) = (winner, other_winner)
                    && listener != other
                {
                    both += 1;
                    alike += usize::from(winner == other_winner);
                }
            }
        }
    }
    (Share::of(alike, both), repeated)
}

fn systems(set: &PreferenceSet, judgements: &[&JudgementRecord]) -> Vec<SystemTally> {
    let mut outcomes: BTreeMap<(&str, &str), Vec<Outcome>> = BTreeMap::new();
    for judgement in judgements {
        let system = |id: &str| set.clip(id).map_or("", |clip| clip.system.as_str());
        let (a, b) = (system(&judgement.a), system(&judgement.b));
        match a.cmp(b) {
            std::cmp::Ordering::Less => outcomes.entry((a, b)).or_default().push(judgement.outcome),
            std::cmp::Ordering::Greater => outcomes.entry((b, a)).or_default().push(judgement.outcome.swapped()),
            std::cmp::Ordering::Equal => {}
        }
    }
    let tally = |((system, against), outcomes): ((&str, &str), Vec<Outcome>)| SystemTally {
        system: system.into(),
        against: against.into(),
        tally: Tally::of(&outcomes),
    };
    outcomes.into_iter().map(tally).collect()
}

fn ratings(set: &PreferenceSet) -> Vec<RatingMean> {
    let mut by_system: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for rating in set.ratings() {
        let system = set.clip(&rating.clip).map_or("", |clip| clip.system.as_str());
        let (sum, count) = by_system.entry(system).or_default();
        *sum += rating.rating;
        *count += 1;
    }
    let mean = |(system, (sum, ratings)): (&str, (f64, usize))| RatingMean {
        system: system.into(),
        mean: sum / ratings.max(1) as f64,
        ratings,
    };
    by_system.into_iter().map(mean).collect()
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} % of {}", 100.0 * self.share, self.of)
    }
}

#[cfg(test)]
mod tests {
    use musicrl_feedback::ClipRecord;

    use super::*;

    fn set(folder: &std::path::Path) -> PreferenceSet {
        let mut set = PreferenceSet::create(&folder.join("set")).unwrap();
        let clip = |id: &str, system: &str| ClipRecord::new(id, "a waltz", system);
        set.add_clips(vec![clip("a", "base"), clip("b", "aligned"), clip("c", "base")]).unwrap();
        let said = |a: &str, b: &str, outcome, listener: &str| {
            JudgementRecord::new(a, b, outcome, listener, Source::Simulated { population: "village".into() })
        };
        let skipped = said("a", "c", Outcome::Skipped, "l2");
        let unheard = JudgementRecord { heard: [true, false], ..said("a", "c", Outcome::BetterA, "l2") };
        let human = JudgementRecord { source: Source::Human, ..said("a", "b", Outcome::Tie, "anna") };
        let judgements = vec![
            said("a", "b", Outcome::BetterA, "l1"),
            said("b", "a", Outcome::BetterA, "l2"),
            said("a", "b", Outcome::BetterA, "l3"),
            said("a", "b", Outcome::BetterB, "l3"),
            said("b", "c", Outcome::BetterB, "l1"),
            skipped,
            unheard,
            human,
        ];
        set.add_judgements(judgements).unwrap();
        set
    }

    #[test]
    fn counts_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let summary = Summary::of(&set(folder.path()));
        assert_eq!((summary.clips, summary.captions, summary.judgements, summary.counted), (3, 1, 8, 6));
        assert_eq!(summary.outcomes["better-a"], 4);
        assert_eq!(summary.sources, [("human".to_string(), 1), ("simulated:village".to_string(), 5)].into());
        assert_eq!(summary.first_wins, Some(Share { share: 0.6, of: 5 }));
        // a-b: l1 says a, l2 b, l3 first a then b, anna neither. Of l1-l2, l1-l3 twice, l2-l3 twice, two are alike.
        assert_eq!((summary.agreement, summary.repeated_pairs), (Some(Share { share: 0.4, of: 5 }), 1));
        // aligned against base: b lost twice, won twice, lost to c, tied once.
        let tally = summary.systems[0].tally;
        assert_eq!((summary.systems.len(), tally.wins, tally.ties, tally.losses), (1, 2, 1, 3));
        assert_eq!(summary.listeners[0].judgements, 2);
    }

    #[test]
    fn an_empty_set_has_no_shares() {
        let folder = tempfile::tempdir().unwrap();
        let summary = Summary::of(&PreferenceSet::create(&folder.path().join("set")).unwrap());
        assert_eq!((summary.first_wins, summary.agreement, summary.clips), (None, None, 0));
    }
}
