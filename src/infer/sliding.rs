//! Overlapping windows over a volume, averaged with Gaussian weights. Windows are taken in ascending z, and slices that
//! no later window reaches are passed on at once. So no more slices are in memory than a window is deep, however large
//! the volume is.

use super::{gaussian_weights, window_starts};

/// The windows over a volume.
#[derive(Debug, Clone)]
pub(super) struct Sliding {
    extents: [usize; 3],
    patch: [usize; 3],
    channels: usize,
    classes: usize,
    starts: [Vec<usize>; 3],
}

impl Sliding {
    /// Windows of extents `patch` over an image of `extents`, x, y, z, none smaller than the patch, and so many channels.
    pub(super) fn new(extents: [usize; 3], patch: [usize; 3], channels: usize, classes: usize) -> Self {
        let starts = std::array::from_fn(|axis| window_starts(extents[axis], patch[axis]));
        Self { extents, patch, channels, classes, starts }
    }

    /// Number of windows.
    pub(super) fn count(&self) -> usize {
        self.starts.iter().map(Vec::len).product()
    }

    /// Predicts every window; `slab` gets the slices of the volume in the order of z, each once: voxels x fastest, each
    /// with its classes. `window` passes the slices of a window on in the same way.
    pub(super) fn run<E>(
        &self,
        image: &[f32],
        mut window: impl FnMut(&[f32], &mut dyn FnMut(&[f32])) -> Result<(), E>,
        mut slab: impl FnMut(&[f32]),
    ) -> Result<(), E> {
        if self.extents == self.patch {
            return window(image, &mut slab);
        }
        let weights = gaussian_weights(self.patch);
        let mut sums = Sums::new(self);
        for (position, &z) in self.starts[2].iter().enumerate() {
            for &y in &self.starts[1] {
                for &x in &self.starts[0] {
                    let rows = self.rows([x, y, z - sums.first]);
                    let mut first = 0;
                    window(&self.rows([x, y, z]).gather(image, self.channels), &mut |slices| {
                        sums.add(&rows, first, slices, &weights);
                        first += slices.len() / self.classes;
                    })?;
                }
            }
            let end = self.starts[2].get(position + 1).copied().unwrap_or(self.extents[2]);
            sums.hand_on(end, &mut slab);
        }
        Ok(())
    }

    fn rows(&self, origin: [usize; 3]) -> Rows {
        Rows { extents: self.extents, patch: self.patch, origin }
    }
}

/// Weighted sums of the slices that windows still reach.
struct Sums {
    /// Voxels of a slice.
    plane: usize,
    classes: usize,
    /// Position of the first slice in the volume.
    first: usize,
    /// Of each voxel, its classes.
    sums: Vec<f32>,
    /// Sum of the weights of each voxel.
    total: Vec<f32>,
}

impl Sums {
    fn new(sliding: &Sliding) -> Self {
        let plane = sliding.extents[0] * sliding.extents[1];
        let (voxels, classes) = (plane * sliding.patch[2], sliding.classes);
        Self { plane, classes, first: 0, sums: vec![0.0; voxels * classes], total: vec![0.0; voxels] }
    }

    /// Adds slices of a window, the first of whose voxels has the number `first` in the window.
    fn add(&mut self, rows: &Rows, first: usize, probabilities: &[f32], weights: &[f32]) {
        rows.scatter((first, probabilities), weights, self.classes, &mut self.sums, &mut self.total);
    }

    /// Divides the slices before `end` by their weights and hands them on; the others move to the front.
    fn hand_on(&mut self, end: usize, slab: &mut impl FnMut(&[f32])) {
        let voxels = (end - self.first) * self.plane;
        let finished = &mut self.sums[..voxels * self.classes];
        for (sums, total) in finished.chunks_exact_mut(self.classes).zip(&self.total) {
            sums.iter_mut().for_each(|s| *s /= total);
        }
        slab(finished);
        for (values, gone) in [(&mut self.sums, voxels * self.classes), (&mut self.total, voxels)] {
            values.copy_within(gone.., 0);
            let kept = values.len() - gone;
            values[kept..].fill(0.0);
        }
        self.first = end;
    }
}

/// One window in a volume, as rows of voxels along x.
struct Rows {
    extents: [usize; 3],
    patch: [usize; 3],
    origin: [usize; 3],
}

