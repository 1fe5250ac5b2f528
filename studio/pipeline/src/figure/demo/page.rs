//! The page: where the parts stand, and the line below them that says how it was made.

use super::{
    clips::{self, Clips},
    held_out,
    input::DemoFigure,
    training,
};
use crate::{
    Result,
    figure::{Area, Svg, words::difference},
};

/// Width of the page, in pixels: about that of the text on a code host.
const WIDTH: f64 = 832.0;

/// Upper edge and height of the panels.
const TOP: f64 = 72.0;
const HEIGHT: f64 = 180.0;

impl DemoFigure<'_> {
    /// The figure as an SVG document. The same input gives the same bytes.
    ///
    /// # Errors
    /// When a picture of the sound cannot be made.
    pub fn svg(&self) -> Result<String> {
        let clips = Clips::of(self)?;
        let below = TOP + HEIGHT + 58.0;
        let height = below + clips.height() + 24.0;
        let mut svg = Svg::new(WIDTH, height, "Alignment with text adherence, before and after", &self.description());
        let panel = |x, width| Area { x, y: TOP, width, height: HEIGHT };
        training::reward(&mut svg, self, panel(62.0, 236.0));
        training::price(&mut svg, self, panel(372.0, 170.0));
        held_out::draw(&mut svg, self, panel(612.0, 168.0));
        clips.draw(&mut svg, below);
        svg.text((WIDTH / 2.0, height - 12.0), "small middle", &self.made_with());
        Ok(svg.finish())
    }

    /// How it was made.
    fn made_with(&self) -> String {
        let report = self.report;
        let mut batches: Vec<String> = self.stages.iter().map(|stage| stage.batch.to_string()).collect();
        batches.dedup();
        let parts = [
            format!("seed {}", report.seed),
            format!("{} steps of {} clips", report.steps, batches.join(" and ")),
            format!("backend {}", self.backend),
            format!("measured on {} captions × {} clips", report.captions, report.clips_per_caption),
        ];
        parts.join("  ·  ")
    }

    fn description(&self) -> String {
        let report = self.report;
        format!(
            "Training reward, sequence KL and entropy by step; text adherence on {} held-out captions before and after \
             alignment, difference {} ({} standard errors); spectrograms of {}.",
            report.captions,
            difference(report.difference.estimate, 3),
            difference(report.standard_errors, 1),
            clips::how_many(self.clips.len()),
        )
    }
}

/// The letter and the name of a part, above its area.
pub(super) fn heading(svg: &mut Svg, area: &Area, letter: &str, name: &str) {
    svg.text((area.x - 48.0, 24.0), "letter", letter);
    svg.text((area.x - 32.0, 24.0), "heading", name);
}

#[cfg(test)]
mod tests {
    use musicrl_core::stats::Interval;
    use proptest::prelude::*;

    use super::{
        super::{ClipPair, Heard, StageCurve},
        *,
    };
    use crate::{
        demo::{DemoReport, Side},
        figure::xml::{Node, assert_finite, parse},
        run::{Kind, Record},
        training::Metrics,
    };

    fn interval([estimate, low, high]: [f64; 3]) -> Interval {
        Interval { estimate, low, high, standard_error: (high - low) / 3.92 }
    }

    fn report(before: [f64; 3], after: [f64; 3], difference: [f64; 3], standard_errors: f64) -> DemoReport {
        let side = |reward, entropy| Side {
            reward: interval(reward),
            sequence_kl: 14.0,
            entropy,
            distinct_share: 1.0,
            unscorable: 0,
        };
        DemoReport {
            captions: 64,
            clips_per_caption: 6,
            before: side(before, 2.5),
            after: side(after, 2.3),
            difference: interval(difference),
            standard_errors,
            entropy_share: 0.9,
            steps: 140,
            seed: 1,
        }
    }

    fn record(step: u64, [reward, kl, entropy]: [f64; 3]) -> Record {
        let metrics = [("reward", reward), ("kl", kl), ("entropy", entropy)];
        let metrics = Metrics(metrics.map(|(name, value)| (name.to_owned(), value)).to_vec());
        Record { step, kind: Kind::Train, metrics }
    }

