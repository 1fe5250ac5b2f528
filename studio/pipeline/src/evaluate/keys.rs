//! Every random number of an evaluation, by its key: all come from one seed.

use musicrl_core::random::{Key, Purpose};

/// Clips of one prompt are numbered so far apart that another number of prompts draws no other clips.
const TAKE_STRIDE: u64 = 1 << 32;

/// The clip of a key that prompt and take have, for every system alike.
pub(super) fn clip_number(prompt: usize, take: usize) -> u64 {
    take as u64 * TAKE_STRIDE + prompt as u64
}

/// Candidates of one clip are numbered farther apart than all takes: see [`candidate_number`].
const CANDIDATE_STRIDE: u64 = 1 << 44;

/// The clip of a key that a candidate of best-of-n has. Candidate 0 is the clip that the system plays without choosing, and
/// more candidates change none that were there.
pub(super) fn candidate_number(prompt: usize, take: usize, candidate: usize) -> u64 {
    candidate as u64 * CANDIDATE_STRIDE + clip_number(prompt, take)
}

/// Bootstrap resamples of prompts: every statistic sees the same ones.
pub(super) fn bootstrap(seed: u64) -> Key {
    Key::new(seed, Purpose::Bootstrap)
}

/// Deals of the permutation test.
pub(super) fn permutation(seed: u64) -> Key {
    Key::new(seed, Purpose::Bootstrap).step(1)
}

/// Division of a corpus into a reference and what is measured against it.
pub(super) fn reference(seed: u64) -> Key {
    Key::new(seed, Purpose::Split).step(1)
}

/// Names and order of exported clips.
pub(super) fn blinding(seed: u64) -> Key {
    Key::new(seed, Purpose::Split).step(2)
}

/// The seed of etudes that no corpus of the same seed has.
pub(super) fn etudes_seed(seed: u64) -> u64 {
    seed ^ 0x6576_616C_7561_7465
}

/// What a rater draws for a sound: the same sound gets the same rating from the same rater, whoever made it, and other
/// sounds get independent ones.
pub(super) fn rating(seed: u64, rater: usize, sound: u64) -> Key {
    Key::new(seed, Purpose::Listener).step(rater as u64).clip(sound)
}

/// Whose turn it is first where raters take turns. Raters have the steps below.
pub(super) fn seat(seed: u64) -> Key {
    Key::new(seed, Purpose::Listener).step(1 << 40)
}
