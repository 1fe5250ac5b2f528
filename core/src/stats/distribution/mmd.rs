//! The maximum mean discrepancy of two sets of points.

use alloc::{collections::BTreeMap, format, string::ToString, vec, vec::Vec};
use serde::{Deserialize, Serialize};

use super::{
    super::{check_lengths, undefined},
    points::{Points, dot, squared_distance},
};
use crate::{Error, Result, random::Key};

/// How alike two points are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kernel {
    /// (scale x.y + offset)^degree: sees moments up to the degree (Binkowski et al., arXiv 1801.01401, with degree 3,
    /// offset 1 and scale one over the dimension).
    Polynomial {
        /// The degree, at least 1.
        degree: u32,
        /// Factor of the scalar product, above 0.
        scale: f64,
        /// Added to it, at least 0.
        offset: f64,
    },
    /// exp(-|x - y|^2 / (2 bandwidth^2)): sees every difference of distributions.
    Gaussian {
        /// Distance at which points begin to be unlike, above 0; see [`median_distance`].
        bandwidth: f64,
    },
}

impl Kernel {
    fn validate(&self) -> Result<()> {
        let rule = |ok: bool, field, expected: &str, got: f64| {
            if ok {
                return Ok(());
            }
            Err(Error::Config { field, expected: expected.to_string(), got: format!("{got}") })
        };
        match *self {
            Self::Polynomial { degree, scale, offset } => {
                rule((1..=16).contains(&degree), "degree", "from 1 to 16", f64::from(degree))?;
                rule(scale.is_finite() && scale > 0.0, "scale", "above 0 and finite", scale)?;
                rule(offset.is_finite() && offset >= 0.0, "offset", "at least 0 and finite", offset)
            }
            Self::Gaussian { bandwidth } => {
                rule(bandwidth.is_finite() && bandwidth > 0.0, "bandwidth", "above 0 and finite", bandwidth)
            }
        }
    }

    fn of(&self, x: &[f64], y: &[f64]) -> f64 {
        match *self {
            Self::Polynomial { degree, scale, offset } => libm::pow(scale * dot(x, y) + offset, f64::from(degree)),
            Self::Gaussian { bandwidth } => libm::exp(-squared_distance(x, y) / (2.0 * bandwidth * bandwidth)),
        }
    }
}

/// A discrepancy, how sure it is, and whether it could be chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mmd {
    /// The unbiased estimate of the squared discrepancy: 0 on average for sets of one distribution, so that it may be
    /// negative.
    pub squared: f64,
    /// Jackknife standard error over groups; `None` where a set has fewer than three groups.
    pub standard_error: Option<f64>,
    /// Chance of an estimate at least as large when the groups are dealt to the two sets at random.
    pub p_value: f64,
    /// How often they were dealt.
    pub permutations: usize,
}

/// The kernel between all points of both sets, and whose each is.
struct Pooled {
    kernel: Vec<f64>,
    /// Group of each point, numbered through: those of a first.
    units: Vec<usize>,
    units_a: usize,
    units_all: usize,
}

/// Groups as consecutive numbers from `first` on, in ascending order of their own.
fn number(groups: &[usize], first: usize) -> (Vec<usize>, usize) {
    let mut numbers = BTreeMap::new();
    groups.iter().for_each(|group| {
        numbers.insert(*group, 0);
    });
    numbers.values_mut().enumerate().for_each(|(at, number)| *number = first + at);
    (groups.iter().map(|group| numbers[group]).collect(), first + numbers.len())
}

impl Pooled {
    /// The unbiased estimate with the groups' sides as `side` says: `Some(true)` is a, `None` is left out. `None` where
    /// a side has fewer than two points.
    fn squared(&self, side: &[Option<bool>]) -> Option<f64> {
        let n = self.units.len();
        let (mut sums, mut counts) = ([0.0; 3], [0_usize; 2]);
        for i in 0..n {
            let Some(a) = side[self.units[i]] else { continue };
            counts[usize::from(a)] += 1;
            for j in 0..i {
                match side[self.units[j]] {
                    Some(b) if a == b => sums[usize::from(a)] += self.kernel[i * n + j],
                    Some(_) => sums[2] += self.kernel[i * n + j],
                    None => {}
                }
            }
        }
        let [first, second] = counts.map(|count| count as f64);
        (counts[0] > 1 && counts[1] > 1).then(|| {
            2.0 * sums[0] / (first * (first - 1.0)) + 2.0 * sums[1] / (second * (second - 1.0))
                - 2.0 * sums[2] / (first * second)
        })
    }

    fn sides(&self) -> Vec<Option<bool>> {
        (0..self.units_all).map(|unit| Some(unit < self.units_a)).collect()
    }

