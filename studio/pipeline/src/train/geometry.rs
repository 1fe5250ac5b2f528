//! First values of token embeddings that keep the geometry of the codebooks whose entries they stand for.
//!
//! A table of free embeddings has to find out from the data which tokens are near each other; a random projection of
//! the codebook says so from the first step on (random projections keep distances: Johnson and Lindenstrauss, 1984).

use musicrl_core::random::Key;

/// `entries`, rows of `dim` numbers, as rows of `width` numbers.
///
/// The projection is drawn from `key`: codebooks with the same key and `dim` are projected alike.
pub(crate) fn project(entries: &[f32], dim: usize, width: usize, key: Key) -> Vec<Vec<f64>> {
    let mut random = key.stream();
    let projection: Vec<f64> = (0..dim * width).map(|_| random.normal()).collect();
    entries
        .chunks(dim.max(1))
        .map(|entry| {
            let column = |to: usize| projection[to..].iter().step_by(width);
            (0..width).map(|to| entry.iter().zip(column(to)).map(|(a, b)| f64::from(*a) * b).sum()).collect()
        })
        .collect()
}

/// Root mean square of all numbers; 0 of none.
pub(crate) fn root_mean_square(rows: &[Vec<f64>]) -> f64 {
    let count = rows.iter().map(Vec::len).sum::<usize>().max(1);
    (rows.iter().flatten().map(|value| value * value).sum::<f64>() / count as f64).sqrt()
}

/// Writes `projected`, times `scale`, over the first rows of `table`, whose rows are as wide.
pub(crate) fn write_rows(table: &mut [f32], projected: &[Vec<f64>], scale: f64) {
    let values = projected.iter().flatten().map(|value| (value * scale) as f32);
    table.iter_mut().zip(values).for_each(|(to, value)| *to = value);
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;

    use super::*;

    #[test]
    fn neighbours_stay_neighbours() {
        let mut random = Key::new(1, Purpose::Test).stream();
        let mut entries: Vec<f32> = (0..40 * 16).map(|_| random.normal() as f32).collect();
        // Entry 1 is nearly entry 0.
        for at in 0..16 {
            entries[16 + at] = entries[at] + 0.05 * random.normal() as f32;
        }
        let rows = project(&entries, 16, 64, Key::new(2, Purpose::Init));
        let distance = |a: usize, b: usize| -> f64 { rows[a].iter().zip(&rows[b]).map(|(a, b)| (a - b).powi(2)).sum() };
        assert_eq!((rows.len(), rows[0].len()), (40, 64));
        assert!((2..40).all(|other| distance(0, 1) < 0.1 * distance(0, other)));
        let mut table = vec![9.0; 41 * 64];
        write_rows(&mut table, &rows, 0.02 / root_mean_square(&rows));
        let rms = (table[..40 * 64].iter().map(|value| value * value).sum::<f32>() / (40.0 * 64.0)).sqrt();
        assert!((rms - 0.02).abs() < 1e-6 && table[40 * 64..].iter().all(|value| *value == 9.0), "{rms}");
        assert_eq!(root_mean_square(&[]), 0.0);
    }
}
