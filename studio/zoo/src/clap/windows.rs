//! Patches of an image in windows, shifted or not: [`Windows`].

use burn::tensor::{Device, Int, Tensor};

use crate::named::{device_floats, device_ids};

/// Added to the score of a patch that lies on the other side of the image. Not -inf: the reference's is this.
const MASKED: f32 = -100.0;

/// How a stage's patches are cut into windows (Liu et al., "Swin transformer: hierarchical vision transformer using
/// shifted windows", ICCV 2021).
#[derive(Debug)]
pub struct Windows {
    /// Which patch stands at each place, window after window; the patch past the last is a zero. `[count * cells]`.
    order: Tensor<1, Int>,
    /// At which place each patch stands, `[patches]`.
    back: Tensor<1, Int>,
    /// What is added to the scores, `[count, 1, cells, cells]`; where windows are shifted.
    mask: Option<Tensor<4>>,
    /// Whether places are left over.
    padded: bool,
    count: usize,
    cells: usize,
}

/// The plan on the host.
#[derive(Debug, PartialEq)]
struct Plan {
    order: Vec<u32>,
    back: Vec<u32>,
    /// The region of each place: patches of different regions do not see each other.
    regions: Vec<u8>,
}

impl Windows {
    /// Windows of `side` patches squared, moved by `shift` patches down and to the right with the image wrapped around.
    /// An image of no more than one window a side is not shifted. All at least 1.
    #[must_use]
    pub fn new([rows, columns]: [usize; 2], side: usize, shift: usize, device: &Device) -> Self {
        let fits = rows.min(columns) <= side;
        let (side, shift) = if fits { (rows.min(columns), 0) } else { (side, shift) };
        let plan = Plan::new([rows, columns], side, shift);
        let (cells, places) = (side * side, plan.order.len());
        let count = places / cells;
        let mask = (shift > 0).then(|| {
            let mut values = Vec::with_capacity(places * cells);
            for window in plan.regions.chunks(cells) {
                for query in window {
                    values.extend(window.iter().map(|key| if key == query { 0.0 } else { MASKED }));
                }
            }
            device_floats(&values, [count, 1, cells, cells], device)
        });
        Self {
            order: device_ids(&plan.order, [places], device),
            back: device_ids(&plan.back, [rows * columns], device),
            mask,
            padded: places > rows * columns,
            count,
            cells,
        }
    }

    /// What is added to the scores, `[count, 1, cells, cells]`; where windows are shifted.
    #[must_use]
    pub fn mask(&self) -> Option<&Tensor<4>> {
        self.mask.as_ref()
    }

    /// Into windows.
    ///
    /// # Shapes
    /// - x: `[clips, patches, width]`
    /// - output: `[clips * count, cells, width]`
    #[must_use]
    pub fn cut(&self, x: Tensor<3>) -> Tensor<3> {
        let [clips, _, width] = x.dims();
        let x = if self.padded {
            let device = x.device();
            Tensor::cat(vec![x, Tensor::zeros([clips, 1, width], &device)], 1)
        } else {
            x
        };
        x.select(1, self.order.clone()).reshape([clips * self.count, self.cells, width])
    }

    /// Back from windows.
    ///
    /// # Shapes
    /// - x: `[clips * count, cells, width]`
    /// - output: `[clips, patches, width]`
    #[must_use]
    pub fn join(&self, x: Tensor<3>) -> Tensor<3> {
        let [windows, cells, width] = x.dims();
        let clips = windows / self.count.max(1);
        x.reshape([clips, self.count * cells, width]).select(1, self.back.clone())
    }
}

impl Plan {
    fn new([rows, columns]: [usize; 2], side: usize, shift: usize) -> Self {
        // Zeros below and to the right fill the last windows; they are wrapped around with the rest.
        let (tall, wide) = (rows.next_multiple_of(side), columns.next_multiple_of(side));
        let region = |at: usize, length: usize| u8::from(at + side >= length) + u8::from(at + shift >= length);
        let mut order = Vec::with_capacity(tall * wide);
        let mut regions = Vec::with_capacity(tall * wide);
        let mut back = vec![0; rows * columns];
        for top in (0..tall).step_by(side) {
            for left in (0..wide).step_by(side) {
                for (row, column) in (top..top + side).flat_map(|row| (left..left + side).map(move |c| (row, c))) {
                    let (from_row, from_column) = ((row + shift) % tall, (column + shift) % wide);
                    if from_row < rows && from_column < columns {
                        let patch = from_row * columns + from_column;
                        back[patch] = order.len() as u32;
                        order.push(patch as u32);
                    } else {
                        order.push((rows * columns) as u32);
                    }
                    regions.push(3 * region(row, tall) + region(column, wide));
                }
            }
        }
        Self { order, back, regions }
    }
}

/// For each query and key of a window, the row of the bias table: `[cells * cells]`.
#[must_use]
pub fn relative_rows(side: usize) -> Vec<u32> {
    let cells = side * side;
    let span = 2 * side - 1;
    let mut rows = Vec::with_capacity(cells * cells);
    for query in 0..cells {
        for key in 0..cells {
            let down = query / side + side - 1 - key / side;
            let right = query % side + side - 1 - key % side;
            rows.push((down * span + right) as u32);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_wrap_around_and_regions_part_what_was_not_near() {
        let plan = Plan::new([4, 4], 2, 1);
        assert_eq!(plan.order, [5, 6, 9, 10, 7, 4, 11, 8, 13, 14, 1, 2, 15, 12, 3, 0]);
        assert!((0..16).all(|patch| plan.order[plan.back[patch] as usize] == patch as u32));
        // The last window holds the four corners: none sees another.
        assert_eq!(plan.regions[12..], [4, 5, 7, 8]);
        assert_eq!(plan.regions[..4], [0, 0, 0, 0]);
        // The middle windows hold two parts each.
        assert_eq!(plan.regions[4..8], [1, 2, 1, 2]);
        let plain = Plan::new([2, 4], 2, 0);
        assert_eq!(plain.order, [0, 1, 4, 5, 2, 3, 6, 7]);
    }

    #[test]
    fn what_does_not_fill_a_window_is_filled_with_zeros() {
        let device = Device::flex();
        let values: Vec<f32> = (1..=15).map(|i| i as f32).collect();
        let x = device_floats(&values, [1, 15, 1], &device);
        let windows = Windows::new([3, 5], 2, 1, &device);
        let cut = windows.cut(x.clone());
        assert_eq!(cut.dims(), [6, 4, 1]);
        assert_eq!(cut.clone().sum().into_scalar::<f32>(), 120.0);
        assert_eq!(windows.join(cut).into_data(), x.into_data());
        assert_eq!(windows.mask().unwrap().dims(), [6, 1, 4, 4]);
        // One window a side: no shift.
        assert!(Windows::new([4, 4], 4, 2, &device).mask().is_none());
    }

    #[test]
    fn relative_rows_are_those_of_the_reference() {
        // Swin's index of a window of 2.
        assert_eq!(relative_rows(2), [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4]);
    }
}
