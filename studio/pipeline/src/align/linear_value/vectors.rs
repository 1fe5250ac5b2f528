//! A policy's vectors of some clips, and their statistics: [`Vectors`].

use burn::tensor::Tensor;

/// Vectors of all slots together up to this many numbers have statistics slot by slot, wider ones over all slots.
const PER_SLOT_MAX: usize = 1024;

/// Vectors of clips on the host, `[clips][frames, slots, width]`.
#[derive(Debug, Clone)]
pub struct Vectors {
    clips: Vec<Vec<f32>>,
    slots: usize,
    width: usize,
}

impl Vectors {
    #[cfg(test)]
    pub(super) fn new(clips: Vec<Vec<f32>>, slots: usize, width: usize) -> Self {
        Self { clips, slots, width }
    }

    /// From what stands before the heads, `[clips, frames, slots, width]`.
    #[must_use]
    pub fn of(hidden: &Tensor<4>) -> Self {
        let [_, frames, slots, width] = hidden.dims();
        let values: Vec<f32> = hidden.clone().inner().into_data().iter::<f32>().collect();
        Self { clips: values.chunks((frames * slots * width).max(1)).map(<[f32]>::to_vec).collect(), slots, width }
    }

    /// Those of both, which are of one policy.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.clips.extend(other.clips);
        self
    }

    /// Number of clips.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clips.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }

    /// Mean and standard deviation over frames 0 to t - 1 for t = 1, 2, ...: rows of `2 * columns`, and columns.
    pub(super) fn prefixes(&self, clip: usize) -> (Vec<f32>, usize) {
        let frame = self.slots * self.width;
        let per_slot = frame <= PER_SLOT_MAX;
        let columns = if per_slot { frame } else { self.width };
        let (mut sums, mut squares) = (vec![0.0_f64; columns], vec![0.0_f64; columns]);
        let mut rows = Vec::with_capacity(self.clips[clip].len() / frame.max(1) * 2 * columns);
        for (before, vectors) in self.clips[clip].chunks_exact(frame.max(1)).enumerate() {
            for (column, (sum, square)) in sums.iter_mut().zip(&mut squares).enumerate() {
                let x = if per_slot {
                    f64::from(vectors[column])
                } else {
                    vectors.iter().skip(column).step_by(self.width).map(|x| f64::from(*x)).sum::<f64>()
                        / self.slots as f64
                };
                *sum += x;
                *square += x * x;
            }
            let count = (before + 1) as f64;
            rows.extend(sums.iter().map(|sum| (sum / count) as f32));
            let variance = |(sum, square): (&f64, &f64)| (square / count - (sum / count).powi(2)).max(0.0);
            rows.extend(sums.iter().zip(&squares).map(|pair| variance(pair).sqrt() as f32));
        }
        (rows, 2 * columns)
    }

    /// Numbers of one vector.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The vector before the first action, which has read the prompt alone.
    pub(super) fn prompt(&self, clip: usize) -> &[f32] {
        &self.clips[clip][..self.width]
    }
}
