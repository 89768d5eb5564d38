use super::sliding::Sliding;
use crate::data::{DataError, Prepared};
use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError};
use crate::kernel::{Arena, Target};
use crate::nn::{InferenceGraph, Model, Network};
use crate::plan::{Plan, PlanError, Request, human_bytes, plan};
use crate::tensor::{ShapeError, ValueId};
use std::ops::ControlFlow;
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
    /// Not even small windows fit the device.
    #[error(
        "windows of {} x {} x {} voxels need {} of device memory, more than {}", .patch[0], .patch[1], .patch[2],
        human_bytes(*.needed), human_bytes(*.budget)
    )]
    Memory {
        /// Extents x, y, z.
        patch: [usize; 3],
        /// Bytes.
        needed: u64,
        /// Bytes there are.
        budget: u64,
    },
    /// The caller's `progress` asked to stop.
    #[error("the prediction was stopped")]
    Stopped,
    /// An ensemble without models.
    #[error("an ensemble needs at least one model")]
    NoModel,
    /// Models whose probabilities cannot be averaged.
    #[error(
        "models of {} input channels and {} outputs ({}), and of {} and {} ({}), cannot be averaged",
        .first.in_channels, .first.classes, .first.activation.name(),
        .other.in_channels, .other.classes, .other.activation.name()
    )]
    Unlike {
        /// Network of the first model.
        first: Box<Network>,
        /// Network that differs.
        other: Box<Network>,
    },
}

/// One or several networks, ready to predict patches of one size.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # if vnet_engine::gpu::adapters().is_empty() && std::env::var_os("VNET_REQUIRE_GPU").is_none() {
/// #     println!("skipped: no GPU adapter");
/// #     return Ok(());
/// # }
/// # use vnet_engine::data::{Normalisation, Preparation};
/// # use vnet_engine::train::{Trainer, TrainerSettings};
/// use std::sync::Arc;
/// use vnet_engine::data::{Grid, Volume};
/// use vnet_engine::gpu::{Gpu, GpuOptions};
/// use vnet_engine::infer::{Predictor, Preprocessing, segment_volume};
/// use vnet_engine::nn::Model;
/// # use vnet_engine::nn::vnet::VNet;
/// # use vnet_engine::nn::Network;
///
/// let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// # let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
/// # let mut trainer = Trainer::new(&gpu, &network, &TrainerSettings::default(), [4, 6, 8])?;
/// # trainer.initialise(0, 1.0);
/// # let preparation = Preparation { patch: [8, 6, 4], ..Preparation::native(Normalisation::ZScoreAll) };
/// # trainer.model(trainer.best_arena(), &network, &Preprocessing::new(&preparation, Vec::new()))?.write(&path)?;
/// let model = Model::read(&path)?;
/// let preprocessing = Preprocessing::of(&model)?;
/// let predictor = Predictor::new(&gpu, &model, preprocessing.patch.expect("a trained model names its patch"))?;
/// let preparation = preprocessing.preparation(model.network.in_channels, model.network.classes);
///
/// let grid = Grid::axis_aligned([9, 7, 5], [1.0, 1.0, 2.0]);
/// let volume = Volume::new(grid, (0..315).map(|i| (i % 11) as f32).collect())?;
/// let labels = segment_volume(&predictor, &preparation, volume)?;
/// assert_eq!((labels.grid.extents, labels.voxels.len()), ([9, 7, 5], 315));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Predictor {
    members: Vec<Member>,
    patch: [usize; 3],
    channels: usize,
    classes: usize,
    mirror: bool,
}

/// A window as one member of an ensemble sees it, for [`Predictor::predict_members`].
#[derive(Debug, Clone, Copy)]
pub struct MemberWindow<'a> {
    /// Number of the member, from 0: models of one network follow each other, otherwise in the order in which they were given.
    pub member: usize,
    /// Number of members.
    pub members: usize,
    /// Its probabilities, averaged over the mirror images if there are any: voxels x fastest, the classes of a voxel together.
    pub probabilities: &'a [f32],
    /// Classes or regions of a voxel.
    pub classes: usize,
}

