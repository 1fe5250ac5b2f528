//! An axis: a range of numbers, its ticks, and where on the page a number lies.

/// The largest magnitude that is drawn. Sums and differences of such numbers stay finite.
const LARGEST: f64 = 1e30;

/// The narrowest range, as a share of the numbers in it: below it, ticks could not be told apart.
const NARROWEST: f64 = 1e-6;

/// Whether a number can be drawn: finite and of a magnitude of at most 1e30.
#[must_use]
pub fn is_drawable(value: f64) -> bool {
    value.is_finite() && value.abs() <= LARGEST
}

/// A number on an axis that has a mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Where it is.
    pub value: f64,
    /// What is written there; may be empty.
    pub label: String,
}

/// A linear axis. Its range is never empty, and always drawable.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    label: String,
    low: f64,
    high: f64,
    ticks: Vec<Tick>,
}

impl Axis {
    /// The range from `low` to `high` with about `wanted` ticks at round numbers; widened a little where it is too narrow
    /// to draw. `label` has the unit in it.
    #[must_use]
    pub fn spanning(label: impl Into<String>, low: f64, high: f64, wanted: usize) -> Self {
        let (low, high) = widened(low, high);
        Self { label: label.into(), low, high, ticks: round_ticks(low, high, wanted) }
    }

    /// A range that holds all drawable `values` with a margin of a twentieth on both sides; 0 to 1 when there are none.
    #[must_use]
    pub fn around(label: impl Into<String>, values: impl IntoIterator<Item = f64>, wanted: usize) -> Self {
        let (low, high) = extent(values).unwrap_or((0.0, 1.0));
        let margin = 0.05 * (high - low);
        Self::spanning(label, low - margin, high + margin, wanted)
    }

    /// A range from 0 that holds all drawable positive `values` with a margin above; 0 to 1 when there are none.
    #[must_use]
    pub fn from_zero(label: impl Into<String>, values: impl IntoIterator<Item = f64>, wanted: usize) -> Self {
        let high = extent(values).map_or(1.0, |(_, high)| if high > 0.0 { 1.05 * high } else { 1.0 });
        Self::spanning(label, 0.0, high, wanted)
    }

    /// Names side by side, the first at 0, the next at 1 and so on.
    #[must_use]
    pub fn of_names(label: impl Into<String>, names: &[&str]) -> Self {
        let ticks = names.iter().enumerate();
        let ticks = ticks.map(|(at, name)| Tick { value: at as f64, label: (*name).into() }).collect();
        Self { label: label.into(), low: -0.5, high: names.len().max(1) as f64 - 0.5, ticks }
    }

    /// The same axis with nothing written at it: for panels that share one.
    #[must_use]
    pub fn unlabelled(&self) -> Self {
        let ticks = self.ticks.iter().map(|tick| Tick { value: tick.value, label: String::new() }).collect();
        Self { label: String::new(), ticks, ..*self }
    }

    /// The same range without a mark and without a label.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self { label: String::new(), ticks: Vec::new(), ..*self }
    }

    /// The same axis with a plus sign before positive ticks: for differences.
    #[must_use]
    pub fn signed(mut self) -> Self {
        for tick in self.ticks.iter_mut().filter(|tick| tick.value > 0.0 && !tick.label.is_empty()) {
            tick.label.insert(0, '+');
        }
        self
    }

    /// What it measures, with its unit.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The ends of the range.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The marks.
    #[must_use]
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// Where `value` lies when the range goes from `start` to `end` on the page; `None` outside the range and for what
    /// cannot be drawn.
    #[must_use]
    pub fn place(&self, value: f64, start: f64, end: f64) -> Option<f64> {
        let inside = is_drawable(value) && (self.low..=self.high).contains(&value);
        inside.then(|| start + (end - start) * ((value - self.low) / (self.high - self.low)))
    }
}

/// The least and the greatest of the drawable values; `None` when there are none.
fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| is_drawable(*value)).fold(None, |extent, value| {
        let (low, high) = extent.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

fn widened(low: f64, high: f64) -> (f64, f64) {
    let bounded = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) };
    let (low, high) = (bounded(low).min(bounded(high)), bounded(low).max(bounded(high)));
    let size = low.abs().max(high.abs());
    if high - low > (NARROWEST * size).max(1e-12) {
        return (low, high);
    }
    let half = if size > 1e-9 { 0.1 * size } else { 0.5 };
    ((low - half).max(-LARGEST), (high + half).min(LARGEST))
}

