use super::TrainError;
use super::folder::write;
use crate::exec::Executor;
use crate::profile::{Passes, Profile, ProgramTimings, Roofline, chrome_trace, kernel_table, layer_table};
use std::path::Path;

/// Steps of a run before the one that is profiled. By then pipelines are compiled and memory is mapped.
const WARM_UP: u64 = 2;

/// Profiles one step of a run.
#[derive(Debug)]
pub(super) struct StepProfiler {
    roofline: Roofline,
    /// Steps done before the one that is profiled.
    after: u64,
}

impl StepProfiler {
    /// The profiler of a run that has done `done` of its `steps` steps: of the third step from here, or of the last.
    pub(super) fn new(roofline: Roofline, done: u64, steps: u64) -> Self {
        Self { roofline, after: (done + WARM_UP).min(steps.saturating_sub(1)) }
    }

    /// Whether the next step is the one.
    pub(super) fn due(&self, done: u64) -> bool {
        done == self.after
    }

    /// Writes `profile.json` and `profile.txt` into the run folder, also how long the steps so far waited for their batches:
    /// the share of their time and its seconds.
    pub(super) fn write(
        &self,
        out: &Path,
        executor: &Executor,
        step: u64,
        timings: &ProgramTimings,
        (waited_share, waited_seconds): (f64, f64),
    ) -> Result<(), TrainError> {
        let profile = Profile::new(executor.plan(), timings);
        let gpu = executor.gpu();
        let device = gpu.description();
        let about = serde_json::json!({
            "step": step, "device": device.name, "driver": device.driver,
            "clock": if gpu.has_timestamps() { "device" } else { "host" },
            "version": env!("CARGO_PKG_VERSION"), "commit": env!("VNET_ENGINE_COMMIT"), "roofline": self.roofline,
            "waited_share": waited_share, "waited_seconds": waited_seconds,
        });
        let text = format!(
            "step {step} on {}, {}\nwaited for batches, all steps until then: {waited_seconds:.3} s, {:.1} % of their \
             time\n\n{}\n{}",
            device.name,
            device.driver,
            100.0 * waited_share,
            layer_table(&profile.layers(&self.roofline), &self.roofline, Passes::Training),
            kernel_table(&profile.kernels(&self.roofline))
        );
        let trace = chrome_trace(&profile, &about).to_string();
        for (name, contents) in [("profile.json", trace), ("profile.txt", text)] {
            write(&out.join(name), contents)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_after_the_warm_up_is_due_or_the_last() {
        let roofline = Roofline { copy_gb_per_s: 1.0, fma_gflop_per_s: 1.0 };
        let due = |done, steps| (done..steps).find(|&d| StepProfiler::new(roofline, done, steps).due(d));
        assert_eq!(due(0, 100), Some(2));
        assert_eq!(due(40, 100), Some(42));
        assert_eq!(due(0, 2), Some(1));
        assert_eq!(due(99, 100), Some(99));
        assert_eq!(due(100, 100), None);
    }
}
