//! A linear head on pooled vectors: [`PreferenceHead`].

use musicrl_core::random::Key;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, preference::DescriptorScale};

/// Heads that were fitted to resampled judgements; a clip's score is their mean, less `offset`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceHead {
    /// What is taken from each number of a vector.
    mean: Vec<f64>,
    /// What it is divided by then.
    deviation: Vec<f64>,
    /// One weight a number and member.
    members: Vec<Vec<f64>>,
    /// What is taken from every score: the mean score of the clips that were learned from.
    offset: f64,
    /// Davidson's nu: how likely ties are.
    tie_strength: f64,
    /// Weight of the squared weights in the fit.
    ridge: f64,
    /// Whether captions are given to the policy.
    text: bool,
    /// The scale of the descriptors at the end of each vector, where a clip's sound is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    descriptors: Option<DescriptorScale>,
}

/// A judgement as the fit sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// First clip, by index.
    pub a: usize,
    /// Second clip.
    pub b: usize,
    /// 1: a was preferred, 0: b, one half: neither.
    pub share: f64,
    /// How much it counts.
    pub weight: f64,
    /// Judgements of one cluster are drawn together.
    pub cluster: usize,
}

/// What a fit is made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitSettings {
    /// Heads of the ensemble; the first is fitted to all judgements, the others to resampled clusters.
    pub members: usize,
    /// Weight of the squared weights.
    pub ridge: f64,
    /// Davidson's nu, kept beside the head.
    pub tie_strength: f64,
    /// Whether captions were given to the policy.
    pub text: bool,
    /// How many numbers at the end of each vector stand beside the policy's. Together they weigh as much in the penalty as
    /// all of the policy's, so that a few descriptors are not held as tightly as a thousand hidden units.
    pub beside: usize,
}

/// Steps of Newton's method, and of conjugate gradients inside each.
const NEWTON_STEPS: usize = 12;
const CONJUGATE_STEPS: usize = 60;
/// Where a step's gradient is small enough.
const TOLERANCE: f64 = 1e-9;

impl PreferenceHead {
    /// Fits heads to `choices` of clips with the given vectors: each minimises the mean of
    /// `-[y log s(d) + (1 - y) log(1 - s(d))]` with d the difference of scores, plus `ridge / 2 |weights|^2`.
    ///
    /// # Shapes
    /// - vectors: one a clip, all of one width
    ///
    /// # Errors
    /// [`Error::Config`] for no choices or vectors, or settings that cannot be; [`Error::Core`] for a number that is not
    /// finite.
    pub fn fit(vectors: &[Vec<f32>], choices: &[Choice], settings: FitSettings, key: Key) -> Result<Self> {
        let width = vectors.first().map_or(0, Vec::len);
        if width == 0 || choices.is_empty() || settings.members == 0 || settings.ridge <= 0.0 {
            let got = format!("{} vectors, {} choices, {settings:?}", vectors.len(), choices.len());
            return Err(Error::config("preferences", "vectors, choices, a member and a ridge above 0", got));
        }
        let bad = |row: &Vec<f32>| row.len() != width || row.iter().any(|value| !value.is_finite());
        if let Some(clip) = vectors.iter().position(bad) {
            let at = format!("clip {clip}");
            return Err(musicrl_core::Error::NonFinite { what: "a clip's vector", at }.into());
        }
        let (mean, mut deviation) = moments(vectors, width);
        if settings.beside > 0 && settings.beside < width {
            let scale = ((width - settings.beside) as f64 / settings.beside as f64).sqrt();
            deviation[width - settings.beside..].iter_mut().for_each(|deviation| *deviation /= scale);
        }
        let standard: Vec<Vec<f64>> = vectors.iter().map(|row| standardised(row, &mean, &deviation)).collect();
        let members = (0..settings.members)
            .into_par_iter()
            .map(|member| {
                let weights = if member == 0 { vec![1.0; choices.len()] } else { resampled(choices, key, member) };
                fit_one(&standard, choices, &weights, settings.ridge)
            })
            .collect();
        let FitSettings { ridge, tie_strength, text, .. } = settings;
        let mut head = Self { mean, deviation, members, offset: 0.0, tie_strength, ridge, text, descriptors: None };
        head.centre_on(vectors);
        Ok(head)
    }

    /// The score of a clip's vector.
    #[must_use]
    pub fn score(&self, vector: &[f32]) -> f64 {
        let scores = self.member_scores(vector);
        scores.iter().sum::<f64>() / scores.len().max(1) as f64
    }

