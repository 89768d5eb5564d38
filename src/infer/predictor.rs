use super::{gaussian_weights, window_starts};
use crate::data::{DataError, Prepared};
use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError};
use crate::kernel::{Arena, Target};
use crate::nn::{InferenceGraph, Model, Network};
use crate::plan::{Plan, PlanError, Request, plan};
use crate::tensor::ShapeError;
use std::sync::Arc;

/// A prediction failed.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The network is not defined on the patch.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The network does not fit the device.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A volume cannot be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// A network that is ready to predict patches of one size.
#[derive(Debug)]
pub struct Predictor {
    executor: Executor,
    graph: InferenceGraph,
    patch: [usize; 3],
    classes: usize,
    mirror: bool,
}

impl Predictor {
    /// A predictor of a model for patches of extents x, y, z.
    ///
    /// # Errors
    /// [`InferError`] when the network does not fit the device.
    pub fn new(gpu: &Arc<Gpu>, model: &Model, patch: [usize; 3]) -> Result<Self, InferError> {
        let [x, y, z] = patch;
        let (graph, plan) = Self::plan_for(&model.network, 1, [z, y, x], gpu.target())?;
        let executor = Executor::new(Arc::clone(gpu), plan)?;
        executor.write_arena(Arena::Parameters, &model.to_arena(&graph.graph, &executor.plan().arena));
        Ok(Self { executor, graph, patch, classes: model.network.classes, mirror: false })
    }

    /// A predictor with the parameters of a training, in its memory.
    ///
    /// # Errors
    /// [`InferError`] when the network does not fit the device.
    pub fn sharing(training: &Executor, network: &Network, patch: [usize; 3]) -> Result<Self, InferError> {
        let [x, y, z] = patch;
        let (graph, plan) = Self::plan_for(network, 1, [z, y, x], training.gpu().target())?;
        let executor = Executor::sharing(training, plan)?;
        Ok(Self { executor, graph, patch, classes: network.classes, mirror: false })
    }

    /// The plan of predicting `batch` patches of `extents` `[D, H, W]` at once, which keeps their probabilities.
    ///
    /// # Errors
    /// [`InferError`] when the network does not fit the target.
    pub fn plan_for(
        network: &Network,
        batch: usize,
        extents: [usize; 3],
        target: &Target,
    ) -> Result<(InferenceGraph, Plan), InferError> {
        let graph = InferenceGraph::new(network, batch, extents)?;
        let plan = plan(&Request::inference(&graph.graph, &[graph.probabilities]), target)?;
        Ok((graph, plan))
    }

    /// Averages over the eight mirror images of each window (test-time augmentation).
    #[must_use]
    pub fn with_mirroring(mut self, mirror: bool) -> Self {
        self.mirror = mirror;
        self
    }

    /// Number of windows that a volume of these extents x, y, z takes.
    pub fn windows(&self, extents: [usize; 3]) -> usize {
        (0..3).map(|a| window_starts(extents[a], self.patch[a]).len()).product()
    }

    /// Probabilities of a volume of `extents` x, y, z, none smaller than the patch: voxels x fastest, each with its
    /// classes. Windows overlap by half and are averaged with Gaussian weights; `progress` is called after each.
    ///
    /// # Errors
    /// [`InferError::Gpu`] when the device failed.
    ///
    /// # Panics
    /// When an extent is smaller than the patch.
    pub fn probabilities(
        &self,
        image: &[f32],
        extents: [usize; 3],
        mut progress: impl FnMut(),
    ) -> Result<Vec<f32>, InferError> {
        let starts: [Vec<usize>; 3] = std::array::from_fn(|axis| window_starts(extents[axis], self.patch[axis]));
        if extents == self.patch {
            let result = self.window(image)?;
            progress();
            return Ok(result);
        }
        let weights = gaussian_weights(self.patch);
        let voxels = extents.iter().product::<usize>();
        let mut sums = vec![0.0; voxels * self.classes];
        let mut total = vec![0.0; voxels];
        for &z in &starts[2] {
            for &y in &starts[1] {
                for &x in &starts[0] {
                    let rows = Rows { extents, patch: self.patch, origin: [x, y, z] };
                    let patch = rows.gather(image);
                    let probabilities = self.window(&patch)?;
                    rows.scatter(&probabilities, &weights, self.classes, &mut sums, &mut total);
                    progress();
                }
            }
        }
        for (sums, total) in sums.chunks_exact_mut(self.classes).zip(&total) {
            sums.iter_mut().for_each(|s| *s /= total);
        }
        Ok(sums)
    }

