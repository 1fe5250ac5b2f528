//! Several judges at once: a weighted sum that reports its parts.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{
    judge::{Clip, Reward, Score, score_checked},
    scale::Scale,
};
use crate::{Error, Result};

/// One judge of a sum.
pub struct Part {
    /// The judge, on its own scale.
    pub reward: Box<dyn Reward>,
    /// Brings its scores to the sum's scale.
    pub scale: Scale,
    /// Its share of the total, at least 0. With 0 the judge is only watched: it is reported, adds nothing, and cannot
    /// make a clip unscorable.
    pub weight: f64,
}

/// What one judge of a sum said.
#[derive(Debug, Clone, PartialEq)]
pub struct PartReport {
    /// The judge's name.
    pub name: String,
    /// Its share of the total.
    pub weight: f64,
    /// Its scores as it gave them, one a clip.
    pub raw: Vec<Score>,
    /// Its scores on the sum's scale, before the weight.
    pub scaled: Vec<Score>,
}

/// Raw, scaled and total scores of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct SumReport {
    /// One a judge, in order.
    pub parts: Vec<PartReport>,
    /// Sum of weight * scaled, one a clip; unscorable, with the judge's name and reason, where a judge that counts could
    /// not score.
    pub total: Vec<Score>,
}

/// The weighted sum of judges: total = sum over parts of weight * scale(raw).
pub struct WeightedSum {
    name: String,
    parts: Vec<Part>,
}

impl WeightedSum {
    /// A sum under a name of its own.
    ///
    /// # Errors
    /// [`Error::Config`] for no parts, a name used twice, a negative or infinite weight, no weight at all, or a bad
    /// scale.
    pub fn new(name: impl Into<String>, parts: Vec<Part>) -> Result<Self> {
        let bad = |field, expected: &str, got| Err(Error::Config { field, expected: expected.to_string(), got });
        if parts.is_empty() {
            return bad("rewards", "at least one reward", "none".to_string());
        }
        for (index, part) in parts.iter().enumerate() {
            part.scale.validate()?;
            let name = part.reward.name();
            if !(part.weight.is_finite() && part.weight >= 0.0) {
                return bad("weight", "at least 0 and finite", format!("{} for `{name}`", part.weight));
            }
            if parts[..index].iter().any(|other| other.reward.name() == name) {
                return bad("rewards", "each under a name of its own", format!("`{name}` twice"));
            }
        }
        if parts.iter().all(|part| part.weight == 0.0) {
            return bad("weight", "above 0 for some reward", "0 for all".to_string());
        }
        Ok(Self { name: name.into(), parts })
    }

    /// Scores a batch and reports every part.
    ///
    /// # Errors
    /// Those of the judges, and [`Error::Reward`] for one that breaks its contract.
    pub fn report(&self, clips: &[Clip<'_>]) -> Result<SumReport> {
        self.report_of(self.parts.iter(), clips)
    }

    /// As [`report`](Self::report), without asking the judges that are only watched: the same totals for less work.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub fn report_counted(&self, clips: &[Clip<'_>]) -> Result<SumReport> {
        self.report_of(self.parts.iter().filter(|part| part.weight > 0.0), clips)
    }

    fn report_of<'a>(&self, asked: impl Iterator<Item = &'a Part>, clips: &[Clip<'_>]) -> Result<SumReport> {
        let mut total = vec![Score::Value(0.0); clips.len()];
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in asked {
            let raw = score_checked(part.reward.as_ref(), clips)?;
            let scaled: Vec<Score> = raw.iter().map(|score| part.scale.apply(score)).collect();
            let name = part.reward.name().to_string();
            if part.weight > 0.0 {
                for (total, score) in total.iter_mut().zip(&scaled) {
                    *total = add(total, part.weight, score, &name);
                }
            }
            parts.push(PartReport { name, weight: part.weight, raw, scaled });
        }
        Ok(SumReport { parts, total })
    }
}