    /// The score by each member.
    #[must_use]
    pub fn member_scores(&self, vector: &[f32]) -> Vec<f64> {
        let standard = standardised(vector, &self.mean, &self.deviation);
        self.members.iter().map(|weights| dot(weights, &standard) - self.offset).collect()
    }

    /// The weights of one member on vectors as they are, not standardised; none for a member that is not there.
    #[must_use]
    pub fn member_weights(&self, member: usize) -> Vec<f64> {
        let weights = self.members.get(member).map_or(&[][..], Vec::as_slice);
        weights.iter().zip(&self.deviation).map(|(weight, deviation)| weight / deviation).collect()
    }

    /// Numbers of a vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// The same head, for vectors that end with descriptors under `scale`.
    #[must_use]
    pub fn with_scale(self, scale: Option<DescriptorScale>) -> Self {
        Self { descriptors: scale, ..self }
    }

    /// The scale of the descriptors at the end of its vectors; none for vectors of the policy alone.
    #[must_use]
    pub fn scale(&self) -> Option<&DescriptorScale> {
        self.descriptors.as_ref()
    }

    /// The weights of the first member, which was fitted to all judgements.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        self.members.first().map_or(&[], Vec::as_slice)
    }

    /// What is taken from each number of a vector, and what it is divided by then.
    #[must_use]
    pub fn moments(&self) -> (&[f64], &[f64]) {
        (&self.mean, &self.deviation)
    }

    /// The same standardisation under one member of other weights.
    #[must_use]
    pub fn with_weights(&self, weights: Vec<f64>, tie_strength: f64) -> Self {
        Self { members: vec![weights], tie_strength, ..self.clone() }
    }

    /// The same head with every score multiplied by `slope`, and another tie strength.
    #[must_use]
    pub fn scaled(mut self, slope: f64, tie_strength: f64) -> Self {
        self.members.iter_mut().flatten().for_each(|weight| *weight *= slope);
        Self { offset: self.offset * slope, tie_strength, ..self }
    }

    /// Moves the scores so that their mean over `vectors` is 0.
    pub fn centre_on(&mut self, vectors: &[Vec<f32>]) {
        let sum: f64 = vectors.iter().map(|row| self.score(row)).sum();
        self.offset += sum / vectors.len().max(1) as f64;
    }

    /// Davidson's nu.
    #[must_use]
    pub fn tie_strength(&self) -> f64 {
        self.tie_strength
    }

    /// Whether captions are given to the policy.
    #[must_use]
    pub fn text(&self) -> bool {
        self.text
    }

    /// Checks what came from a file.
    ///
    /// # Errors
    /// [`Error::Config`] for lists of different length, or numbers that are not finite.
    pub fn validate(&self) -> Result<()> {
        let lists = || [&self.mean, &self.deviation].into_iter().chain(&self.members);
        self.descriptors.as_ref().map_or(Ok(()), DescriptorScale::validate)?;
        let good = !self.members.is_empty()
            && lists().all(|list| list.len() == self.mean.len() && list.iter().all(|value| value.is_finite()))
            && self.deviation.iter().all(|value| *value > 0.0)
            && self.offset.is_finite();
        if good { Ok(()) } else { Err(Error::config("head", "lists of one length, finite", "others")) }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn moments(vectors: &[Vec<f32>], width: usize) -> (Vec<f64>, Vec<f64>) {
    let count = vectors.len() as f64;
    let mean: Vec<f64> =
        (0..width).map(|at| vectors.iter().map(|row| f64::from(row[at])).sum::<f64>() / count).collect();
    let square = |at: usize| vectors.iter().map(|row| (f64::from(row[at]) - mean[at]).powi(2)).sum::<f64>() / count;
    // A number that varies by rounding alone says nothing, and would get a weight without bound; dividing by 1 leaves it near 0.
    let deviation = (0..width)
        .map(|at| (square(at).sqrt(), mean[at].abs()))
        .map(|(deviation, mean)| if deviation > 1e-6 * (1.0 + mean) { deviation } else { 1.0 })
        .collect();
    (mean, deviation)
}

fn standardised(row: &[f32], mean: &[f64], deviation: &[f64]) -> Vec<f64> {
    row.iter()
        .zip(mean)
        .zip(deviation)
        .map(|((value, mean), deviation)| (f64::from(*value) - mean) / deviation)
        .collect()
}

/// How often each choice was drawn when as many clusters as there are were drawn with replacement.
fn resampled(choices: &[Choice], key: Key, member: usize) -> Vec<f64> {
    let clusters = choices.iter().map(|choice| choice.cluster).max().unwrap_or(0) + 1;
    let mut stream = key.clip(member as u64).stream();
    let mut drawn = vec![0.0; clusters];
    (0..clusters).for_each(|_| drawn[stream.below(clusters)] += 1.0);
    choices.iter().map(|choice| drawn[choice.cluster]).collect()
}

/// Newton's method with conjugate gradients; the loss is convex, so there is one minimum.
fn fit_one(vectors: &[Vec<f64>], choices: &[Choice], drawn: &[f64], ridge: f64) -> Vec<f64> {
    let width = vectors.first().map_or(0, Vec::len);
    let total: f64 = choices.iter().zip(drawn).map(|(choice, drawn)| choice.weight * drawn).sum();
    let differences: Vec<Vec<f64>> = choices
        .iter()
        .map(|choice| vectors[choice.a].iter().zip(&vectors[choice.b]).map(|(a, b)| a - b).collect())
        .collect();
    let share = |at: usize| choices[at].weight * drawn[at] / total.max(f64::MIN_POSITIVE);
    let mut weights = vec![0.0; width];
    for _ in 0..NEWTON_STEPS {
        let chances: Vec<f64> = differences.iter().map(|d| 1.0 / (1.0 + (-dot(&weights, d)).exp())).collect();
        let mut gradient: Vec<f64> = weights.iter().map(|weight| ridge * weight).collect();
        for (at, difference) in differences.iter().enumerate() {
            let pull = share(at) * (chances[at] - choices[at].share);
            gradient.iter_mut().zip(difference).for_each(|(g, d)| *g += pull * d);
        }
        if dot(&gradient, &gradient).sqrt() < TOLERANCE {
            break;
        }
        let curvature = |v: &[f64]| {
            let mut out: Vec<f64> = v.iter().map(|value| ridge * value).collect();
            for (at, difference) in differences.iter().enumerate() {
                let pull = share(at) * chances[at] * (1.0 - chances[at]) * dot(difference, v);
                out.iter_mut().zip(difference).for_each(|(out, d)| *out += pull * d);
            }
            out
        };
        let step = conjugate_gradients(curvature, &gradient);
        weights.iter_mut().zip(step).for_each(|(weight, step)| *weight -= step);
    }
    weights
}

/// x with A x = b, for a positive definite A.
fn conjugate_gradients(product: impl Fn(&[f64]) -> Vec<f64>, b: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; b.len()];
    let mut rest = b.to_vec();
    let mut direction = rest.clone();
    let mut size = dot(&rest, &rest);
    for _ in 0..CONJUGATE_STEPS {
        if size.sqrt() < TOLERANCE * 1e-3 {
            break;
        }
        let along = product(&direction);
        let length = size / dot(&direction, &along);
        x.iter_mut().zip(&direction).for_each(|(x, d)| *x += length * d);
        rest.iter_mut().zip(&along).for_each(|(r, a)| *r -= length * a);
        let next = dot(&rest, &rest);
        let share = next / size;
        direction.iter_mut().zip(&rest).for_each(|(d, r)| *d = r + share * *d);
        size = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;

    use super::*;

    fn settings(ridge: f64) -> FitSettings {
        FitSettings { members: 3, ridge, tie_strength: 0.0, text: true, beside: 0 }
    }

    /// Clips of random vectors, and choices by a hidden taste with Bradley-Terry noise.
    fn data(clips: usize, pairs: usize) -> (Vec<Vec<f32>>, Vec<Choice>, Vec<f64>) {
        let mut stream = Key::new(5, Purpose::Test).stream();
        let vectors: Vec<Vec<f32>> = (0..clips).map(|_| (0..6).map(|_| stream.normal() as f32).collect()).collect();
        let taste = [1.5, -1.0, 0.0, 0.5, 0.0, 0.0];
        let utility: Vec<f64> =
            vectors.iter().map(|row| row.iter().zip(taste).map(|(x, t)| f64::from(*x) * t).sum()).collect();
        let choices = (0..pairs)
            .map(|pair| {
                let (a, b) = (stream.below(clips), stream.below(clips));
                let chance = 1.0 / (1.0 + (utility[b] - utility[a]).exp());
                let share = if stream.uniform() < chance { 1.0 } else { 0.0 };
                Choice { a, b, share, weight: 1.0, cluster: pair % 40 }
            })
            .collect();
        (vectors, choices, utility)
    }

    #[test]
    fn a_taste_is_found_and_scores_are_its_utilities() {
        let (vectors, choices, utility) = data(200, 3000);
        let head = PreferenceHead::fit(&vectors, &choices, settings(1e-3), Key::new(1, Purpose::Test)).unwrap();
        let scores: Vec<f64> = vectors.iter().map(|row| head.score(row)).collect();
        assert!(scores.iter().sum::<f64>().abs() < 1e-6);
        let mean = utility.iter().sum::<f64>() / utility.len() as f64;
        let slope = dot(&scores, &utility.iter().map(|u| u - mean).collect::<Vec<_>>())
            / utility.iter().map(|u| (u - mean).powi(2)).sum::<f64>();
        assert!((0.85..1.15).contains(&slope), "{slope}");
        // The weights of vectors as they are say the same, up to a constant.
        let raw = |row: &Vec<f32>| -> f64 {
            row.iter().zip(head.member_weights(1)).map(|(x, weight)| f64::from(*x) * weight).sum()
        };
        let said = |row: &Vec<f32>| head.member_scores(row)[1];
        assert!((raw(&vectors[0]) - raw(&vectors[1]) - said(&vectors[0]) + said(&vectors[1])).abs() < 1e-9);
        // Swapping the sides of every choice changes nothing.
        let swapped: Vec<Choice> =
            choices.iter().map(|c| Choice { a: c.b, b: c.a, share: 1.0 - c.share, ..*c }).collect();
        let other = PreferenceHead::fit(&vectors, &swapped, settings(1e-3), Key::new(1, Purpose::Test)).unwrap();
        vectors.iter().for_each(|row| assert!((head.score(row) - other.score(row)).abs() < 1e-6));
        // Ties alone leave nothing to tell clips apart.
        let ties: Vec<Choice> = choices.iter().map(|c| Choice { share: 0.5, ..*c }).collect();
        let none = PreferenceHead::fit(&vectors, &ties, settings(1e-3), Key::new(1, Purpose::Test)).unwrap();
        vectors.iter().for_each(|row| assert!(none.score(row).abs() < 1e-6));
    }

    #[test]
    fn rounding_alone_gets_no_weight() {
        let (mut vectors, choices, _) = data(60, 200);
        vectors.iter_mut().enumerate().for_each(|(clip, row)| row[2] = 3.0 + 1e-7 * (clip % 2) as f32);
        let head = PreferenceHead::fit(&vectors, &choices, settings(0.1), Key::new(1, Purpose::Test)).unwrap();
        assert!(head.member_weights(0).iter().all(|weight| weight.abs() < 10.0), "{:?}", head.member_weights(0));
    }

    #[test]
    fn numbers_beside_the_policys_share_one_penalty() {
        // The taste is in the first number alone. With few choices and a large ridge its weight is held near 0, less so where
        // it stands beside the other five.
        let (mut vectors, choices, _) = data(60, 200);
        let weight = |vectors: &[Vec<f32>], at: usize, beside: usize| {
            let settings = FitSettings { beside, ..settings(3.0) };
            let head = PreferenceHead::fit(vectors, &choices, settings, Key::new(1, Purpose::Test)).unwrap();
            head.member_weights(0)[at]
        };
        let among = weight(&vectors, 0, 0);
        vectors.iter_mut().for_each(|row| row.rotate_left(1));
        assert!((weight(&vectors, 5, 0) - among).abs() < 1e-6);
        let beside = weight(&vectors, 5, 1);
        assert!(among > 0.0 && beside > 1.5 * among, "{among} {beside}");
    }

    #[test]
    fn a_stored_head_is_checked_and_bad_data_is_refused() {
        let (vectors, choices, _) = data(20, 60);
        let key = Key::new(1, Purpose::Test);
        let head = PreferenceHead::fit(&vectors, &choices, settings(0.1), key).unwrap();
        head.validate().unwrap();
        let mut broken = head.clone();
        broken.members[1].pop();
        assert!(broken.validate().is_err());
        let mut broken = head;
        broken.mean[0] = f64::NAN;
        assert!(broken.validate().is_err());
        assert!(PreferenceHead::fit(&vectors, &[], settings(0.1), key).is_err());
        assert!(PreferenceHead::fit(&vectors, &choices, settings(0.0), key).is_err());
        let mut spoilt = vectors;
        spoilt[3][2] = f32::INFINITY;
        assert!(PreferenceHead::fit(&spoilt, &choices, settings(0.1), key).unwrap_err().to_string().contains("clip 3"));
    }
}
