//! A reward, or the diversity of clips, against the KL and against the step, every system in one figure.

use super::{
    curve::{Segment, segments},
    drawn::{Drawn, HEIGHT, LEFT, RIGHT, Table, WIDTH, flow},
    number::number,
};
use crate::{
    figure::{
        Area, Axis, Legend, Look, Panel, Series, Svg,
        words::{fitted, width},
    },
    report::read::System,
};

/// What a reward is drawn against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// The sequence KL to the stage's reference.
    Kl,
    /// Learning steps since the first base.
    Step,
}

/// The two figures of reward `name`; none where nothing measured it.
pub(in crate::report) fn reward_figures(systems: &[System], name: &str) -> Vec<Drawn> {
    let segments = segments(systems, &format!("reward_{name}"), Some(name));
    if segments.is_empty() {
        return Vec::new();
    }
    let file = format!("reward-{name}");
    [Against::Kl, Against::Step].into_iter().map(|against| draw(&segments, (&file, name), against)).collect()
}

/// The two figures of the diversity of held-out clips' tokens; none where nothing measured it.
pub(in crate::report) fn diversity_figures(systems: &[System]) -> Vec<Drawn> {
    let segments = segments(systems, "diversity", None);
    if segments.is_empty() {
        return Vec::new();
    }
    let names = ("diversity", "diversity of tokens");
    [Against::Kl, Against::Step].into_iter().map(|against| draw(&segments, names, against)).collect()
}

