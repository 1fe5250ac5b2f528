//! How well captions find their clips: retrieval among held-out pairs.

use musicrl_rewards::contrastive::Positives;

/// What a matrix of cosines says about matching.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retrieval {
    /// Share of queries, captions and clips alike, whose nearest answer belongs to them.
    pub recall_at_1: f64,
    /// Share of queries with an answer that belongs to them among the five nearest.
    pub recall_at_5: f64,
    /// Mean cosine of the pairs that belong together.
    pub matching: f64,
    /// Mean cosine of all others.
    pub mismatching: f64,
}

/// Measures a matrix of cosines; of equally near answers those with the smaller index count as nearer. `None` where
/// there is no pair of one of the two kinds, or a cosine is not finite.
///
/// # Shapes
/// - cosines: \[clips * captions\], row = clip, as many captions as clips
#[must_use]
pub fn retrieval(cosines: &[f32], positives: &Positives) -> Option<Retrieval> {
    let n = positives.pairs();
    if n == 0 || cosines.len() != n * n || cosines.iter().any(|cosine| !cosine.is_finite()) {
        return None;
    }
    let (mut matching, mut mismatching) = ((0.0, 0_u32), (0.0, 0_u32));
    for (index, cosine) in cosines.iter().enumerate() {
        let side = if positives.holds(index / n, index % n) { &mut matching } else { &mut mismatching };
        side.0 += f64::from(*cosine);
        side.1 += 1;
    }
    if matching.1 == 0 || mismatching.1 == 0 {
        return None;
    }
    let (mut first, mut fifth) = (0_u32, 0_u32);
    for query in 0..n {
        for by_clip in [true, false] {
            let cell = |answer: usize| if by_clip { query * n + answer } else { answer * n + query };
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| cosines[cell(*b)].total_cmp(&cosines[cell(*a)]));
            // The relation is symmetric, so rows and columns may be exchanged.
            let place = order.iter().position(|answer| positives.holds(query, *answer)).unwrap_or(n);
            first += u32::from(place < 1);
            fifth += u32::from(place < 5);
        }
    }
    let queries = 2.0 * n as f64;
    Some(Retrieval {
        recall_at_1: f64::from(first) / queries,
        recall_at_5: f64::from(fifth) / queries,
        matching: matching.0 / f64::from(matching.1),
        mismatching: mismatching.0 / f64::from(mismatching.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_and_a_reversed_matrix() {
        let positives = Positives::from_groups(&[0, 1, 2, 3, 4, 5]);
        let eye: Vec<f32> = (0..36).map(|i| if i % 7 == 0 { 0.9 } else { 0.1 }).collect();
        let perfect = retrieval(&eye, &positives).unwrap();
        assert_eq!((perfect.recall_at_1, perfect.recall_at_5), (1.0, 1.0));
        assert!((perfect.matching - 0.9).abs() < 1e-6 && (perfect.mismatching - 0.1).abs() < 1e-6);
        let reversed: Vec<f32> = eye.iter().map(|x| -x).collect();
        let reversed = retrieval(&reversed, &positives).unwrap();
        assert_eq!((reversed.recall_at_1, reversed.recall_at_5), (0.0, 0.0));
    }

    #[test]
    fn any_of_several_positives_counts() {
        let positives = Positives::from_groups(&["a", "b", "a"]);
        // Clip 0 is nearest to caption 2, which is the same caption.
        let cosines = [0.1, 0.0, 0.9, 0.0, 0.8, 0.0, 0.9, 0.0, 0.1];
        assert_eq!(retrieval(&cosines, &positives).unwrap().recall_at_1, 1.0);
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert!(retrieval(&[], &Positives::from_groups::<u8>(&[])).is_none());
        assert!(retrieval(&[1.0], &Positives::from_groups(&[0])).is_none());
        assert!(retrieval(&[f32::NAN; 4], &Positives::from_groups(&[0, 1])).is_none());
    }
}