impl Rows {
    /// First voxel of each row: in the volume and in the window.
    fn starts(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let [px, py, pz] = self.patch;
        let [ox, oy, oz] = self.origin;
        (0..pz).flat_map(move |z| {
            (0..py).map(move |y| {
                let volume = ((oz + z) * self.extents[1] + oy + y) * self.extents[0] + ox;
                (volume, (z * py + y) * px)
            })
        })
    }

    fn gather(&self, image: &[f32], channels: usize) -> Vec<f32> {
        let row = |volume: usize| &image[volume * channels..(volume + self.patch[0]) * channels];
        self.starts().flat_map(|(volume, _)| row(volume)).copied().collect()
    }

    /// Adds the voxels of the window from number `first` on, which are whole rows.
    fn scatter(
        &self,
        (first, probabilities): (usize, &[f32]),
        weights: &[f32],
        classes: usize,
        sums: &mut [f32],
        total: &mut [f32],
    ) {
        let rows = probabilities.len() / classes / self.patch[0];
        for (volume, window) in self.starts().skip(first / self.patch[0]).take(rows) {
            for x in 0..self.patch[0] {
                let weight = weights[window + x];
                total[volume + x] += weight;
                let from = &probabilities[(window + x - first) * classes..][..classes];
                let to = &mut sums[(volume + x) * classes..][..classes];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += weight * f);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const CLASSES: usize = 3;

    /// Stands for a network: what it says of a voxel depends on where the voxel lies in the window.
    fn network(patch: &[f32]) -> Vec<f32> {
        let classes = |(position, value): (usize, &f32)| {
            [*value, (position as f32 * 0.37).sin() * value, 1.0 / (1.0 + position as f32 + value.abs())]
        };
        patch.iter().enumerate().flat_map(classes).collect()
    }

    /// The definition: sums of the whole volume, then one division.
    fn whole(image: &[f32], extents: [usize; 3], patch: [usize; 3]) -> Vec<f32> {
        if extents == patch {
            return network(image);
        }
        let starts: [Vec<usize>; 3] = std::array::from_fn(|axis| window_starts(extents[axis], patch[axis]));
        let weights = gaussian_weights(patch);
        let (mut sums, mut total) = (vec![0.0f32; image.len() * CLASSES], vec![0.0f32; image.len()]);
        for &z in &starts[2] {
            for &y in &starts[1] {
                for &x in &starts[0] {
                    let place = |voxel: usize| {
                        let at = [voxel % patch[0], voxel / patch[0] % patch[1], voxel / (patch[0] * patch[1])];
                        ((z + at[2]) * extents[1] + y + at[1]) * extents[0] + x + at[0]
                    };
                    let window: Vec<f32> = (0..weights.len()).map(|voxel| image[place(voxel)]).collect();
                    let predicted = network(&window);
                    for (voxel, weight) in weights.iter().enumerate() {
                        total[place(voxel)] += weight;
                        for class in 0..CLASSES {
                            sums[place(voxel) * CLASSES + class] += weight * predicted[voxel * CLASSES + class];
                        }
                    }
                }
            }
        }
        sums.iter().enumerate().map(|(index, sum)| sum / total[index / CLASSES]).collect()
    }

    proptest! {
        #[test]
        fn slabs_have_the_bits_of_the_whole(
            patch in proptest::array::uniform3(1usize..6),
            more in proptest::array::uniform3(0usize..9),
            thickness in 1usize..4,
        ) {
            let extents: [usize; 3] = std::array::from_fn(|axis| patch[axis] + more[axis]);
            let voxels = extents.iter().product::<usize>();
            let image: Vec<f32> = (0..voxels).map(|v| (v * v % 97) as f32 * 0.31 - 11.0).collect();
            let sliding = Sliding::new(extents, patch, 1, CLASSES);
            let (mut found, mut done, mut largest) = (Vec::new(), 0, 0);
            let slab = |slices: &[f32]| {
                largest = largest.max(slices.len());
                found.extend_from_slice(slices);
            };
            let window = |values: &[f32], slices: &mut dyn FnMut(&[f32])| {
                done += 1;
                let slice = patch[0] * patch[1] * CLASSES;
                network(values).chunks(slice * thickness).for_each(slices);
                Ok::<_, Infallible>(())
            };
            let Ok(()) = sliding.run(&image, window, slab);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&found), bits(&whole(&image, extents, patch)));
            prop_assert_eq!(done, sliding.count());
            prop_assert!(largest <= extents[0] * extents[1] * patch[2] * CLASSES);
        }
    }
}
