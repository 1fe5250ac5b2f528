//! Scoring parts of a clip: judges that were made for a fixed length, on clips of any.

use alloc::{format, string::String, vec, vec::Vec};
use serde::{Deserialize, Serialize};

use super::judge::{AudioView, Clip, Reward, Score, TokensView, score_checked};
use crate::{Error, Result};

/// Which parts of a clip are scored. All scale with the clip's length.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Windows {
    /// The clip as a whole.
    #[default]
    Whole,
    /// Equal segments that cover the clip: three for text adherence (10 s each of 30 s).
    Segments {
        /// How many, 1 to 1,000.
        count: usize,
    },
    /// The beginning and the end: 2/3 for acoustic quality and user preference (the first and the last 20 s of 30 s).
    Ends {
        /// Share of the clip in each of the two, above 0 and at most 1; above 1/2 they overlap.
        fraction: f64,
    },
}

impl Windows {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] for a count or fraction outside its range.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Segments { count } if !(1..=1000).contains(&count) => {
                Err(Error::Config { field: "count", expected: "between 1 and 1000".into(), got: format!("{count}") })
            }
            Self::Ends { fraction } if !(fraction > 0.0 && fraction <= 1.0) => Err(Error::Config {
                field: "fraction",
                expected: "above 0 and at most 1".into(),
                got: format!("{fraction}"),
            }),
            Self::Whole | Self::Segments { .. } | Self::Ends { .. } => Ok(()),
        }
    }

    /// The windows of something of `length` elements, as ranges; ends are rounded to the nearest element.
    #[must_use]
    pub fn ranges(&self, length: usize) -> Vec<core::ops::Range<usize>> {
        let cut = |share: f64| (libm::round(share * length as f64) as usize).min(length);
        match *self {
            Self::Whole => vec![0..length; 1],
            Self::Segments { count } => {
                let edge = |i: usize| cut(i as f64 / count as f64);
                (0..count).map(|i| edge(i)..edge(i + 1)).collect()
            }
            Self::Ends { fraction } => vec![0..cut(fraction), length - cut(fraction)..length],
        }
    }
}

/// A judge that scores windows of a clip: the clip's score is their mean.
///
/// Sound and tokens are cut at the same shares of their lengths. A clip is unscorable when one of its windows is, or
/// when it is so short that a window is empty.
#[derive(Debug, Clone)]
pub struct Windowed<R> {
    inner: R,
    windows: Windows,
}

impl<R: Reward> Windowed<R> {
    /// `inner`, on `windows` of each clip.
    ///
    /// # Errors
    /// As [`Windows::validate`].
    pub fn new(inner: R, windows: Windows) -> Result<Self> {
        windows.validate()?;
        Ok(Self { inner, windows })
    }
}

impl<R: Reward> Reward for Windowed<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn hears_audio(&self) -> bool {
        self.inner.hears_audio()
    }

    fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
        // All windows of all scorable clips go to the judge in one batch.
        let cuts: Vec<core::result::Result<Vec<Clip<'_>>, String>> =
            clips.iter().map(|clip| cut(clip, self.windows, self.hears_audio())).collect();
        let parts: Vec<Clip<'_>> = cuts.iter().flatten().flatten().copied().collect();
        let mut scores = score_checked(&self.inner, &parts)?.into_iter();
        Ok(cuts
            .into_iter()
            .map(|cut| match cut {
                Ok(windows) => average(scores.by_ref().take(windows.len()).collect()),
                Err(reason) => Score::Unscorable(reason),
            })
            .collect())
    }
}

/// The windows of a clip, or why there are none.
fn cut<'a>(clip: &Clip<'a>, windows: Windows, hears_audio: bool) -> core::result::Result<Vec<Clip<'a>>, String> {
    let tokens = clip.tokens;
    let token_ranges = windows.ranges(tokens.frames());
    let samples = clip.audio.map_or(0, |audio| audio.samples.len());
    let mut parts = Vec::with_capacity(token_ranges.len());
    for (index, (frames, range)) in token_ranges.into_iter().zip(windows.ranges(samples)).enumerate() {
        let empty = if hears_audio { clip.audio.is_some() && range.is_empty() } else { frames.is_empty() };
        if empty {
            return Err(format!("window {index} is empty: {} frames, {samples} samples", tokens.frames()));
        }
        let ids = tokens.ids.get(frames.start * tokens.slots..frames.end * tokens.slots).unwrap_or_default();
        let audio = clip.audio.map(|audio| AudioView {
            samples: audio.samples.get(range).unwrap_or_default(),
            sample_rate_hz: audio.sample_rate_hz,
        });
        parts.push(Clip { caption: clip.caption, tokens: TokensView { ids, slots: tokens.slots }, audio });
    }
    Ok(parts)
}