/// total + weight * score; the first reason stays.
fn add(total: &Score, weight: f64, score: &Score, name: &str) -> Score {
    match (total, score) {
        (Score::Unscorable(_), _) => total.clone(),
        (_, Score::Unscorable(reason)) => Score::Unscorable(format!("{name}: {reason}")),
        (Score::Value(total), Score::Value(value)) => match total + weight * value {
            sum if sum.is_finite() => Score::Value(sum),
            _ => Score::Unscorable(format!("{name}: the total is too large")),
        },
    }
}

impl Reward for WeightedSum {
    fn name(&self) -> &str {
        &self.name
    }

    fn hears_audio(&self) -> bool {
        self.parts.iter().any(|part| part.reward.hears_audio())
    }

    fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
        Ok(self.report(clips)?.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::{Bounds, RangeMap, TokensView};

    /// Gives the same scores whatever it sees.
    struct Fixed(&'static str, Vec<Score>);

    impl Reward for Fixed {
        fn name(&self) -> &str {
            self.0
        }

        fn hears_audio(&self) -> bool {
            self.0 == "quality"
        }

        fn score(&self, _: &[Clip<'_>]) -> Result<Vec<Score>> {
            Ok(self.1.clone())
        }
    }

    fn part(name: &'static str, scores: &[f64], weight: f64) -> Part {
        let scores = scores.iter().map(|s| if *s < 0.0 { Score::Unscorable("bad".into()) } else { Score::Value(*s) });
        Part { reward: Box::new(Fixed(name, scores.collect())), scale: Scale::default(), weight }
    }

    const CLIP: Clip<'_> = Clip { caption: "", tokens: TokensView { ids: &[], slots: 1 }, audio: None };

    #[test]
    fn raw_scaled_and_total_are_reported() -> Result<()> {
        let quality = Part {
            scale: Scale {
                map: Some(RangeMap { from: [1.0, 5.0], to: [0.0, 1.0] }),
                clip: Some(Bounds { low: 0.0, high: 1.0 }),
            },
            ..part("quality", &[3.0, 9.0, 3.0], 2.0)
        };
        let parts = vec![quality, part("text", &[0.25, 0.5, -1.0], 1.0), part("watched", &[-1.0, 7.0, 7.0], 0.0)];
        let sum = WeightedSum::new("total", parts)?;
        let report = sum.report(&[CLIP; 3])?;
        assert_eq!(report.total, [Score::Value(1.25), Score::Value(2.5), Score::Unscorable("text: bad".into())]);
        assert_eq!(report.parts[0].raw[1], Score::Value(9.0));
        assert_eq!(report.parts[0].scaled[1], Score::Value(1.0));
        assert_eq!(report.parts[2].scaled[0], Score::Unscorable("bad".into()));
        assert_eq!(sum.score(&[CLIP; 3])?, report.total);
        let counted = sum.report_counted(&[CLIP; 3])?;
        assert_eq!((&counted.parts[..], &counted.total), (&report.parts[..2], &report.total));
        assert!(sum.hears_audio() && sum.name() == "total");
        Ok(())
    }

    #[test]
    fn a_judge_that_breaks_its_contract_is_named() -> Result<()> {
        for scores in [&[1.0] as &[f64], &[1.0, f64::NAN], &[1.0, f64::INFINITY]] {
            let sum = WeightedSum::new("total", vec![part("odd", scores, 1.0)])?;
            assert!(matches!(sum.score(&[CLIP; 2]), Err(Error::Reward { name, .. }) if name == "odd"), "{scores:?}");
        }
        let sum = WeightedSum::new("total", vec![part("a", &[1e308], 1.0), part("b", &[1e308], 1.0)])?;
        assert_eq!(sum.score(&[CLIP])?, [Score::Unscorable("b: the total is too large".into())]);
        Ok(())
    }

    #[test]
    fn bad_sums_are_refused() {
        let refused = |parts: Vec<Part>| matches!(WeightedSum::new("s", parts), Err(Error::Config { .. }));
        assert!(refused(vec![]));
        assert!(refused(vec![part("a", &[], -1.0)]));
        assert!(refused(vec![part("a", &[], f64::NAN)]));
        assert!(refused(vec![part("a", &[], 0.0)]));
        assert!(refused(vec![part("a", &[], 1.0), part("a", &[], 1.0)]));
    }
}
