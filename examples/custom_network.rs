//! Another network of the crate's operations: a residual 3-D U-Net of 3x3x3 convolutions, trained on phantoms with the
//! crate's loss and optimiser.
//!
//! `tools/with-adapter cargo run --release --example custom_network`

use std::error::Error;
use std::sync::Arc;
use vnet_engine::data::phantom::{PhantomSettings, make_case};
use vnet_engine::data::{Fit, Normalisation, Preparation, Prepared};
use vnet_engine::exec::Executor;
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::graph::{Graph, Initial, gradients};
use vnet_engine::kernel::Arena;
use vnet_engine::metrics::Overlap;
use vnet_engine::nn::SLOPE;
use vnet_engine::nn::loss::{DiceCrossEntropy, Loss};
use vnet_engine::nn::model::initial_arena;
use vnet_engine::ops::{Add, ConcatChannels, Conv3d, ConvTranspose3d, GRADIENT_OPS, Prelu, share_channel_sums};
use vnet_engine::optim::{Adam, OptimiserSettings, StepScalars, update};
use vnet_engine::plan::{ArenaLayout, Request, Stage, plan};
use vnet_engine::tensor::layout::ParameterLayout;
use vnet_engine::tensor::{ShapeError, TensorSpec, ValueId};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Extents x, y, z of the phantoms and of the network's input.
const EXTENTS: [usize; 3] = [24, 24, 12];
const LEARNING_RATE: f64 = 3e-3;
const STEPS: u64 = 60;

/// Layers that are appended to a graph. Parameters are named like PyTorch's.
struct Layers<'a>(&'a mut Graph);

impl Layers<'_> {
    fn convolution(
        &mut self,
        name: &str,
        op: Conv3d,
        kernel: usize,
        x: ValueId,
        channels: usize,
    ) -> Result<ValueId, ShapeError> {
        let shape = [kernel, kernel, kernel, self.0.spec(x).channels(), channels];
        self.0.set_scope(name);
        let weight = self.0.parameter(&format!("{name}.weight"), &shape, ParameterLayout::Convolution, true);
        let bias = self.0.parameter(&format!("{name}.bias"), &[channels], ParameterLayout::Vector, false);
        self.0.add(op, &[x, weight, bias])
    }

    fn up(&mut self, name: &str, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        let shape = [2, 2, 2, self.0.spec(x).channels(), channels];
        self.0.set_scope(name);
        let weight = self.0.parameter(&format!("{name}.weight"), &shape, ParameterLayout::TransposedConvolution, true);
        let bias = self.0.parameter(&format!("{name}.bias"), &[channels], ParameterLayout::Vector, false);
        self.0.add(ConvTranspose3d, &[x, weight, bias])
    }

    fn prelu(&mut self, name: &str, x: ValueId) -> Result<ValueId, ShapeError> {
        let channels = self.0.spec(x).channels();
        self.0.set_scope(name);
        let slope = self.0.parameter(&format!("{name}.weight"), &[channels], ParameterLayout::Vector, false);
        self.0.set_initial(slope, |_| Initial::Constant(SLOPE));
        self.0.add(Prelu, &[x, slope])
    }

    /// Two 3x3x3 convolutions; what comes in, brought to as many channels, is added before the last PReLU.
    fn block(&mut self, name: &str, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        let shortcut = self.convolution(&format!("{name}.shortcut"), Conv3d::same(1), 1, x, channels)?;
        let y = self.convolution(&format!("{name}.conv.0"), Conv3d::same(3), 3, x, channels)?;
        let y = self.prelu(&format!("{name}.act.0"), y)?;
        let y = self.convolution(&format!("{name}.conv.1"), Conv3d::same(3), 3, y, channels)?;
        let y = self.0.add(Add, &[y, shortcut])?;
        self.prelu(&format!("{name}.act.1"), y)
    }

    /// Two levels down and up again, with skips.
    fn unet(&mut self, image: ValueId, base: usize, classes: usize) -> Result<ValueId, ShapeError> {
        let mut x = self.block("encoder.0", image, base)?;
        let mut skips = Vec::new();
        for level in 1..3 {
            skips.push(x);
            x = self.convolution(&format!("encoder.{level}.down"), Conv3d::windows(2), 2, x, base << level)?;
            x = self.block(&format!("encoder.{level}"), x, base << level)?;
        }
        for (level, skip) in skips.into_iter().enumerate().rev() {
            let up = self.up(&format!("decoder.{level}.up"), x, base << level)?;
            x = self.0.add(ConcatChannels, &[up, skip])?;
            x = self.block(&format!("decoder.{level}"), x, base << level)?;
        }
        let logits = self.convolution("head", Conv3d::same(1), 1, x, classes)?;
        let head = self.0.parameters().iter().rfind(|p| p.name == "head.weight").map(|p| p.value);
        head.into_iter().for_each(|weight| self.0.set_initial(weight, Initial::of_head));
        Ok(logits)
    }
}