/// The mean; the first unscorable window makes the clip so.
fn average(scores: Vec<Score>) -> Score {
    let mut sum = 0.0;
    let count = scores.len();
    for (index, score) in scores.into_iter().enumerate() {
        match score {
            Score::Value(value) => sum += value / count as f64,
            Score::Unscorable(reason) => return Score::Unscorable(format!("window {index}: {reason}")),
        }
    }
    Score::Value(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first sample of what it hears; unscorable when that is negative.
    struct First;

    impl Reward for First {
        fn name(&self) -> &str {
            "first"
        }

        fn hears_audio(&self) -> bool {
            true
        }

        fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
            let first = |clip: &Clip<'_>| clip.audio.and_then(|audio| audio.samples.first().copied()).map(f64::from);
            Ok(clips
                .iter()
                .map(|clip| match first(clip) {
                    Some(value) if value >= 0.0 => Score::Value(value),
                    _ => Score::Unscorable("no sound".into()),
                })
                .collect())
        }
    }

    fn clip(samples: &[f32]) -> Clip<'_> {
        let audio = Some(AudioView { samples, sample_rate_hz: 10 });
        Clip { caption: "c", tokens: TokensView { ids: &[0, 1, 2, 3, 4, 5], slots: 2 }, audio }
    }

    #[test]
    fn windows_scale_with_the_clip() {
        assert_eq!(Windows::Segments { count: 3 }.ranges(30), [0..10, 10..20, 20..30]);
        assert_eq!(Windows::Segments { count: 3 }.ranges(7), [0..2, 2..5, 5..7]);
        assert_eq!(Windows::Ends { fraction: 2.0 / 3.0 }.ranges(30), [0..20, 10..30]);
        assert_eq!(Windows::Whole.ranges(4), vec![0..4; 1]);
    }

    #[test]
    fn the_score_is_the_mean_of_the_windows() -> Result<()> {
        let reward = Windowed::new(First, Windows::Segments { count: 3 })?;
        let (rising, silent) = ([0.0, 9.0, 3.0, 9.0, 6.0, 9.0], [0.0, 0.0, -1.0, 0.0, 0.0, 0.0]);
        let scores = reward.score(&[clip(&rising), clip(&silent), clip(&[1.0]), clip(&rising)])?;
        assert_eq!(scores[0], Score::Value(3.0));
        assert_eq!(scores[1], Score::Unscorable("window 1: no sound".into()));
        assert_eq!(scores[2], Score::Unscorable("window 0 is empty: 3 frames, 1 samples".into()));
        assert_eq!(scores[3], Score::Value(3.0), "the scores stay with their clips");
        assert_eq!(
            Windowed::new(First, Windows::Ends { fraction: 0.5 })?.score(&[clip(&rising)])?,
            [Score::Value(4.5)]
        );
        Ok(())
    }

    #[test]
    fn a_judge_that_hears_nothing_is_asked_about_nothing_else() -> Result<()> {
        let mute = Clip { audio: None, ..clip(&[]) };
        let scores = Windowed::new(First, Windows::Segments { count: 3 })?.score(&[mute])?;
        assert_eq!(scores, [Score::Unscorable("window 0: no sound".into())]);
        Ok(())
    }

    #[test]
    fn bad_windows_are_refused() {
        for windows in [
            Windows::Segments { count: 0 },
            Windows::Segments { count: usize::MAX },
            Windows::Ends { fraction: 0.0 },
            Windows::Ends { fraction: 1.5 },
            Windows::Ends { fraction: f64::NAN },
        ] {
            assert!(matches!(Windowed::new(First, windows), Err(Error::Config { .. })), "{windows:?}");
        }
        assert!(serde_json::from_str::<Windows>(r#"{"kind":"ends","fraction":0.5,"x":1}"#).is_err());
    }
}