/// A network on the device, and the models that share it.
#[derive(Debug)]
struct Member {
    executor: Executor,
    graph: InferenceGraph,
    /// Parameters of each model; empty if they are on the device already.
    parameters: Vec<Vec<f32>>,
}

impl Predictor {
    /// A predictor of a model for patches of extents x, y, z.
    ///
    /// # Errors
    /// [`InferError`] when the network does not fit the device.
    pub fn new(gpu: &Arc<Gpu>, model: &Model, patch: [usize; 3]) -> Result<Self, InferError> {
        Self::ensemble(gpu, std::slice::from_ref(model), patch)
    }

    /// A predictor that averages the probabilities of several models. Models of one network take turns in the same
    /// device memory.
    ///
    /// # Errors
    /// [`InferError`] when a network does not fit the device, or the models have different inputs or classes.
    pub fn ensemble(gpu: &Arc<Gpu>, models: &[Model], patch: [usize; 3]) -> Result<Self, InferError> {
        let first = &models.first().ok_or(InferError::NoModel)?.network;
        let networks = by_network(models);
        let outputs = |network: &Network| (network.in_channels, network.classes, network.activation);
        let unlike = |network: &Network| outputs(network) != outputs(first);
        if let Some((other, _)) = networks.iter().find(|(network, _)| unlike(network)) {
            return Err(InferError::Unlike { first: Box::new(first.clone()), other: Box::new((*other).clone()) });
        }
        let member = |(network, models): (&Network, Vec<&Model>)| Member::new(gpu, network, &models, patch);
        let members = networks.into_iter().map(member).collect::<Result<_, _>>()?;
        Ok(Self { members, patch, channels: first.in_channels, classes: first.classes, mirror: false })
    }

    /// A predictor that reads the parameters of a training, or their average, where they are on the device;
    /// `parameters` is their arena.
    ///
    /// # Errors
    /// [`InferError`] when the network does not fit the device.
    pub fn sharing(
        training: &Executor,
        parameters: Arena,
        network: &Network,
        patch: [usize; 3],
    ) -> Result<Self, InferError> {
        let [x, y, z] = patch;
        let (graph, plan) = Self::plan_for(network, 1, [z, y, x], training.gpu().target())?;
        let executor = Executor::sharing(training, plan, parameters)?;
        let members = vec![Member { executor, graph, parameters: Vec::new() }];
        Ok(Self { members, patch, channels: network.in_channels, classes: network.classes, mirror: false })
    }

