//! The Pareto front: points that no other point beats.

/// The places of the points on the Pareto front, in ascending order; every coordinate is better when it is larger.
///
/// A point is *dominated* when another is at least as large in every coordinate and larger in one. Equal points do not
/// dominate each other, so both are on the front or neither is. A point with a coordinate that is not a number (or that
/// has another number of coordinates than the first) is on no front and dominates nothing.
///
/// ```
/// use musicrl_pipeline::experiment::pareto::pareto_front;
///
/// assert_eq!(pareto_front(&[[1.0, 0.0], [0.4, 0.4], [0.0, 1.0], [0.3, 0.4]]), [0, 1, 2]);
/// ```
#[must_use]
pub fn pareto_front<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let dimensions = points.first().map_or(0, |point| point.as_ref().len());
    let whole = |point: &[f64]| point.len() == dimensions && point.iter().all(|x| !x.is_nan());
    let candidates = || points.iter().map(AsRef::as_ref).enumerate().filter(|(_, point)| whole(point));
    let beaten = |point: &[f64]| candidates().any(|(_, other)| dominates(other, point));
    candidates().filter(|(_, point)| !beaten(point)).map(|(at, _)| at).collect()
}

/// Whether `a` is at least `b` in every coordinate and above it in one.
fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a >= b) && a.iter().zip(b).any(|(a, b)| a > b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fronts_by_hand() {
        let check = |points: &[[f64; 2]], expected: &[usize]| assert_eq!(pareto_front(points), expected, "{points:?}");
        check(&[], &[]);
        check(&[[1.0, 1.0]], &[0]);
        check(&[[1.0, 1.0], [2.0, 2.0]], &[1]);
        // One coordinate equal: the other decides.
        check(&[[1.0, 1.0], [1.0, 2.0], [0.0, 2.0]], &[1]);
        // Equal points stay together.
        check(&[[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]], &[0, 1, 2]);
        check(&[[1.0, f64::NAN], [0.0, 0.0]], &[1]);
        check(&[[f64::INFINITY, 0.0], [0.0, 1.0]], &[0, 1]);
    }

    #[test]
    fn three_rewards_make_room_for_middles() {
        let corners = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.2, 0.2], [0.1, 0.2, 0.2]];
        assert_eq!(pareto_front(&corners), [0, 1, 2, 3]);
        assert_eq!(pareto_front(&[vec![1.0], vec![1.0, 2.0]]), [0]);
    }

    proptest! {
        #[test]
        fn every_other_point_is_dominated_by_one_of_the_front(
            points in prop::collection::vec(prop::array::uniform3(-3_i8..3), 1..24),
        ) {
            let points: Vec<[f64; 3]> = points.into_iter().map(|point| point.map(f64::from)).collect();
            let front = pareto_front(&points);
            prop_assert!(!front.is_empty());
            for (at, point) in points.iter().enumerate() {
                let beaten = front.iter().any(|other| dominates(&points[*other], point));
                prop_assert_eq!(beaten, !front.contains(&at));
            }
        }
    }
}