    /// Probabilities of a prepared volume, on its prepared grid.
    ///
    /// # Errors
    /// [`InferError::Gpu`] when the device failed.
    pub fn predict(&self, prepared: &Prepared, progress: impl FnMut()) -> Result<Vec<f32>, InferError> {
        self.probabilities(&prepared.image, prepared.geometry.grid.extents, progress)
    }

    /// The most probable class of each voxel; the lower one where two are equal.
    pub fn labels(&self, probabilities: &[f32]) -> Vec<u16> {
        let best = |voxel: &[f32]| {
            let mut best = 0;
            for class in 1..voxel.len() {
                if voxel[class] > voxel[best] {
                    best = class;
                }
            }
            best as u16
        };
        probabilities.chunks_exact(self.classes).map(best).collect()
    }

    /// Probabilities of one window, averaged over its mirror images where that is wanted.
    fn window(&self, image: &[f32]) -> Result<Vec<f32>, GpuError> {
        let mirrors = if self.mirror { 0..8u8 } else { 0..1 };
        let count = f32::from(mirrors.end);
        let mut sum = vec![0.0; image.len() * self.classes];
        for axes in mirrors {
            self.executor.write(self.graph.image, bytemuck::cast_slice(&mirrored(image, self.patch, 1, axes)));
            self.executor.run(0)?;
            let place = self.executor.plan().places[&self.graph.probabilities];
            let bytes = self.executor.read_windows(&[place])?.wait(self.executor.gpu())?;
            let probabilities: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
            for (s, p) in sum.iter_mut().zip(mirrored(&probabilities, self.patch, self.classes, axes)) {
                *s += p / count;
            }
        }
        Ok(sum)
    }
}

/// Flips the axes whose bits (x: 1, y: 2, z: 4) are set; its own inverse.
fn mirrored(values: &[f32], [nx, ny, nz]: [usize; 3], channels: usize, axes: u8) -> Vec<f32> {
    if axes == 0 {
        return values.to_vec();
    }
    let flip = |i: usize, extent: usize, bit: u8| if axes & bit != 0 { extent - 1 - i } else { i };
    let mut result = Vec::with_capacity(values.len());
    for z in (0..nz).map(|z| flip(z, nz, 4)) {
        for y in (0..ny).map(|y| flip(y, ny, 2)) {
            for x in (0..nx).map(|x| flip(x, nx, 1)) {
                let start = ((z * ny + y) * nx + x) * channels;
                result.extend_from_slice(&values[start..start + channels]);
            }
        }
    }
    result
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

    fn gather(&self, image: &[f32]) -> Vec<f32> {
        self.starts().flat_map(|(volume, _)| &image[volume..volume + self.patch[0]]).copied().collect()
    }

    fn scatter(&self, probabilities: &[f32], weights: &[f32], classes: usize, sums: &mut [f32], total: &mut [f32]) {
        for (volume, window) in self.starts() {
            for x in 0..self.patch[0] {
                let weight = weights[window + x];
                total[volume + x] += weight;
                let from = &probabilities[(window + x) * classes..][..classes];
                let to = &mut sums[(volume + x) * classes..][..classes];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += weight * f);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_flips_the_named_axes_and_is_its_own_inverse() {
        let extents = [4, 3, 2];
        let values: Vec<f32> = (0..48).map(|i| i as f32).collect();
        for axes in 0..8 {
            let flipped = mirrored(&values, extents, 2, axes);
            assert_eq!(mirrored(&flipped, extents, 2, axes), values);
        }
        assert_eq!(mirrored(&values, extents, 2, 1)[..2], [6.0, 7.0]);
        assert_eq!(mirrored(&values, extents, 2, 2)[..2], [16.0, 17.0]);
        assert_eq!(mirrored(&values, extents, 2, 4)[..2], [24.0, 25.0]);
    }

    #[test]
    fn windows_put_voxels_back_where_they_came_from() {
        let (extents, patch) = ([7, 5, 4], [4, 3, 2]);
        let image: Vec<f32> = (0..140).map(|i| (i * i % 97) as f32).collect();
        let (mut sums, mut total) = (vec![0.0; 280], vec![0.0; 140]);
        for origin in [[0, 0, 0], [3, 2, 2], [1, 0, 1]] {
            let rows = Rows { extents, patch, origin };
            let window = rows.gather(&image);
            let classes: Vec<f32> = window.iter().flat_map(|&v| [v, -v]).collect();
            rows.scatter(&classes, &[0.5; 24], 2, &mut sums, &mut total);
        }
        assert!(total.contains(&0.0) && total.contains(&1.0));
        for (voxel, &weight) in total.iter().enumerate() {
            assert_eq!(sums[2 * voxel], weight * image[voxel]);
            assert_eq!(sums[2 * voxel + 1], -weight * image[voxel]);
        }
    }
}
