//! How clips look: spectrograms of the same captions with the same random numbers, before and after.

use super::input::{DemoFigure, Heard};
use crate::{
    Result,
    figure::{
        Area, Axis, Spectrogram, Svg, is_drawable,
        spectrogram::{RANGE_DB, colour_bar},
        words::{decimal, fitted, signed},
    },
};

/// Pictures: their left edges, their size, and the distance from row to row.
const LEFT: [f64; 2] = [62.0, 447.0];
const WIDTH: f64 = 373.0;
const HEIGHT: f64 = 72.0;
const ROW: f64 = 98.0;

/// From the top to the first row.
const HEAD: f64 = 14.0;

/// From a row's top to its pictures: the caption.
const CAPTION: f64 = 20.0;

/// Below the last row: the axis of time.
const FOOT: f64 = 30.0;

/// Marks at the side of a picture.
const MARKS_HZ: [(f64, &str); 4] = [(250.0, "0.25"), (1_000.0, "1"), (4_000.0, "4"), (16_000.0, "16")];

/// The pictures, ready to be placed.
pub(super) struct Clips {
    rows: Vec<Row>,
    colours: String,
    /// The longest clip.
    seconds: f64,
}

struct Row {
    caption: String,
    sides: [Side; 2],
}

struct Side {
    spectrogram: Spectrogram,
    /// Its picture, when it has a sound.
    picture: Option<String>,
    /// Which one it is and its score.
    label: String,
}

impl Clips {
    /// Makes the pictures, with one scale of loudness for all.
    pub(super) fn of(figure: &DemoFigure<'_>) -> Result<Self> {
        let spectrogram = |heard: &Heard<'_>| Spectrogram::of(heard.samples, figure.sample_rate_hz);
        let pairs: Vec<[Spectrogram; 2]> = figure
            .clips
            .iter()
            .map(|clip| Ok([spectrogram(&clip.before)?, spectrogram(&clip.after)?]))
            .collect::<Result<_>>()?;
        let all = || pairs.iter().flatten();
        let loudest_db = all().filter_map(Spectrogram::loudest_db).fold(f32::MIN, f32::max);
        let seconds = all().map(Spectrogram::seconds).fold(0.0, f64::max);
        let mut rows = Vec::new();
        for (clip, [before, after]) in figure.clips.iter().zip(pairs) {
            let side = |name: &str, score: Option<f64>, spectrogram: Spectrogram| -> Result<Side> {
                let label = match score.filter(|score| is_drawable(*score)) {
                    Some(score) => format!("{name} {}", decimal(score, 3)),
                    None => format!("{name}: no score"),
                };
                Ok(Side { picture: spectrogram.picture(loudest_db)?, spectrogram, label })
            };
            let sides = [side("before", clip.before.score, before)?, side("after", clip.after.score, after)?];
            let width = LEFT[1] + WIDTH - LEFT[0];
            rows.push(Row { caption: fitted(clip.caption, width, 12.0), sides });
        }
        Ok(Self { rows, colours: colour_bar()?, seconds })
    }

    /// Height of all rows and what stands around them.
    pub(super) fn height(&self) -> f64 {
        if self.rows.is_empty() { 0.0 } else { HEAD + ROW * self.rows.len() as f64 + FOOT }
    }

    /// Draws them from `top` down; nothing when there are none.
    pub(super) fn draw(&self, svg: &mut Svg, top: f64) {
        let Some(last) = self.rows.len().checked_sub(1) else { return };
        svg.text((LEFT[0] - 48.0, top), "letter", "d");
        svg.text((LEFT[0] - 32.0, top), "heading", "Before and after");
        let note = format!("log-mel spectrograms and text adherence of {}", how_many(self.rows.len()));
        svg.text((LEFT[0] + 92.0, top), "small", &note);
        self.draw_scale(svg, top);
        for (at, row) in self.rows.iter().enumerate() {
            let y = top + HEAD + ROW * at as f64;
            svg.text((LEFT[0], y + 13.0), "caption", &row.caption);
            for (x, side) in LEFT.into_iter().zip(&row.sides) {
                let area = Area { x, y: y + CAPTION, width: WIDTH, height: HEIGHT };
                side.draw(svg, &area, self.seconds);
                if at == last {
                    draw_time(svg, &area, self.seconds);
                }
            }
            row.draw_frequencies(svg, y + CAPTION);
        }
    }

    fn draw_scale(&self, svg: &mut Svg, top: f64) {
        let right = LEFT[1] + WIDTH;
        svg.text((right, top), "small end", "0 dB");
        let bar = Area { x: right - 112.0, y: top - 9.0, width: 80.0, height: 10.0 };
        draw_picture(svg, &bar, &self.colours);
        svg.text((bar.x - 6.0, top), "small end", &signed(&format!("-{RANGE_DB}")));
    }
}

impl Row {
    fn draw_frequencies(&self, svg: &mut Svg, top: f64) {
        for (hz, label) in MARKS_HZ {
            let Some(height) = self.sides[0].spectrogram.height_of(hz) else { continue };
            let y = top + HEIGHT * (1.0 - height);
            svg.line("axis", (LEFT[0] - 4.0, y), (LEFT[0], y));
            svg.text((LEFT[0] - 7.0, y + 4.0), "tick end", label);
        }
        svg.text_upwards((LEFT[0] - 40.0, top + HEIGHT / 2.0), "tick middle", "kHz");
    }
}

impl Side {
    fn draw(&self, svg: &mut Svg, area: &Area, seconds: f64) {
        if let Some(picture) = &self.picture {
            let share = self.spectrogram.seconds() / seconds;
            draw_picture(svg, &Area { width: area.width * share, ..*area }, picture);
        } else {
            let size = [("width", area.width.into()), ("height", area.height.into())];
            svg.element(
                "rect",
                &[("class", "silent".into()), ("x", area.x.into()), ("y", area.y.into()), size[0], size[1]],
            );
        }
        let width = 10.0 + 5.6 * self.label.chars().count() as f64;
        let x = area.right() - width - 4.0;
        svg.element(
            "rect",
            &[
                ("class", "chip".into()),
                ("x", x.into()),
                ("y", (area.y + 4.0).into()),
                ("width", width.into()),
                ("height", 16.0.into()),
                ("rx", 3.0.into()),
            ],
        );
        svg.text((x + width / 2.0, area.y + 16.0), "on-chip middle", &self.label);
    }
}

fn draw_picture(svg: &mut Svg, area: &Area, picture: &str) {
    svg.element(
        "image",
        &[
            ("x", area.x.into()),
            ("y", area.y.into()),
            ("width", area.width.into()),
            ("height", area.height.into()),
            ("preserveAspectRatio", "none".into()),
            ("href", picture.into()),
        ],
    );
}

fn draw_time(svg: &mut Svg, area: &Area, seconds: f64) {
    let axis = Axis::spanning("time (s)", 0.0, seconds, 4);
    for tick in axis.ticks() {
        let Some(x) = axis.place(tick.value, area.x, area.right()) else { continue };
        svg.line("axis", (x, area.bottom()), (x, area.bottom() + 4.0));
        svg.text((x, area.bottom() + 16.0), "tick middle", &tick.label);
    }
    svg.text((area.x + area.width / 2.0, area.bottom() + 31.0), "small middle", axis.label());
}

/// What is shown, in words.
pub(super) fn how_many(captions: usize) -> String {
    match captions {
        1 => "the first clip of the first held-out caption".into(),
        _ => format!("the first clips of the first {captions} held-out captions"),
    }
}
