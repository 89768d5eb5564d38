//! Samples of a case as a training sees them.

use super::{Config, TrainError, choose_patch};
use crate::augment::{Augmenter, Extents};
use crate::data::{Batch, Dataset, Examined, IGNORED, Loader, Warnings};
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::graph::Graph;
use crate::plan::{Request, plan};
use crate::report::SampleTile;
use crate::tensor::ValueId;
use std::sync::Arc;

/// Other cases whose histograms samples are matched to.
const PARTNERS: usize = 3;

/// Samples of one case.
#[derive(Debug)]
pub struct Preview {
    /// The first sample as it was loaded, then all samples augmented.
    pub tiles: Vec<SampleTile>,
    /// Extents x, y, z.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
    /// What is unusual about the files of the data set.
    pub warnings: Warnings,
}

/// Augments `count` samples of the case of this index. The data set was opened with the configuration's classes.
///
/// # Errors
/// [`TrainError`] that names the file or key.
pub fn preview(
    gpu: &Arc<Gpu>,
    dataset: &Dataset,
    config: &Config,
    case: usize,
    count: usize,
) -> Result<Preview, TrainError> {
    let Examined { classes, warnings, .. } = dataset.examine_sound()?;
    let patch = choose_patch(config, &dataset.cases, config.network_of(1, &classes).divisor())?;
    let config = config.resolved(patch, dataset.classes_as(&classes), &dataset.cases)?;
    let labels = classes.device_labels();
    let cases: Vec<_> = (0..=PARTNERS.min(dataset.cases.len() - 1))
        .map(|i| dataset.cases[(case + i) % dataset.cases.len()].clone())
        .collect();
    let wanted = cases[0].name.clone();
    let loader =
        Loader::start(cases, config.preparation(patch, 1, classes.outputs()), config.loader_settings(patch, 1, 0))?;
    let device = Device::new(gpu, &config, patch, labels)?;
    let mut preview = Preview { tiles: Vec::new(), extents: patch, spacing: [1.0; 3], warnings };
    preview.fill(&device, loader, &wanted, count)?;
    Ok(preview)
}

impl Preview {
    fn fill(&mut self, device: &Device, mut loader: Loader, case: &str, count: usize) -> Result<(), TrainError> {
        while self.tiles.len() <= count {
            let batch = loader.next()?;
            if batch.cases[0] != case {
                continue;
            }
            if self.tiles.is_empty() {
                self.spacing = batch.samples[0].spacing;
                self.tiles.push(device.original(&batch));
            }
            self.tiles.push(device.augmented(&batch)?);
        }
        Ok(())
    }
}

/// The augmentation alone, one sample at a time.
struct Device {
    executor: Executor,
    augmenter: Augmenter,
    graph: Graph,
    extents: Extents,
    /// The label of each class.
    labels: Vec<u32>,
}

impl Device {
    fn new(gpu: &Arc<Gpu>, config: &Config, [x, y, z]: [usize; 3], labels: Vec<u32>) -> Result<Self, TrainError> {
        let patch = [z, y, x];
        let extents = Extents { source: config.trainer_settings().block(patch), patch };
        let mut graph = Graph::new();
        let augmenter = Augmenter::append(&mut graph, &config.augmentation, config.seed, 1, extents)?;
        let outputs = [augmenter.augmented_image, augmenter.augmented_labels];
        let plan = plan(&Request::inference(&graph, &outputs), gpu.target())?;
        Ok(Self { executor: Executor::new(Arc::clone(gpu), plan)?, augmenter, graph, extents, labels })
    }

    /// A class of a label on the device; of classes that are part of the same regions the first.
    fn class(&self, label: u32) -> u16 {
        self.labels.iter().position(|of| *of == label).map_or(IGNORED, |class| class as u16)
    }

    /// The middle of a sample as it was loaded.
    fn original(&self, batch: &Batch) -> SampleTile {
        let [from, to] = [self.extents.source, self.extents.patch].map(|[z, y, x]| [x, y, z]);
        let fit = crate::data::patch::CenterFit { from, to };
        let labels: Vec<u16> = batch.label.iter().map(|&l| self.class(l)).collect();
        SampleTile {
            caption: vec!["as loaded".to_owned()],
            image: fit.apply(&batch.image, 0.0),
            labels: fit.apply(&labels, 0),
        }
    }

    fn augmented(&self, batch: &Batch) -> Result<SampleTile, TrainError> {
        self.executor.write(self.augmenter.image, bytemuck::cast_slice(&batch.image));
        self.executor.write(self.augmenter.labels, bytemuck::cast_slice(&batch.label));
        for (value, numbers) in self.augmenter.feeds(&batch.samples) {
            self.executor.write(value, bytemuck::cast_slice(&numbers));
        }
        self.executor.run(0)?;
        let read = |value: ValueId| self.executor.read(value, self.graph.spec(value));
        let mut caption = self.augmenter.draw(&batch.samples[0]).applied;
        if caption.is_empty() {
            caption.push("nothing".to_owned());
        }
        Ok(SampleTile {
            caption,
            image: read(self.augmenter.augmented_image)?.data.into_iter().map(|v| v as f32).collect(),
            labels: read(self.augmenter.augmented_labels)?.data.into_iter().map(|v| self.class(v as u32)).collect(),
        })
    }
}
