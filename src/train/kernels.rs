//! The measured choice of kernels that a run uses: the given one, the run's own, or one that is measured now.

use super::{Progress, RunSettings, TrainError, Trainer, check_budget};
use crate::gpu::{AdapterDescription, Gpu};
use crate::kernel::{Algorithms, ConvolutionLayer, KernelPolicy, KernelTable, Target};
use crate::nn::{InferenceGraph, Network};
use crate::tuning::{Uses, measure, read_table, write_table};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Name of the table in a run folder.
pub const KERNELS_FILE: &str = "kernels.toml";

/// The device with the kernels that the configuration asks for. With `measured` these come from a table: that of the device,
/// the run folder's, or one that is measured now. The run folder keeps it.
pub(super) fn choose_kernels<P: Progress>(
    gpu: &Arc<Gpu>,
    settings: &RunSettings,
    network: &Network,
    [x, y, z]: [usize; 3],
    progress: &mut P,
) -> Result<Arc<Gpu>, TrainError> {
    if settings.config.kernels != Algorithms::Measured {
        return Ok(Arc::new(gpu.with_policy(settings.config.kernels.into())));
    }
    let path = settings.out.join(KERNELS_FILE);
    let table = match &gpu.target().policy.measured {
        Some(given) => Arc::clone(given),
        None if settings.resume => Arc::new(read_table(&path)?),
        None => Arc::new(measure_run(gpu, settings, network, [z, y, x], progress)?),
    };
    note_on_adapter(&table, gpu.description()).iter().for_each(|text| progress.note(text));
    write_table(&path, &table).map_err(TrainError::io("write", &path))?;
    Ok(Arc::new(gpu.with_policy(KernelPolicy::of_table(table))))
}

/// A note for the user where the table was measured on another adapter or driver.
pub fn note_on_adapter(table: &KernelTable, used: &AdapterDescription) -> Option<String> {
    let KernelTable { adapter, driver, .. } = table;
    let other = (adapter, driver) != (&used.name, &used.driver);
    other.then(|| {
        let used = format!("{}, {}", used.name, used.driver);
        format!("the kernels were measured on {adapter}, {driver}, and are taken as they are on {used}")
    })
}

/// Times all convolutions of the run, in rounds: a choice may change the samples of a pass, and with them the convolutions.
fn measure_run<P: Progress>(
    gpu: &Arc<Gpu>,
    settings: &RunSettings,
    network: &Network,
    extents: [usize; 3],
    progress: &mut P,
) -> Result<KernelTable, TrainError> {
    check_budget(gpu, network, &settings.config.trainer_settings(), extents)?;
    let start = Instant::now();
    let (adapter, driver) = (gpu.description().name.clone(), gpu.description().driver.clone());
    let mut table = KernelTable { adapter, driver, convolutions: BTreeMap::new() };
    let mut timed = BTreeSet::new();
    loop {
        let policy = KernelPolicy::of_table(Arc::new(table.clone()));
        let target = Target { policy, ..gpu.target().clone() };
        let mut used = convolutions(settings, network, extents, &target)?;
        used.retain(|layer, _| timed.insert(*layer));
        if used.is_empty() {
            break;
        }
        progress.note(&format!("timing the kernels of {} convolutions", used.len()));
        for (layer, uses) in used {
            if let Some(choice) = measure::<TrainError>(gpu, layer, uses)? {
                table.convolutions.insert(layer, choice);
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    progress.note(&format!("timed in {seconds:.1} s: {}", settings.out.join(KERNELS_FILE).display()));
    Ok(table)
}

/// The convolutions of a step and of a prediction.
fn convolutions(
    settings: &RunSettings,
    network: &Network,
    extents: [usize; 3],
    target: &Target,
) -> Result<BTreeMap<ConvolutionLayer, Uses>, TrainError> {
    let (training, _, passes) = Trainer::plan_for(network, &settings.config.trainer_settings(), extents, target)?;
    let batch = settings.config.training.batch / passes;
    let mut found = BTreeMap::new();
    for layer in InferenceGraph::new(network, 1, extents)?.layers.iter().filter_map(|layer| layer.with_choice(1)) {
        found.insert(layer, Uses::Forward);
    }
    for (i, layer) in training.layers.iter().enumerate() {
        let uses = if i == 0 { Uses::Parameters } else { Uses::All };
        if let Some(layer) = layer.with_choice(batch) {
            found.entry(layer).and_modify(|known| *known = uses.max(*known)).or_insert(uses);
        }
    }
    Ok(found)
}