fn draw(segments: &[Segment<'_>], (file, name): (&str, &str), against: Against) -> Drawn {
    let plain = name.replace('_', " ");
    let (title, x_label) = match against {
        Against::Kl => (format!("{plain} against KL"), "sequence KL to the run's reference (nats)"),
        Against::Step => (format!("{plain} against step"), "learning steps since the base"),
    };
    let legend = Legend::new(entries(segments), WIDTH - 16.0);
    let top = 34.0 + legend.height();
    let signs = signs(segments);
    let description = format!("{title} of {}. {}", names(segments), signs.join("; "));
    let lines = flow(&signs, WIDTH - 16.0);
    let foot = 15.0 * lines.len() as f64;
    let mut svg = Svg::new(WIDTH, top + HEIGHT + 44.0 + foot, &title, &description);
    svg.text((8.0, 18.0), "heading", &fitted(&title, WIDTH - 16.0, 12.0));
    legend.draw(&mut svg, (8.0, 24.0));
    let panel = Panel {
        area: Area { x: LEFT, y: top, width: WIDTH - LEFT - RIGHT, height: HEIGHT },
        x: x_axis(segments, against, x_label),
        y: Axis::around(fitted(&plain, HEIGHT, 12.0), segments.iter().flat_map(ys), 5),
    };
    panel.frame(&mut svg);
    if against == Against::Step {
        starts_by_step(&mut svg, &panel, segments);
    }
    for segment in segments {
        svg.group(&[("class", Look::of(segment.system).class().as_str().into())], |svg| {
            curve(svg, &panel, segment, against);
        });
    }
    for (at, line) in lines.iter().enumerate() {
        svg.text((8.0, top + HEIGHT + 54.0 + 15.0 * at as f64), "small", line);
    }
    let note = match against {
        Against::Kl => {
            "The KL is that to the reference of the run itself: a run that starts from another and is held to it begins \
             at 0 again."
        }
        Against::Step => "A run that starts from another begins at the step whose checkpoint the other chose.",
    };
    Drawn {
        name: format!("{file}-by-{}", if against == Against::Kl { "kl" } else { "step" }),
        svg: svg.finish(),
        caption: note.into(),
        table: table(segments, &plain),
    }
}

/// One entry a system: the stages of one have one colour.
fn entries(segments: &[Segment<'_>]) -> Vec<(Look, String)> {
    let mut entries: Vec<(usize, String, Option<bool>)> = Vec::new();
    for segment in segments {
        match entries.iter_mut().find(|(system, ..)| *system == segment.system) {
            Some((.., learned)) => *learned = (*learned).max(segment.learned),
            None => entries.push((segment.system, segment.system_name.clone(), segment.learned)),
        }
    }
    let entry = |(system, name, learned): (usize, String, Option<bool>)| {
        (Look::of(system), if learned == Some(false) { format!("{name} (watched)") } else { name })
    };
    entries.into_iter().map(entry).collect()
}

fn names(segments: &[Segment<'_>]) -> String {
    segments.iter().map(|segment| segment.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What the marks mean, as far as they are there.
fn signs(segments: &[Segment<'_>]) -> Vec<String> {
    let windows: Vec<usize> =
        segments.iter().filter(|segment| !segment.training.is_empty()).map(|segment| segment.window).collect();
    let mut signs = Vec::new();
    if let (Some(least), Some(most)) = (windows.iter().min(), windows.iter().max()) {
        let steps = if least == most { least.to_string() } else { format!("{least} to {most}") };
        signs.push(format!("lines: training clips, moving mean of {steps} steps"));
    }
    if segments.iter().any(|segment| !segment.evaluated.is_empty()) {
        signs.push("dots: held-out captions".into());
    }
    if segments.iter().any(|segment| segment.chosen().is_some()) {
        signs.push("rings: chosen checkpoints".into());
    }
    if segments.iter().any(|segment| segment.continues) {
        signs.push("triangles: start from another's checkpoint".into());
    }
    signs
}

fn x_axis(segments: &[Segment<'_>], against: Against, label: &str) -> Axis {
    let xs = segments.iter().flat_map(|segment| {
        let training = segment.training.iter().map(move |(step, kl, _)| match against {
            Against::Kl => *kl,
            Against::Step => segment.stage.start as f64 + step,
        });
        let evaluated = segment.evaluated.iter().filter_map(move |point| match against {
            Against::Kl => point.kl,
            Against::Step => Some(segment.total_step(point.step)),
        });
        training.chain(evaluated)
    });
    // A KL of nothing may come out below 0 by rounding, and must not fall off the page.
    let (low, high) = xs.fold((0.0_f64, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
    let high = if high > 0.0 { high } else { 1.0 };
    Axis::spanning(label, low, 1.03 * high, 5)
}

fn ys<'a>(segment: &'a Segment<'_>) -> impl Iterator<Item = f64> + 'a {
    let evaluated = segment.evaluated.iter().flat_map(|point| {
        let (low, high) = point.interval.unwrap_or((point.value, point.value));
        [point.value, low, high]
    });
    segment.training.iter().map(|(.., value)| *value).chain(evaluated)
}

fn curve(svg: &mut Svg, panel: &Panel, segment: &Segment<'_>, against: Against) {
    let x = |step: u64, kl: Option<f64>| match against {
        Against::Kl => kl,
        Against::Step => Some(segment.total_step(step)),
    };
    let dots: Vec<(f64, f64)> =
        segment.evaluated.iter().filter_map(|point| Some((x(point.step, point.kl)?, point.value))).collect();
    let line: Vec<(f64, f64)> = match segment.training.as_slice() {
        // A reward that training does not hear: the line joins the evaluations.
        [] => dots.clone(),
        training => training
            .iter()
            .map(|(step, kl, value)| {
                (if against == Against::Kl { *kl } else { segment.stage.start as f64 + step }, *value)
            })
            .collect(),
    };
    panel.trace(svg, &Series::new(line));
    for point in &segment.evaluated {
        if let (Some(x), Some(interval)) = (x(point.step, point.kl), point.interval) {
            panel.upright(svg, x, interval);
        }
    }
    panel.circles(svg, &Series::new(dots.clone()));
    if let Some(chosen) = segment.chosen()
        && let Some(x) = x(chosen.step, chosen.kl)
    {
        panel.ring(svg, (x, chosen.value));
    }
    if let (true, Some(first)) = (segment.continues, dots.first()) {
        panel.start(svg, *first);
        if against == Against::Kl
            && let Some((x, y)) = panel.place(*first)
        {
            svg.text((x + 9.0, y - 5.0), "value halo", &format!("start of {}", segment.name));
        }
    }
}

/// A rule at each step where something goes on from another's checkpoint, and whose it is.
fn starts_by_step(svg: &mut Svg, panel: &Panel, segments: &[Segment<'_>]) {
    let mut starts: Vec<(u64, Vec<&str>)> = Vec::new();
    for segment in segments.iter().filter(|segment| segment.continues) {
        match starts.iter_mut().find(|(start, _)| *start == segment.stage.start) {
            Some((_, names)) => names.push(&segment.name),
            None => starts.push((segment.stage.start, vec![&segment.name])),
        }
    }
    for (at, (start, names)) in starts.iter().enumerate() {
        panel.moment(svg, *start as f64);
        let Some(x) = panel.x.place(*start as f64, panel.area.x, panel.area.right()) else { continue };
        let text = fitted(&format!("start of {}", names.join(", ")), panel.area.width / 2.0, 11.0);
        // Each on a line of its own, on the side that has room.
        let y = panel.area.bottom() - 6.0 - 14.0 * at as f64;
        let right = x + 5.0 + width(&text, 11.0) <= panel.area.right();
        if right {
            svg.text((x + 5.0, y), "small halo", &text)
        } else {
            svg.text((x - 5.0, y), "small halo end", &text)
        }
    }
}

fn table(segments: &[Segment<'_>], reward: &str) -> Table {
    let heading = format!("#{reward}");
    let mut table =
        Table::new(&["system", "", "#step", "#steps since base", "#KL (nats)", &heading, "interval", "checkpoint"]);
    for segment in segments {
        let chosen = segment.stage.chosen();
        for point in &segment.evaluated {
            table.row([
                segment.name.clone(),
                segment.learned.map_or("", |learned| if learned { "learned from" } else { "watched" }).into(),
                point.step.to_string(),
                segment.total_step(point.step).to_string(),
                number(point.kl),
                number(Some(point.value)),
                point
                    .interval
                    .map_or_else(String::new, |(low, high)| format!("[{}, {}]", number(Some(low)), number(Some(high)))),
                if chosen == Some(point.step) { "chosen".into() } else { String::new() },
            ]);
        }
    }
    table
}
