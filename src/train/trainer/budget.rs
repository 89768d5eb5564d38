//! Does a training fit the device's memory, and if not, which settings would?

use super::{Forecast, MemoryMode, TrainerSettings};
use crate::gpu::Gpu;
use crate::kernel::Target;
use crate::nn::Network;
use crate::plan::human_bytes;
use crate::registry::Value;
use crate::train::TrainError;

/// Checks a training against the memory of the device before anything is allocated, and returns its forecast.
///
/// # Errors
/// [`TrainError::Budget`] with the settings that would fit, each computed; [`TrainError::Plan`] when a limit of the
/// device is exceeded.
pub fn check_budget(
    gpu: &Gpu,
    network: &Network,
    settings: &TrainerSettings,
    extents: [usize; 3],
) -> Result<Forecast, TrainError> {
    let forecast = Forecast::new(network, settings, extents, gpu.target())?;
    let needed = forecast.total();
    match gpu.memory_budget() {
        Some(budget) if needed > budget => {
            let subject = Subject { network, settings, extents, target: gpu.target(), budget };
            Err(TrainError::Budget { needed, budget, ways: subject.ways() })
        }
        _ => Ok(forecast),
    }
}

struct Subject<'a> {
    network: &'a Network,
    settings: &'a TrainerSettings,
    extents: [usize; 3],
    target: &'a Target,
    budget: u64,
}

impl Subject<'_> {
    /// The smallest change of each kind that makes the training fit: alone, or together with `--memory low`.
    fn ways(&self) -> String {
        let normal = self.settings.memory == MemoryMode::Normal;
        let low = TrainerSettings { memory: MemoryMode::Low, ..self.settings.clone() };
        let mut ways = Vec::new();
        if normal && let Some(bytes) = self.fits(self.network, &low, self.extents) {
            ways.push(format!("--memory low ({})", human_bytes(bytes)));
        }
        ways.extend(self.smaller(self.settings, ""));
        if ways.is_empty() && normal {
            ways.extend(self.smaller(&low, "--memory low with "));
        }
        match ways.is_empty() {
            true => "no smaller batch, base or patch fits".to_owned(),
            false => format!("would fit: {}", ways.join(", or ")),
        }
    }

    fn smaller(&self, settings: &TrainerSettings, prefix: &str) -> Vec<String> {
        let found = [self.batch(settings), self.width(settings), self.patch(settings)];
        found.into_iter().flatten().map(|way| format!("{prefix}{way}")).collect()
    }

    /// The forecast's bytes, where it is within the budget.
    fn fits(&self, network: &Network, settings: &TrainerSettings, extents: [usize; 3]) -> Option<u64> {
        let total = Forecast::new(network, settings, extents, self.target).ok()?.total();
        (total <= self.budget).then_some(total)
    }

    fn batch(&self, settings: &TrainerSettings) -> Option<String> {
        let accumulation = settings.accumulation;
        (1..settings.batch).rev().filter(|batch| batch.is_multiple_of(accumulation)).find_map(|batch| {
            let smaller = TrainerSettings { batch, ..settings.clone() };
            let bytes = self.fits(self.network, &smaller, self.extents)?;
            Some(format!("training.batch={batch} ({})", human_bytes(bytes)))
        })
    }

    fn width(&self, settings: &TrainerSettings) -> Option<String> {
        let key = self.network.architecture().width()?;
        let Some(Value::Whole(width)) = self.network.setting(key) else { return None };
        (1..width).rev().find_map(|width| {
            // Groups of a normalisation need not divide every width.
            let network = self.network.with(key, width).filter(|network| network.validate().is_ok())?;
            let bytes = self.fits(&network, settings, self.extents)?;
            Some(format!("network.{key}={width} ({})", human_bytes(bytes)))
        })
    }

    /// The largest patch that fits, with the longest axis shrunk by one divisor of the network at a time.
    fn patch(&self, settings: &TrainerSettings) -> Option<String> {
        let divisor = self.network.divisor();
        let mut extents: [usize; 3] = std::array::from_fn(|axis| self.extents[axis].next_multiple_of(divisor[axis]));
        loop {
            let longest = (0..3).max_by_key(|&axis| (extents[axis], axis)).expect("three axes");
            if extents[longest] <= divisor[longest] {
                return None;
            }
            extents[longest] -= divisor[longest];
            if let Some(bytes) = self.fits(self.network, settings, extents) {
                let [z, y, x] = extents;
                return Some(format!("data.patch=[{x},{y},{z}] ({})", human_bytes(bytes)));
            }
        }
    }
}