    /// Made-up numbers and sounds that look like a run's.
    fn made_up(path: &std::path::Path) -> DemoReport {
        let report = report([0.431, 0.402, 0.46], [0.472, 0.441, 0.502], [0.041, 0.018, 0.064], 3.5);
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let records: Vec<Record> = (1..=140_u64)
            .map(|step| {
                let done = step as f64 / 140.0;
                let reward = 0.35 + 0.06 * done.sqrt() + 0.07 * noise();
                record(step, [reward, 14.0 * done.powf(1.3) + noise(), 2.5 - 0.25 * done + 0.06 * noise()])
            })
            .collect();
        let mut sound = |hz: f64, seconds: f64| -> Vec<f32> {
            let note = |i: usize| (i / 4_000) as f64;
            (0..(16_000.0 * seconds) as usize)
                .map(|i| {
                    let (time, pitch) = (i as f64 / 16_000.0, hz * 2.0_f64.powf((note(i) * 5.0 % 12.0).floor() / 12.0));
                    let fade = (-(time - note(i) / 4.0) * 9.0).exp();
                    let tone: f64 = (1..6)
                        .map(|k| (std::f64::consts::TAU * pitch * f64::from(k) * time).sin() / f64::from(k * k))
                        .sum();
                    (0.3 * fade * tone + 0.004 * noise()) as f32
                })
                .collect()
        };
        let sounds: Vec<Vec<f32>> = (0..6).map(|at| sound(180.0 + 60.0 * f64::from(at), 6.4)).collect();
        let captions = [
            "a fast bright marimba piece in D major with drums, played loudly",
            "slow & dark strings <in a minor key>, \"very soft\", with a bass that walks",
            "a waltz for flute and harp at a moderate tempo, its melody repeated four times, then once more an octave above, \
             then gone",
        ];
        let heard = |at: usize, score| Heard { samples: &sounds[at], score };
        let figure = DemoFigure {
            report: &report,
            stages: vec![StageCurve { batch: 32, records, chosen_step: 140 }],
            backend: "flex",
            clips: (0..3)
                .map(|at| ClipPair {
                    caption: captions[at],
                    before: heard(2 * at, Some(0.412 - 0.08 * at as f64)),
                    after: heard(2 * at + 1, (at != 1).then_some(0.51)),
                })
                .collect(),
            sample_rate_hz: 16_000,
        };
        let svg = figure.svg().unwrap();
        assert_eq!(svg, figure.svg().unwrap());
        assert!(svg.len() < 300_000, "{} bytes", svg.len());
        assert_finite(&parse(&svg).unwrap());
        std::fs::write(path, svg).unwrap();
        report.clone()
    }

    #[test]
    fn a_run_of_usual_size_is_a_small_well_formed_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("demo.svg");
        let report = made_up(&path);
        let nodes = parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        let texts: Vec<&str> = nodes
            .iter()
            .filter_map(|node| match node {
                Node::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        for expected in [
            "difference = +3.5 standard errors",
            "slow & dark strings <in a minor key>, \"very soft\", with a bass that walks",
            "before 0.412",
            "after: no score",
            "seed 1  ·  140 steps of 32 clips  ·  backend flex  ·  measured on 64 captions × 6 clips",
        ] {
            assert!(texts.contains(&expected), "{expected}: {texts:?}");
        }
        assert_eq!(nodes.iter().filter(|node| **node == Node::Element("image".into())).count(), 7);
        assert_eq!(report.captions, 64);
    }

    #[test]
    fn stages_follow_each_other() {
        let report = report([0.0; 3], [0.0; 3], [0.0; 3], 0.0);
        let stage = |chosen_step| {
            let records = vec![record(1, [0.1, 0.0, 2.0]), record(2, [0.2, 1.0, 2.0])];
            StageCurve { batch: 8, records, chosen_step }
        };
        let figure = DemoFigure {
            report: &report,
            stages: vec![stage(2), stage(1)],
            backend: "flex",
            clips: vec![],
            sample_rate_hz: 16_000,
        };
        assert_eq!(figure.series("reward").points(), [(1.0, 0.1), (2.0, 0.2), (3.0, 0.1), (4.0, 0.2)]);
        assert!(figure.made_with().contains("140 steps of 8 clips"));
        // In each of the three panels of training, a rule where the second stage begins and one at its chosen step; one at
        // 100 % of the entropy, and one at no difference.
        assert_eq!(figure.svg().unwrap().matches("class=\"rule\"").count(), 8);
    }

    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![prop::num::f64::ANY, -1.0..1.0_f64]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_measurement_gives_a_well_formed_figure_without_odd_numbers(
            steps in prop::collection::vec(prop::array::uniform3(any_number()), 0..8),
            sides in prop::array::uniform3(prop::array::uniform3(any_number())),
            standard_errors in any_number(),
            entropy in any_number(),
            texts in prop::array::uniform2(any::<String>()),
            samples in prop::collection::vec(prop::num::f32::ANY, 0..400),
            score in prop::option::of(any_number()),
        ) {
            let [before, after, difference] = sides;
            let mut report = report(before, after, difference, standard_errors);
            report.before.entropy = entropy;
            let records: Vec<Record> =
                steps.into_iter().enumerate().map(|(at, numbers)| record(at as u64 + 1, numbers)).collect();
            let pair = ClipPair {
                caption: &texts[0],
                before: Heard { samples: &samples, score },
                after: Heard { samples: &[], score: None },
            };
            let figure = DemoFigure {
                report: &report,
                stages: vec![StageCurve { batch: 32, records, chosen_step: 2 }],
                backend: &texts[1],
                clips: vec![pair],
                sample_rate_hz: 16_000,
            };
            let svg = figure.svg().unwrap();
            let nodes = parse(&svg).map_err(TestCaseError::fail)?;
            assert_finite(&nodes);
            for node in &nodes {
                if let Node::Text(text) = node {
                    let ours = texts.iter().all(|user| user.trim().is_empty() || !text.contains(user.trim()));
                    prop_assert!(!ours || (!text.contains("NaN") && !text.contains("inf")), "{text}");
                }
            }
        }
    }
}
