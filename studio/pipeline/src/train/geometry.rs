//! First values of token embeddings that keep the geometry of the codebooks whose entries they stand for.
//!
//! A table of free embeddings has to find out from the data which tokens are near each other; a random projection of
//! the codebook says so from the first step on (random projections keep distances: Johnson and Lindenstrauss, 1984).

use musicrl_core::{params::ParamTable, policy::HierarchicalPolicy, random::Key};
use musicrl_rewards::EmbeddingQuantiser;

use crate::{Error, Result};

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

/// Root mean square of the first level's condition embeddings at the start: above the 0.02 of the others, since one
/// condition stands against many frames.
const CONDITION_RMS: f64 = 0.04;

/// Puts a random projection of the quantiser's codebooks in place of the condition embeddings; null entries stay.
pub(crate) fn project_conditions(
    policy: HierarchicalPolicy,
    quantiser: &EmbeddingQuantiser,
    key: Key,
) -> Result<HierarchicalPolicy> {
    const NAME: &str = "trunk.condition_embedding";
    let (levels, entries, dim) = (quantiser.levels(), quantiser.entries(), quantiser.dim());
    let config = policy.config();
    let (expected, got) = ([config.condition_slots, config.condition_codebook], [levels, entries]);
    if expected != got {
        return Err(Error::config("condition quantiser", format!("{expected:?}"), format!("{got:?}")));
    }
    let mut table = ParamTable::collect(&policy);
    let Some((range, width)) =
        table.entries().iter().find(|entry| entry.name == NAME).map(|entry| (entry.range(), entry.shape[1]))
    else {
        return Ok(policy);
    };
    let codebooks: Vec<f32> = quantiser.codebooks().into_data().iter::<f32>().collect();
    let projected = project(&codebooks, dim, width, key);
    let rms = root_mean_square(&projected[..entries]);
    // A quantiser that was never fitted says nothing: the embeddings stay as they are.
    if rms > 0.0 {
        // Each level's entries are followed by its null entry.
        let levels = table.values_mut()[range].chunks_mut((entries + 1) * width);
        for (rows, projected) in levels.zip(projected.chunks(entries)) {
            write_rows(rows, projected, CONDITION_RMS / rms);
        }
    }
    Ok(table.apply(policy)?)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use musicrl_core::{
        nn::FeedForward,
        policy::{HierarchicalPolicyConfig, StackConfig},
        random::Purpose,
        tokens::Interleave,
    };
    use musicrl_rewards::EmbeddingQuantiserConfig;

    use super::*;

    #[test]
    fn conditions_begin_where_their_codebooks_lie_and_nothing_else_moves() {
        const NAME: &str = "trunk.condition_embedding";
        let device = Device::flex();
        let stack = StackConfig { width: 16, layers: 1, heads: 2, ff_width: 16, feed_forward: FeedForward::Gelu };
        let config = HierarchicalPolicyConfig {
            layout: Interleave { coarse_levels: 1 }.layout(4, 8, 12.5).unwrap(),
            global: stack.clone(),
            local: stack,
            condition_slots: 2,
            condition_codebook: 4,
        };
        let key = Key::new(1, Purpose::Init);
        let policy = config.init(key, &device).unwrap();
        let settings = EmbeddingQuantiserConfig { levels: 2, entries: 4, iterations: 5 };
        let mut random = Key::new(2, Purpose::Test).stream();
        let values: Vec<f32> = (0..40 * 6).map(|_| random.normal() as f32).collect();
        let points = Tensor::<2>::from_data(TensorData::new(values, [40, 6]), &device);
        let quantiser = settings.fit(points.clone(), points, 3).unwrap();

        let before = ParamTable::collect(&policy);
        let after = ParamTable::collect(&project_conditions(policy.clone(), &quantiser, key).unwrap());
        for entry in before.entries().iter().filter(|entry| entry.name != NAME) {
            assert_eq!(before.get(&entry.name), after.get(&entry.name), "{}", entry.name);
        }
        let (old, new) = (before.get(NAME).unwrap(), after.get(NAME).unwrap());
        let row = |table: &[f32], row: usize| table[row * 16..][..16].to_vec();
        // Each level has four entries and its null entry.
        for at in 0..10 {
            assert_eq!(row(old, at) == row(new, at), at % 5 == 4, "row {at}");
        }
        // From the second level on the first entry is the zero vector.
        assert!(row(new, 5).iter().all(|value| *value == 0.0));
        let first: Vec<f32> = (0..4).flat_map(|at| row(new, at)).collect();
        let rms = (first.iter().map(|value| f64::from(value * value)).sum::<f64>() / first.len() as f64).sqrt();
        assert!((rms - CONDITION_RMS).abs() < 1e-6, "{rms}");

        let unfitted = settings.init(6, &device).unwrap();
        assert_eq!(ParamTable::collect(&project_conditions(policy.clone(), &unfitted, key).unwrap()), before);
        let other = EmbeddingQuantiserConfig { levels: 3, ..settings }.init(6, &device).unwrap();
        assert!(project_conditions(policy, &other, key).is_err());
    }

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