    /// Both sets' jackknife variances added: each leaves one of its groups out at a time.
    fn standard_error(&self) -> Option<f64> {
        let mut variance = 0.0;
        for range in [0..self.units_a, self.units_a..self.units_all] {
            let k = range.len() as f64;
            if range.len() < 3 {
                return None;
            }
            let mut sides = self.sides();
            let mut left_out = Vec::with_capacity(range.len());
            for unit in range {
                let side = sides[unit].take();
                left_out.push(self.squared(&sides)?);
                sides[unit] = side;
            }
            let mean = left_out.iter().sum::<f64>() / k;
            variance += (k - 1.0) / k * left_out.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        }
        Some(libm::sqrt(variance))
    }
}

/// The squared maximum mean discrepancy (Gretton et al., "A kernel two-sample test", JMLR 13, 2012, equation 3),
///
/// MMD^2 = mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j) - 2 mean k(a_i, b_j).
///
/// `groups_a[i]` names the group of point i of a (clips of one prompt, pieces of one track); groups are what the test
/// permutes and the jackknife leaves out. Permutation i uses clip i of `key`. The p-value counts the data as they are as
/// one of the permutations, so that it is never 0. Time and memory grow with the square of the number of points.
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] for a bad kernel; [`Error::Undefined`] for fewer than two points in a set.
pub fn mmd(
    (a, groups_a): (&Points, &[usize]),
    (b, groups_b): (&Points, &[usize]),
    kernel: &Kernel,
    permutations: usize,
    key: Key,
) -> Result<Mmd> {
    kernel.validate()?;
    a.check_dim(b)?;
    check_lengths("groups of a", a.len(), groups_a.len())?;
    check_lengths("groups of b", b.len(), groups_b.len())?;
    let (mut units, units_a) = number(groups_a, 0);
    let (units_b, units_all) = number(groups_b, units_a);
    units.extend(units_b);
    let rows: Vec<&[f64]> = a.rows().chain(b.rows()).collect();
    let n = rows.len();
    let mut values = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let k = kernel.of(rows[i], rows[j]);
            (values[i * n + j], values[j * n + i]) = (k, k);
        }
    }
    super::super::check_finite("kernel", &values)?;
    let pooled = Pooled { kernel: values, units, units_a, units_all };
    let few = || undefined("maximum mean discrepancy", "it needs two points or more in each set");
    let squared = pooled.squared(&pooled.sides()).ok_or_else(few)?;
    let mut as_large = 1_usize;
    // A hair's breadth: the same deal in another order of summation counts as equal.
    let bar = squared - 1e-12 * squared.abs().max(1e-3);
    for permutation in 0..permutations {
        let mut sides = pooled.sides();
        key.clip(permutation as u64).stream().shuffle(&mut sides);
        // A deal that leaves a side without two points has no estimate; it counts against the difference.
        if pooled.squared(&sides).is_none_or(|other| other >= bar) {
            as_large += 1;
        }
    }
    let p_value = as_large as f64 / (permutations + 1) as f64;
    Ok(Mmd { squared, standard_error: pooled.standard_error(), p_value, permutations })
}