/// Multiples of 1, 2 or 5 times a power of ten inside `low < high`.
fn round_ticks(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let rough = (high - low) / wanted.max(1) as f64;
    let mut exponent = rough.log10().floor() as i32;
    // The nearest of 1, 2, 5 and 10 as ratios: the limits are sqrt(1 * 2), sqrt(2 * 5), sqrt(5 * 10).
    let factor = match rough / 10.0_f64.powi(exponent) {
        share if share <= 1.414 => 1.0,
        share if share <= 3.162 => 2.0,
        share if share <= 7.071 => 5.0,
        _ => {
            exponent += 1;
            1.0
        }
    };
    let step = factor * 10.0_f64.powi(exponent);
    let slack = 1e-9 * step;
    let first = ((low - slack) / step).ceil();
    (0..=2 * wanted.max(1))
        .map(|index| (first + index as f64) * step)
        .take_while(|value| *value <= high + slack)
        .map(|value| {
            let value = value.clamp(low, high);
            Tick { value, label: number(value, exponent, low.abs().max(high.abs())) }
        })
        .collect()
}

/// `value` with the digits that steps of ten to the `exponent` need, among numbers of at most `size`.
fn number(value: f64, exponent: i32, size: f64) -> String {
    let text = if size >= 1e6 || exponent < -5 {
        let digits = (size.log10().floor() as i32 - exponent).clamp(0, 8) as usize;
        format!("{value:.digits$e}")
    } else {
        let digits = (-exponent).max(0) as usize;
        format!("{value:.digits$}")
    };
    super::words::signed(&text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks().iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn simple_numbers_to_coordinates() {
        let axis = Axis::spanning("step", 0.0, 10.0, 5);
        assert_eq!(axis.place(2.5, 100.0, 200.0), Some(125.0));
        // Downwards, as on a page.
        assert_eq!(axis.place(2.5, 200.0, 100.0), Some(175.0));
        assert_eq!(axis.place(10.0, 100.0, 200.0), Some(200.0));
        assert_eq!(axis.place(10.1, 100.0, 200.0), None);
        assert_eq!(axis.place(f64::NAN, 100.0, 200.0), None);
        assert_eq!(Axis::of_names("", &["before", "after"]).place(1.0, 0.0, 200.0), Some(150.0));
    }

    #[test]
    fn ticks_are_round() {
        let check = |low: f64, high: f64, wanted: usize, expected: &[&str]| {
            assert_eq!(labels(&Axis::spanning("", low, high, wanted)), expected, "{low} to {high}");
        };
        check(0.0, 10.0, 5, &["0", "2", "4", "6", "8", "10"]);
        check(0.0, 140.0, 3, &["0", "50", "100"]);
        check(0.31, 0.47, 4, &["0.35", "0.40", "0.45"]);
        check(-0.02, 0.03, 3, &["−0.02", "0.00", "0.02"]);
        assert_eq!(labels(&Axis::spanning("", -1.0, 1.0, 2).signed()), ["−1", "0", "+1"]);
        check(0.0, 3.0e7, 3, &["0e0", "1e7", "2e7", "3e7"]);
        check(0.0, 2.0e-8, 2, &["0e0", "1e-8", "2e-8"]);
    }

    #[test]
    fn ranges_hold_what_they_are_for() {
        assert_eq!(Axis::around("", [0.0, f64::NAN, 2.0], 3).range(), (-0.1, 2.1));
        assert_eq!(Axis::from_zero("", [2.0, f64::INFINITY], 3).range(), (0.0, 2.1));
        assert_eq!(Axis::around("", [], 3).range(), (-0.05, 1.05));
        let (low, high) = Axis::around("", [5.0, 5.0], 3).range();
        assert!(low < 5.0 && high > 5.0);
        let (low, high) = Axis::from_zero("", [0.0], 3).range();
        assert!(low == 0.0 && high > 0.0);
    }

    proptest! {
        #[test]
        fn any_numbers_give_a_sane_axis(
            values in prop::collection::vec(prop::num::f64::ANY, 0..8),
            low in prop::num::f64::ANY,
            high in prop::num::f64::ANY,
            wanted in 0_usize..9,
        ) {
            let axes = [
                Axis::around("", values.iter().copied(), wanted),
                Axis::from_zero("", values.iter().copied(), wanted),
                Axis::spanning("", low, high, wanted),
            ];
            for axis in &axes {
                let (low, high) = axis.range();
                prop_assert!(is_drawable(low) && is_drawable(high) && low < high, "{low} {high}");
                for tick in axis.ticks() {
                    let place = axis.place(tick.value, 0.0, 1.0);
                    prop_assert!(place.is_some_and(|place| (0.0..=1.0).contains(&place)), "{tick:?} of {low} to {high}");
                    prop_assert!(!tick.label.contains("NaN") && !tick.label.contains("inf"));
                }
            }
            for value in values.into_iter().filter(|value| is_drawable(*value)) {
                prop_assert!(axes[0].place(value, 0.0, 1.0).is_some());
            }
        }
    }
}