/// The network on the device, with its loss, gradients and optimiser.
struct Training {
    graph: Graph,
    image: ValueId,
    labels: ValueId,
    logits: ValueId,
    loss: ValueId,
    executor: Executor,
    optimiser: OptimiserSettings,
}

impl Training {
    fn new(gpu: &Arc<Gpu>, classes: usize) -> Outcome<Self> {
        let [w, h, d] = EXTENTS;
        let mut graph = Graph::new();
        let image = graph.input("image", TensorSpec::f32([1, d, h, w, 1]));
        let labels = graph.input("labels", TensorSpec::u32([1, d, h, w]));
        let logits = Layers(&mut graph).unet(image, 4, classes)?;
        let loss = DiceCrossEntropy.append(&mut graph, logits, labels)?;
        let parameters: Vec<ValueId> = graph.parameters().iter().map(|p| p.value).collect();
        let of_parameters = gradients(&mut graph, loss, &parameters, 1.0, GRADIENT_OPS)?;
        let mut of_parameters: Vec<ValueId> = of_parameters.into_iter().flatten().collect();
        assert_eq!(of_parameters.len(), parameters.len(), "the loss depends on every parameter");
        share_channel_sums(&mut graph, &mut of_parameters);

        let optimiser = OptimiserSettings { clip_norm: Some(12.0), ..OptimiserSettings::new(Adam::default()) };
        let layout = ArenaLayout::new(&graph);
        let step = update(&optimiser, layout.elements, layout.decayed, gpu.target());
        let stage = Stage { name: "update", dispatches: step.dispatches, scratch: step.scratch, cost: step.cost };
        let outputs = [loss, logits];
        let request =
            Request { gradients: &of_parameters, stages: vec![stage], ..Request::inference(&graph, &outputs) };
        let executor = Executor::new(Arc::clone(gpu), plan(&request, gpu.target())?)?;
        executor.write_arena(Arena::Parameters, &initial_arena(&graph, &layout, 1, 0.1));
        println!("{} nodes, {} parameters", graph.nodes().len(), layout.windows.iter().map(|w| w.len).sum::<usize>());
        Ok(Self { graph, image, labels, logits, loss, executor, optimiser })
    }

    /// Forward and backward pass; the loss.
    fn run(&self, sample: &Prepared) -> Outcome<f64> {
        let labels: Vec<u32> = sample.label.iter().flatten().copied().map(u32::from).collect();
        self.executor.write(self.image, bytemuck::cast_slice(&sample.image));
        self.executor.write(self.labels, bytemuck::cast_slice(&labels));
        self.executor.run(0)?;
        Ok(self.executor.read(self.loss, self.graph.spec(self.loss))?.data[0])
    }

    /// One step of the optimiser, counted from 1; the loss before it.
    fn step(&self, step: u64, sample: &Prepared) -> Outcome<f64> {
        let scalars = StepScalars::new(&self.optimiser, step, LEARNING_RATE);
        self.executor.write_step_scalars(bytemuck::bytes_of(&scalars));
        let loss = self.run(sample)?;
        self.executor.run(1)?;
        Ok(loss)
    }

    /// The class with the largest logit of each voxel.
    fn predict(&self, sample: &Prepared) -> Outcome<Vec<u16>> {
        self.run(sample)?;
        let logits = self.executor.read(self.logits, self.graph.spec(self.logits))?;
        Ok(logits.data.chunks_exact(2).map(|voxel| u16::from(voxel[1] > voxel[0])).collect())
    }
}

fn sample(case: usize) -> Outcome<Prepared> {
    let settings = PhantomSettings { extents: EXTENTS, spacing: [5.0, 5.0, 6.0], ..PhantomSettings::default() };
    let preparation = Preparation { patch: EXTENTS, ..Preparation::native(Normalisation::ZScoreAll) };
    let (image, label) = make_case(&settings, case);
    Ok(Prepared::from_pair(image, &label, &preparation, Fit::Patch)?)
}

fn main() -> Outcome<()> {
    let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
    let training = Training::new(&gpu, 2)?;
    let samples = (0..12).map(sample).collect::<Outcome<Vec<_>>>()?;
    let step = |step: u64| training.step(step, &samples[step as usize % samples.len()]);
    let losses = (1..=STEPS).map(step).collect::<Outcome<Vec<_>>>()?;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..12]), mean(&losses[losses.len() - 12..]));
    let unseen = sample(100)?;
    let reference = unseen.label.as_ref().ok_or("a pair has a label")?;
    let dice = Overlap::count(&training.predict(&unseen)?, reference, 1)?.dice().ok_or("no voxel is labelled")?;
    println!(
        "mean loss of the first 12 steps {first:.3}, of the last 12 {last:.3}; Dice of an unseen phantom {dice:.3}"
    );
    assert!(last < 0.6 * first, "the loss fell from {first} to {last}");
    assert!(dice > 0.5, "Dice {dice}");
    Ok(())
}
