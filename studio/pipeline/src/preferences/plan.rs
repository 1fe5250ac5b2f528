//! Who judges what, and when: a function of the settings, so that a collection that was cut off goes on as it would have.

use musicrl_core::random::{Key, Purpose};

/// One judgement to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Planned {
    /// The pair of clips.
    pub(super) pair: u64,
    /// Index of the listener.
    pub(super) listener: u64,
    /// Pairs that the listener judged before in this session.
    pub(super) nth: usize,
    /// Whether the pair's second clip is offered first.
    pub(super) swapped: bool,
    /// The random numbers of the choice.
    pub(super) key: Key,
}

/// Which random numbers of [`Purpose::Listener`] are drawn here. The step of a listener's own is a hash of a name.
const JUDGEMENTS: u64 = 0;
const RATINGS: u64 = 1;
const SECOND_LISTENERS: u64 = 2;

/// The action of a judgement's key that decides which clip comes first; the choice draws another.
const ORDER: u64 = 1;

/// Deals pairs out to listeners: each sits down for a session of consecutive pairs; every `repeat_every`-th pair is
/// judged by a second listener too.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    seed: u64,
    listeners: u64,
    session_pairs: usize,
    repeat_every: u64,
    /// Judgements of each listener so far.
    judged: Vec<usize>,
    pairs: u64,
    judgements: u64,
}

impl Plan {
    /// `listeners` and `session_pairs` are at least 1; `repeat_every` 0 is never.
    pub(super) fn new(seed: u64, listeners: usize, session_pairs: usize, repeat_every: usize) -> Self {
        let judged = vec![0; listeners.max(1)];
        let (listeners, repeat_every) = (listeners.max(1) as u64, repeat_every as u64);
        Self { seed, listeners, session_pairs: session_pairs.max(1), repeat_every, judged, pairs: 0, judgements: 0 }
    }

    /// The judgements of the next pair.
    pub(super) fn next_pair(&mut self) -> Vec<Planned> {
        let pair = self.pairs;
        self.pairs += 1;
        let first = pair / self.session_pairs as u64 % self.listeners;
        let mut planned = vec![self.plan(pair, first)];
        let repeats = self.repeat_every > 0 && pair % self.repeat_every == self.repeat_every - 1;
        if repeats && self.listeners > 1 {
            let draw = Key::new(self.seed, Purpose::Listener).step(SECOND_LISTENERS).uniform(pair);
            let others = self.listeners - 1;
            let second = (first + 1 + ((draw * others as f64) as u64).min(others - 1)) % self.listeners;
            planned.push(self.plan(pair, second));
        }
        planned
    }

    fn plan(&mut self, pair: u64, listener: u64) -> Planned {
        let key = Key::new(self.seed, Purpose::Listener).step(JUDGEMENTS).clip(self.judgements);
        self.judgements += 1;
        let judged = &mut self.judged[listener as usize];
        let nth = *judged % self.session_pairs;
        *judged += 1;
        Planned { pair, listener, nth, swapped: key.uniform(ORDER) < 0.5, key }
    }

    /// Judgements planned by now.
    pub(super) fn judgements(&self) -> usize {
        self.judgements as usize
    }

    /// The raters of a clip and the random numbers of their ratings: `raters` different listeners, at most all.
    pub(super) fn raters(&self, clip: u64, raters: usize) -> impl Iterator<Item = (u64, Key)> {
        let (raters, listeners, key) = (raters as u64, self.listeners, Key::new(self.seed, Purpose::Listener));
        (0..raters).map(move |n| {
            let rating = clip * raters + n;
            (rating % listeners, key.step(RATINGS).clip(rating))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sessions_repeats_and_orders() {
        let mut plan = Plan::new(1, 5, 4, 10);
        let planned: Vec<Planned> = (0..400).flat_map(|_| plan.next_pair()).collect();
        assert_eq!((planned.len(), plan.judgements()), (440, 440));
        // Nobody goes on for longer than a session, and the counts within it are complete.
        assert_eq!(planned.iter().map(|p| p.nth).max(), Some(3));
        let by: BTreeSet<u64> = planned.iter().map(|p| p.listener).collect();
        assert_eq!(by.len(), 5);
        // A pair is judged twice by two different listeners.
        for pair in planned.chunk_by(|a, b| a.pair == b.pair) {
            assert_eq!(pair.len(), if pair[0].pair % 10 == 9 { 2 } else { 1 });
            assert!(pair.len() == 1 || pair[0].listener != pair[1].listener);
        }
        let swapped = planned.iter().filter(|p| p.swapped).count();
        assert!((170..270).contains(&swapped), "{swapped}");
        let second: BTreeSet<u64> =
            planned.chunk_by(|a, b| a.pair == b.pair).filter_map(|p| p.get(1)).map(|p| p.listener).collect();
        assert_eq!(second.len(), 5);
        let mut again = Plan::new(1, 5, 4, 10);
        assert_eq!(planned, (0..400).flat_map(|_| again.next_pair()).collect::<Vec<_>>());
    }

    #[test]
    fn one_listener_judges_nothing_twice() {
        let mut plan = Plan::new(1, 1, 20, 2);
        assert!((0..50).all(|_| plan.next_pair().len() == 1));
        let mut plan = Plan::new(1, 3, 20, 0);
        assert!((0..50).all(|_| plan.next_pair().len() == 1));
    }

    #[test]
    fn a_clip_is_rated_by_different_listeners() {
        let plan = Plan::new(1, 7, 20, 10);
        for clip in 0..50 {
            let raters: BTreeSet<u64> = plan.raters(clip, 3).map(|(rater, _)| rater).collect();
            assert_eq!(raters.len(), 3);
        }
        let words = |clip| plan.raters(clip, 2).map(|(_, key)| key.words(0)).collect::<Vec<_>>();
        assert_ne!(words(0), words(1));
    }
}
