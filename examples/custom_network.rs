//! A network of your own in the crate's trainer: a residual 3-D U-Net of 3x3x3 convolutions, trained on phantoms.
//!
//! `tools/with-adapter cargo run --release --example custom_network`

use std::error::Error;
use std::sync::Arc;
use vnet_engine::data::phantom::{PhantomSettings, make_case};
use vnet_engine::data::{Batch, Fit, Normalisation, Preparation, Prepared};
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::infer::Predictor;
use vnet_engine::metrics::Overlap;
use vnet_engine::nn::{Architecture, Layers, Network, NetworkError};
use vnet_engine::registry::Value;
use vnet_engine::tensor::{ShapeError, ValueId};
use vnet_engine::train::{Trainer, TrainerSettings};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Extents x, y, z of the phantoms and of the network's input.
const EXTENTS: [usize; 3] = [24, 24, 12];
const LEARNING_RATE: f64 = 3e-3;
const STEPS: usize = 60;

/// Two levels down and up again, with skips.
#[derive(Debug)]
struct ResidualUNet {
    /// Channels of the first level.
    base: usize,
}

impl Architecture for ResidualUNet {
    fn kind(&self) -> &'static str {
        "residual_unet_example"
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        vec![("base", (self.base as u64).into())]
    }

    fn summary(&self) -> String {
        format!("residual U-Net base {}", self.base)
    }

    fn divisor(&self) -> [usize; 3] {
        [4; 3]
    }

    fn check(&self, _in_channels: usize) -> Result<(), NetworkError> {
        Ok(())
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        layers.begin_stage("encoder.0");
        let mut x = block(layers, image, self.base)?;
        let mut skips = Vec::new();
        for level in 1..3 {
            skips.push(x);
            layers.begin_stage(format!("encoder.{level}"));
            let channels = self.base << level;
            x = layers.down(x, channels)?;
            x = block(layers, x, channels)?;
        }
        for (level, skip) in skips.into_iter().enumerate().rev() {
            layers.begin_stage(format!("decoder.{level}"));
            let channels = self.base << level;
            let up = layers.up(x, channels)?;
            x = layers.concatenate(up, skip)?;
            x = block(layers, x, channels)?;
        }
        layers.head(x, classes)
    }
}

/// Two 3x3x3 convolutions; the input, brought to as many channels, is added before the last PReLU.
fn block(layers: &mut Layers<'_>, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
    let shortcut = layers.convolution("shortcut", x, channels, 1)?;
    let y = layers.convolution("conv.0", x, channels, 3)?;
    let y = layers.prelu("act.0", y)?;
    let y = layers.convolution("conv.1", y, channels, 3)?;
    let y = layers.sum(y, shortcut)?;
    layers.prelu("act.1", y)
}

fn sample(case: usize) -> Outcome<Prepared> {
    let settings = PhantomSettings { extents: EXTENTS, spacing: [5.0, 5.0, 6.0], ..PhantomSettings::default() };
    let preparation = Preparation { patch: EXTENTS, ..Preparation::native(Normalisation::ZScoreAll) };
    let (image, label) = make_case(&settings, case);
    Ok(Prepared::from_pair(image, &label, &preparation, Fit::Patch)?)
}

fn main() -> Outcome<()> {
    let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
    let network = Network::new(1, 2, ResidualUNet { base: 4 });
    network.validate()?;
    let [w, h, d] = EXTENTS;
    let mut trainer = Trainer::new(&gpu, &network, &TrainerSettings::default(), [d, h, w])?;
    trainer.initialise(1, 0.1);
    let layers = &trainer.training().layers;
    println!("{}: {} parameters", network.summary(), layers.iter().map(|layer| layer.parameters).sum::<usize>());
    let mut results = Vec::new();
    for step in 0..STEPS {
        results.extend(trainer.step(&[Batch::of(&[sample((step + 1) % 12)?])?], LEARNING_RATE)?);
    }
    results.extend(trainer.finish()?);
    let losses: Vec<f64> = results.iter().map(|result| result.loss).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..12]), mean(&losses[losses.len() - 12..]));

    let unseen = sample(100)?;
    let reference = unseen.label.as_ref().ok_or("a pair has a label")?;
    let predictor = Predictor::sharing(trainer.executor(), trainer.best_arena(), &network, EXTENTS)?;
    let found = predictor.labels(&predictor.predict(&unseen)?);
    let dice = Overlap::count(&found, reference, 1)?.dice().ok_or("no voxel is labelled")?;
    println!(
        "mean loss of the first 12 steps {first:.3}, of the last 12 {last:.3}; Dice of an unseen phantom {dice:.3}"
    );
    assert!(last < 0.6 * first, "the loss fell from {first} to {last}");
    assert!(dice > 0.5, "Dice {dice}");
    Ok(())
}