/// The median distance between different points of a set: the usual bandwidth.
///
/// # Errors
/// [`Error::Undefined`] for fewer than two points, or when half of the pairs or more are equal.
pub fn median_distance(points: &Points) -> Result<f64> {
    let rows: Vec<&[f64]> = points.rows().collect();
    let mut distances: Vec<f64> = (0..rows.len())
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .map(|(i, j)| libm::sqrt(squared_distance(rows[i], rows[j])))
        .collect();
    distances.sort_by(f64::total_cmp);
    match distances.get(distances.len() / 2) {
        Some(median) if *median > 0.0 => Ok(*median),
        Some(_) => Err(undefined("bandwidth", "half of the points or more are equal")),
        None => Err(undefined("bandwidth", "it needs two points or more")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Purpose;

    const GAUSSIAN: Kernel = Kernel::Gaussian { bandwidth: 1.5 };
    const POLYNOMIAL: Kernel = Kernel::Polynomial { degree: 3, scale: 0.5, offset: 1.0 };

    fn key(seed: u64) -> Key {
        Key::new(seed, Purpose::Bootstrap)
    }

    fn cloud(seed: u64, n: usize, shift: f64) -> Points {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        Points::new((0..2 * n).map(|_| shift + stream.normal()).collect(), 2).unwrap()
    }

    fn apart(n: usize) -> Vec<usize> {
        (0..n).collect()
    }

    fn check(a: &Points, b: &Points, kernel: &Kernel, permutations: usize) -> Mmd {
        mmd((a, &apart(a.len())), (b, &apart(b.len())), kernel, permutations, key(1)).unwrap()
    }

    proptest! {
        #[test]
        fn it_is_symmetric_and_as_its_definition_says(
            seed in 0_u64..1_000, n in 2_usize..12, m in 2_usize..12, shift in -1.0_f64..1.0,
        ) {
            let (a, b) = (cloud(seed, n, 0.0), cloud(seed + 1, m, shift));
            for kernel in [GAUSSIAN, POLYNOMIAL] {
                let mean = |x: &Points, y: &Points, apart: bool| {
                    let mut terms = Vec::new();
                    for (i, p) in x.rows().enumerate() {
                        terms.extend(y.rows().enumerate().filter(|(j, _)| !apart || i != *j).map(|(_, q)| kernel.of(p, q)));
                    }
                    terms.iter().sum::<f64>() / terms.len() as f64
                };
                let expected = mean(&a, &a, true) + mean(&b, &b, true) - 2.0 * mean(&a, &b, false);
                let (there, back) = (check(&a, &b, &kernel, 0), check(&b, &a, &kernel, 0));
                let size = 1.0 + mean(&a, &a, false) + mean(&b, &b, false);
                prop_assert!((there.squared - expected).abs() < 1e-10 * size);
                prop_assert!((there.squared - back.squared).abs() < 1e-10 * size);
            }
        }
    }

    #[test]
    fn a_set_against_itself_is_never_far() {
        // The unbiased estimate leaves the diagonal out of two terms and not of the third: 2/n (mean k - 1) is below 0.
        let a = cloud(3, 40, 0.0);
        let same = check(&a, &a, &GAUSSIAN, 199);
        assert!(same.squared < 0.0 && same.p_value > 0.9, "{same:?}");
    }

    #[test]
    fn the_estimate_is_unbiased_and_its_standard_error_holds() {
        // Gaussians of variance 1 in two dimensions, shift s: MMD^2 = 2 h/(h + 2) (1 - exp(-|s|^2 / (2 (h + 2)))), h the
        // squared bandwidth, from the expectation of the kernel of a normal difference.
        let (h, shift) = (1.5_f64 * 1.5, 0.5_f64);
        let expected = 2.0 * h / (h + 2.0) * (1.0 - (-2.0 * shift * shift / (2.0 * (h + 2.0))).exp());
        let runs: Vec<Mmd> =
            (0..200).map(|run| check(&cloud(2 * run, 30, 0.0), &cloud(2 * run + 1, 30, shift), &GAUSSIAN, 0)).collect();
        let mean = runs.iter().map(|run| run.squared).sum::<f64>() / 200.0;
        let spread = (runs.iter().map(|run| (run.squared - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        assert!((mean - expected).abs() < 4.0 * spread / 200.0_f64.sqrt(), "{mean} {expected}");
        let errors = runs.iter().filter_map(|run| run.standard_error).sum::<f64>() / 200.0;
        assert!((errors / spread - 1.0).abs() < 0.25, "{errors} {spread}");
    }

    #[test]
    fn the_test_keeps_its_level_and_finds_a_difference() {
        let p = |run: u64, shift: f64| check(&cloud(2 * run, 20, 0.0), &cloud(2 * run + 1, 20, shift), &GAUSSIAN, 99);
        let false_alarms = (0..200).filter(|run| p(*run, 0.0).p_value <= 0.1).count();
        // 20 of 200 are expected; five standard deviations are 21.
        assert!((2..=41).contains(&false_alarms), "{false_alarms}");
        assert!(p(1, 1.5).p_value <= 0.01);
    }

    #[test]
    fn copies_inside_a_group_are_no_evidence() {
        // Ten copies of three points each: dealt by point they look different, dealt by group they cannot.
        let copies = |seed: u64, shift: f64| {
            let few = cloud(seed, 3, shift);
            let values = few.rows().flat_map(|row| (0..10).flat_map(|_| row.to_vec())).collect();
            Points::new(values, 2).unwrap()
        };
        let (a, b) = (copies(1, 0.0), copies(2, 0.3));
        let groups: Vec<usize> = (0..30).map(|i| i / 10).collect();
        let grouped = mmd((&a, &groups), (&b, &groups), &GAUSSIAN, 199, key(1)).unwrap();
        assert!(check(&a, &b, &GAUSSIAN, 199).p_value <= 0.01);
        assert!(grouped.p_value >= 0.05, "{grouped:?}");
    }

    #[test]
    fn bad_input_is_refused() {
        let (a, one) = (cloud(1, 4, 0.0), cloud(2, 1, 0.0));
        let run = |b: &Points, groups: &[usize], kernel| mmd((&a, &apart(4)), (b, groups), &kernel, 9, key(1));
        assert!(matches!(run(&one, &[0], GAUSSIAN), Err(Error::Undefined { .. })));
        assert!(matches!(run(&a, &[0], GAUSSIAN), Err(Error::Shape { .. })));
        let flat = Kernel::Gaussian { bandwidth: 0.0 };
        assert!(matches!(run(&a, &apart(4), flat), Err(Error::Config { field: "bandwidth", .. })));
        assert!(matches!(median_distance(&one), Err(Error::Undefined { .. })));
        assert!(median_distance(&Points::new(vec![1.0; 8], 2).unwrap()).is_err());
        let line = Points::new(vec![0.0, 1.0, 3.0], 1).unwrap();
        assert_eq!(median_distance(&line).unwrap(), 2.0);
    }
}
