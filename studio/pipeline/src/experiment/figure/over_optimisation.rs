//! The proxy up, the truth down: all runs by step, the guarded choice ringed.

use super::{SIMULATED, upright_label};
use crate::{
    experiment::{over_optimisation::OverOptimisationFindings, share::Moment},
    figure::{Area, Axis, Legend, Look, Panel, Series, Svg},
};

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 130.0;
const TOP: f64 = 90.0;
const STEP: f64 = HEIGHT + 36.0;

/// What a panel shows.
type Shows = fn(&Moment) -> Option<f64>;

/// Reward model, validation model and true utility by step.
pub(in crate::experiment) fn over_optimisation_figure(found: &OverOptimisationFindings) -> String {
    let title = "Reward over-optimisation, and the guarded choice";
    let about = "The reward model that is learned from, a validation model of other pairs, and the true utility by step, one \
                 line a seed; rings: the checkpoint of the guarded choice; simulated listeners.";
    let legend =
        Legend::new(found.runs.iter().enumerate().map(|(at, run)| (Look::of(at), run.system.clone())), WIDTH - 90.0);
    let truth = format!("true utility, {}", found.population);
    let panels: [(&str, Shows); 3] = [
        ("reward model", |moment| Some(moment.proxy)),
        ("validation model", |moment| moment.validation),
        (&truth, |moment| Some(moment.utility)),
    ];
    let top = TOP + legend.height();
    let mut svg = Svg::new(WIDTH, top + STEP * panels.len() as f64 + 36.0, title, about);
    svg.text((8.0, 20.0), "heading", title);
    svg.text((8.0, 37.0), "small", &format!("rings: the guarded choice; {SIMULATED}"));
    legend.draw(&mut svg, (70.0, 58.0));
    let moments = || found.runs.iter().flat_map(|run| &run.course);
    let steps: Vec<f64> = moments().map(|moment| moment.step as f64).collect();
    for (place, (label, shows)) in panels.into_iter().enumerate() {
        let x = Axis::from_zero("step", steps.iter().copied(), 6);
        let panel = Panel {
            area: Area { x: 70.0, y: top + STEP * place as f64, width: WIDTH - 90.0, height: HEIGHT },
            x: if place + 1 == panels.len() { x } else { x.unlabelled() },
            y: Axis::around("", moments().filter_map(shows), 4).signed(),
        };
        panel.frame(&mut svg);
        upright_label(&mut svg, &panel, label);
        for (at, run) in found.runs.iter().enumerate() {
            let point = |moment: &Moment| Some((moment.step as f64, shows(moment)?));
            svg.group(&[("class", Look::of(at).class().as_str().into())], |svg| {
                panel.trace(svg, &Series::new(run.course.iter().filter_map(point)));
                if let Some(chosen) = point(&run.chosen) {
                    panel.ring(svg, chosen);
                }
            });
        }
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        experiment::over_optimisation::OverOptimisedRun,
        figure::xml::{assert_finite, parse},
    };

    #[test]
    fn every_seed_has_a_line_and_a_ring_where_it_was_measured() {
        let moment = |step: u64, validation: Option<f64>| Moment {
            step,
            proxy: step as f64,
            validation,
            utility: -(step as f64),
            kl: 0.0,
            entropy: 1.0,
            guarded: None,
        };
        let run = |name: &str, validation: Option<f64>| OverOptimisedRun {
            system: name.into(),
            seed: 1,
            start: moment(0, validation),
            peak: moment(0, validation),
            end: moment(8, validation),
            chosen: moment(4, validation),
            over_optimised: true,
            share: None,
            end_share: None,
            gain: None,
            course: vec![moment(0, validation), moment(4, validation), moment(8, validation)],
        };
        let found = OverOptimisationFindings {
            population: "village".into(),
            runs: vec![run("seed-1", Some(0.5)), run("seed-2", None)],
            over_optimised: 2,
            share: None,
            smallest_share: None,
            end_share: None,
        };
        let svg = over_optimisation_figure(&found);
        assert_finite(&parse(&svg).unwrap());
        assert_eq!((svg.matches("class=\"ring\"").count(), svg.matches("class=\"trace\"").count()), (5, 5 + 2));
        assert!(svg.contains("true utility, village") && svg.contains(SIMULATED));
    }
}