    /// The plan that predicts `batch` patches of `extents` `[D, H, W]` at once and keeps their probabilities.
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
        self.sliding(extents).count()
    }

    /// Number of models whose probabilities are averaged.
    pub fn members(&self) -> usize {
        self.members.iter().map(Member::models).sum()
    }

    fn sliding(&self, extents: [usize; 3]) -> Sliding {
        Sliding::new(extents, self.patch, self.channels, self.classes)
    }

    /// Predicts a prepared volume on its prepared grid. `slab` gets the probabilities in slabs of slices, in ascending
    /// z: voxels x fastest, the classes of a voxel together. Windows overlap by half and are averaged with Gaussian
    /// weights. `progress` gets the number of finished windows and of all windows, and may stop the prediction after
    /// each.
    ///
    /// # Errors
    /// [`InferError::Gpu`] when the device failed, [`InferError::Stopped`] when `progress` said so.
    pub fn predict_slabs(
        &self,
        prepared: &Prepared,
        slab: impl FnMut(&[f32]),
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        let sliding = self.sliding(prepared.geometry.grid.extents);
        let all = sliding.count();
        let mut done = 0;
        let window = |patch: &[f32], slices: &mut dyn FnMut(&[f32])| {
            self.window(patch, slices)?;
            done += 1;
            match progress(done, all) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(InferError::Stopped),
            }
        };
        sliding.run(&prepared.image, window, slab)
    }

    /// Probabilities of a prepared volume, on its prepared grid, all at once.
    ///
    /// # Errors
    /// [`InferError::Gpu`] when the device failed.
    pub fn predict(&self, prepared: &Prepared) -> Result<Vec<f32>, InferError> {
        let mut probabilities = Vec::with_capacity(prepared.geometry.grid.voxel_count() * self.classes);
        self.predict_slabs(prepared, |slab| probabilities.extend_from_slice(slab), |_, _| ControlFlow::Continue(()))?;
        Ok(probabilities)
    }

    /// The most probable class of each voxel; the lower one where two are equal. Regions are decided by
    /// [`Decision::labels`](crate::data::Decision::labels).
    pub fn labels(&self, probabilities: &[f32]) -> Vec<u16> {
        let best = |voxel: &[f32]| {
            let best = (0..voxel.len()).reduce(|best, class| if voxel[class] > voxel[best] { class } else { best });
            best.unwrap_or(0) as u16
        };
        probabilities.chunks_exact(self.classes).map(best).collect()
    }

    /// As [`Predictor::predict_slabs`], with more outputs of each voxel that follow from the probabilities of the single members:
    /// their spread, for example. `see` gets each window of each member, in the order of the models, and adds to the `more`
    /// outputs of every voxel of the window, which are 0 before the first member; they lie voxel by voxel, as probabilities do.
    /// `slab` gets the classes of a voxel and then these outputs. They are averaged over windows like probabilities, whose bits
    /// are those of [`Predictor::predict_slabs`].
    ///
    /// # Errors
    /// As [`Predictor::predict_slabs`].
    pub fn predict_members(
        &self,
        prepared: &Prepared,
        more: usize,
        mut see: impl FnMut(&MemberWindow<'_>, &mut [f32]),
        slab: impl FnMut(&[f32]),
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        let outputs = self.classes + more;
        let sliding = Sliding::new(prepared.geometry.grid.extents, self.patch, self.channels, outputs);
        let (all, mut done) = (sliding.count(), 0);
        let window = |patch: &[f32], slices: &mut dyn FnMut(&[f32])| {
            let mut seen = vec![0.0; self.voxels() * more];
            let mean = self.average(patch, |member| see(member, &mut seen))?;
            let mut joined = Vec::with_capacity(self.voxels() * outputs);
            for (voxel, classes) in mean.chunks_exact(self.classes).enumerate() {
                joined.extend_from_slice(classes);
                joined.extend_from_slice(&seen[voxel * more..(voxel + 1) * more]);
            }
            slices(&joined);
            done += 1;
            match progress(done, all) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(InferError::Stopped),
            }
        };
        sliding.run(&prepared.image, window, slab)
    }

    /// Passes the probabilities of one window, averaged over the models and, if asked for, over its mirror images, to
    /// `slices`: some slices along z at a time. Only averages are on the host as a whole.
    fn window(&self, image: &[f32], slices: &mut dyn FnMut(&[f32])) -> Result<(), GpuError> {
        if let ([member], false) = (&self.members[..], self.mirror)
            && member.models() == 1
        {
            member.take(0);
            return member.run(image, self.slice(), slices);
        }
        let mut sum = vec![0.0; self.voxels() * self.classes];
        let count = (self.members() * self.mirrors().len()) as f32;
        for (member, parameters) in self.each_model() {
            member.take(parameters);
            for axes in self.mirrors() {
                self.run_mirrored(member, image, axes, |into, p| {
                    sum[into..into + self.classes].iter_mut().zip(p).for_each(|(s, p)| *s += p / count);
                })?;
            }
        }
        slices(&sum);
        Ok(())
    }

    /// The probabilities of one window, with the bits of [`Predictor::window`]; `see` gets those of each member by themselves.
    fn average(&self, image: &[f32], mut see: impl FnMut(&MemberWindow<'_>)) -> Result<Vec<f32>, GpuError> {
        let (members, mirrors) = (self.members(), self.mirrors());
        let (count, of_one) = ((members * mirrors.len()) as f32, mirrors.len() as f32);
        let mut sum = vec![0.0; self.voxels() * self.classes];
        let mut own = vec![0.0; sum.len()];
        for (number, (member, parameters)) in self.each_model().enumerate() {
            member.take(parameters);
            own.fill(0.0);
            for axes in mirrors.clone() {
                self.run_mirrored(member, image, axes, |into, p| {
                    for (class, p) in p.iter().enumerate() {
                        sum[into + class] += p / count;
                        own[into + class] += p / of_one;
                    }
                })?;
            }
            see(&MemberWindow { member: number, members, probabilities: &own, classes: self.classes });
        }
        Ok(sum)
    }

    /// Runs a mirror image of a window; `each` gets the place of a voxel's probabilities in the window as it was, and these.
    fn run_mirrored(
        &self,
        member: &Member,
        image: &[f32],
        axes: u8,
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<(), GpuError> {
        let mut voxel = 0;
        member.run(&mirrored(image, self.patch, self.channels, axes), self.slice(), &mut |slices| {
            for p in slices.chunks_exact(self.classes) {
                each(self.mirrored_voxel(voxel, axes) * self.classes, p);
                voxel += 1;
            }
        })
    }

    /// Every model: the network on the device that it shares, and its number there.
    fn each_model(&self) -> impl Iterator<Item = (&Member, usize)> {
        self.members.iter().flat_map(|member| (0..member.models()).map(move |model| (member, model)))
    }

    /// Axes to flip, as bits.
    fn mirrors(&self) -> std::ops::Range<u8> {
        if self.mirror { 0..8 } else { 0..1 }
    }

    /// Voxels of a window.
    fn voxels(&self) -> usize {
        self.patch.iter().product()
    }

    /// Probabilities of a slice of a window.
    fn slice(&self) -> usize {
        self.patch[0] * self.patch[1] * self.classes
    }

    /// The number of a voxel of a window when the axes whose bits are set are flipped ([`mirrored`]).
    fn mirrored_voxel(&self, voxel: usize, axes: u8) -> usize {
        let [nx, ny, nz] = self.patch;
        let flip = |i: usize, extent: usize, bit: u8| if axes & bit != 0 { extent - 1 - i } else { i };
        let [x, y, z] = [flip(voxel % nx, nx, 1), flip(voxel / nx % ny, ny, 2), flip(voxel / (nx * ny), nz, 4)];
        (z * ny + y) * nx + x
    }
}

impl Member {
    fn new(gpu: &Arc<Gpu>, network: &Network, models: &[&Model], [x, y, z]: [usize; 3]) -> Result<Self, InferError> {
        let (graph, plan) = Predictor::plan_for(network, 1, [z, y, x], gpu.target())?;
        let executor = Executor::new(Arc::clone(gpu), plan)?;
        let arena = |model: &&Model| model.to_arena(&graph.graph, &executor.plan().arena);
        let mut parameters: Vec<Vec<f32>> = models.iter().map(arena).collect();
        if let [only] = parameters.as_slice() {
            executor.write_arena(Arena::Parameters, only);
            parameters.clear();
        }
        Ok(Self { executor, graph, parameters })
    }

    /// Number of models.
    fn models(&self) -> usize {
        self.parameters.len().max(1)
    }

    /// Copies a model's parameters to the device, if several models take turns.
    fn take(&self, model: usize) {
        if let Some(parameters) = self.parameters.get(model) {
            self.executor.write_arena(Arena::Parameters, parameters);
        }
    }

    /// Predicts a window and passes its probabilities on, some slices of `slice` elements at a time.
    fn run(&self, image: &[f32], slice: usize, slices: &mut dyn FnMut(&[f32])) -> Result<(), GpuError> {
        self.executor.write(self.graph.image, bytemuck::cast_slice(image));
        self.executor.run(0)?;
        self.executor.read_rows(self.graph.probabilities, slice, slices)
    }
}

/// Different networks in the order of the models, each with its models.
pub(super) fn by_network(models: &[Model]) -> Vec<(&Network, Vec<&Model>)> {
    let mut networks: Vec<(&Network, Vec<&Model>)> = Vec::new();
    for model in models {
        match networks.iter_mut().find(|(known, _)| **known == model.network) {
            Some((_, sharing)) => sharing.push(model),
            None => networks.push((&model.network, vec![model])),
        }
    }
    networks
}

/// The output of a plan for an input.
pub(super) fn run(
    executor: &Executor,
    (input, values): (ValueId, &[f32]),
    output: ValueId,
) -> Result<Vec<f32>, GpuError> {
    executor.write(input, bytemuck::cast_slice(values));
    executor.run(0)?;
    let place = executor.plan().places[&output];
    let bytes = executor.read_windows(&[place])?.wait(executor.gpu())?;
    Ok(bytemuck::pod_collect_to_vec(&bytes))
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
}
