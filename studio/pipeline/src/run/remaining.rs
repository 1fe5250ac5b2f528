//! An honest remaining time: medians of what was measured, nothing before there is enough to go by.

use std::collections::VecDeque;

const WINDOW: usize = 31;
const ENOUGH: usize = 3;

/// Medians of the last durations of one kind of work.
#[derive(Debug, Clone, Default)]
struct Moving(VecDeque<f64>);

impl Moving {
    fn push(&mut self, seconds: f64) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(seconds);
    }

    fn median(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Estimates what is left of a run from moving medians of steps, evaluations and checkpoints. A median forgets the
/// slow first step and a machine that was busy for a moment; a mean would not.
#[derive(Debug, Clone, Default)]
pub struct Remaining {
    steps: Moving,
    evaluations: Moving,
    checkpoints: Moving,
}

impl Remaining {
    /// A step took so long.
    pub fn step(&mut self, seconds: f64) {
        self.steps.push(seconds);
    }

    /// An evaluation took so long.
    pub fn evaluation(&mut self, seconds: f64) {
        self.evaluations.push(seconds);
    }

    /// A checkpoint took so long.
    pub fn checkpoint(&mut self, seconds: f64) {
        self.checkpoints.push(seconds);
    }

    /// Median seconds of a step; `None` before the first.
    #[must_use]
    pub fn step_seconds(&self) -> Option<f64> {
        self.steps.median()
    }

    /// Seconds that so many steps, evaluations and checkpoints will take; `None` while too few steps were seen.
    #[must_use]
    pub fn seconds(&self, steps: u64, evaluations: u64, checkpoints: u64) -> Option<f64> {
        if self.steps.0.len() < ENOUGH {
            return None;
        }
        let of = |moving: &Moving, count: u64| moving.median().unwrap_or(0.0) * count as f64;
        Some(of(&self.steps, steps) + of(&self.evaluations, evaluations) + of(&self.checkpoints, checkpoints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_step_does_not_move_the_estimate() {
        let mut remaining = Remaining::default();
        remaining.step(60.0);
        remaining.step(1.0);
        assert_eq!(remaining.seconds(10, 0, 0), None, "two steps say little");
        remaining.step(1.0);
        remaining.evaluation(5.0);
        assert_eq!(remaining.seconds(10, 2, 7), Some(20.0));
    }

    #[test]
    fn old_durations_are_forgotten() {
        let mut remaining = Remaining::default();
        (0..WINDOW).for_each(|_| remaining.step(9.0));
        (0..WINDOW).for_each(|_| remaining.step(2.0));
        assert_eq!(remaining.step_seconds(), Some(2.0));
    }
}
