//! Bringing rewards to one scale: affine maps and clipping.

use alloc::{format, string::ToString, vec::Vec};
use serde::{Deserialize, Serialize};

use super::judge::{Clip, Reward, Score, score_checked};
use crate::{Error, Result};

/// Maps the range `from` to the range `to` in a straight line; what lies outside goes on along it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeMap {
    /// The judge's range, low to high: `[1, 5]` for opinion scores.
    pub from: [f64; 2],
    /// What its ends become: `[0, 1]`. Falling where less is better.
    pub to: [f64; 2],
}

impl RangeMap {
    /// The value at `x`: to_0 + (x - from_0) (to_1 - to_0) / (from_1 - from_0).
    #[must_use]
    pub fn apply(&self, x: f64) -> f64 {
        let ([a, b], [c, d]) = (self.from, self.to);
        c + (x - a) / (b - a) * (d - c)
    }
}

/// Limits that a value is clipped to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
}

/// A map, then clipping; each may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scale {
    /// From the judge's range to another.
    pub map: Option<RangeMap>,
    /// Limits, on the mapped scale.
    pub clip: Option<Bounds>,
}

impl Scale {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] unless ranges are finite, `from` rises, and `low` is at most `high`.
    pub fn validate(&self) -> Result<()> {
        let bad = |field, expected: &str, got| Err(Error::Config { field, expected: expected.to_string(), got });
        if let Some(RangeMap { from, to }) = self.map {
            let finite = from.iter().chain(&to).all(|x| x.is_finite()) && (from[1] - from[0]).is_finite();
            if !finite || from[0] >= from[1] {
                return bad("from", "two finite numbers, the second larger", format!("{from:?} to {to:?}"));
            }
        }
        match self.clip {
            Some(Bounds { low, high }) if low.is_nan() || high.is_nan() || low > high => {
                bad("clip", "low at most high", format!("{low}, {high}"))
            }
            _ => Ok(()),
        }
    }

    /// The scaled score; a value that the scale makes infinite is unscorable.
    #[must_use]
    pub fn apply(&self, score: &Score) -> Score {
        let Score::Value(raw) = score else { return score.clone() };
        let mapped = self.map.map_or(*raw, |map| map.apply(*raw));
        let scaled = self.clip.map_or(mapped, |Bounds { low, high }| mapped.max(low).min(high));
        if scaled.is_finite() { Score::Value(scaled) } else { Score::Unscorable(format!("{raw} is off every scale")) }
    }
}

/// A judge on another scale.
#[derive(Debug, Clone)]
pub struct Scaled<R> {
    inner: R,
    scale: Scale,
}

impl<R: Reward> Scaled<R> {
    /// `inner`, its scores mapped and clipped.
    ///
    /// # Errors
    /// As [`Scale::validate`].
    pub fn new(inner: R, scale: Scale) -> Result<Self> {
        scale.validate()?;
        Ok(Self { inner, scale })
    }
}

impl<R: Reward> Reward for Scaled<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn hears_audio(&self) -> bool {
        self.inner.hears_audio()
    }

    fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
        Ok(score_checked(&self.inner, clips)?.iter().map(|score| self.scale.apply(score)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(clip: Option<Bounds>) -> Scale {
        Scale { map: Some(RangeMap { from: [1.0, 5.0], to: [0.0, 1.0] }), clip }
    }

    #[test]
    fn opinion_scores_become_the_unit_interval() {
        let at = |scale: Scale, x| scale.apply(&Score::Value(x)).value();
        let bounds = Some(Bounds { low: 0.0, high: 1.0 });
        for (x, mapped, clipped) in
            [(1.0, 0.0, 0.0), (5.0, 1.0, 1.0), (3.0, 0.5, 0.5), (7.0, 1.5, 1.0), (-1.0, -0.5, 0.0)]
        {
            assert_eq!((at(opinion(None), x), at(opinion(bounds), x)), (Some(mapped), Some(clipped)), "{x}");
        }
        let falling = Scale { map: Some(RangeMap { from: [0.0, 10.0], to: [1.0, 0.0] }), clip: None };
        assert_eq!(at(falling, 2.5), Some(0.75));
        let reason = Score::Unscorable("silent".into());
        assert_eq!(opinion(bounds).apply(&reason), reason);
        assert!(at(opinion(None), f64::MAX).is_some_and(f64::is_finite));
        let steep = Scale { map: Some(RangeMap { from: [0.0, 1e-300], to: [0.0, 1e300] }), clip: None };
        assert_eq!(at(steep, 1.0), None);
    }

    #[test]
    fn bad_scales_are_refused() {
        let map = |from, to| Scale { map: Some(RangeMap { from, to }), clip: None };
        let clip = |low, high| Scale { map: None, clip: Some(Bounds { low, high }) };
        for scale in [
            map([1.0, 1.0], [0.0, 1.0]),
            map([5.0, 1.0], [0.0, 1.0]),
            map([f64::NAN, 1.0], [0.0, 1.0]),
            map([0.0, 1.0], [0.0, f64::INFINITY]),
            clip(1.0, 0.0),
            clip(f64::NAN, 0.0),
        ] {
            assert!(matches!(scale.validate(), Err(Error::Config { .. })), "{scale:?}");
        }
        assert_eq!(opinion(None).validate(), Ok(()));
    }
}
