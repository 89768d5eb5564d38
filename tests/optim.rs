//! Optimisers on the device against their f64 definition: ten steps of each, in windows that a tiny binding limit forces,
//! with clipping, skipped steps, and accumulation.

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use support::{GPU, compare, gpu};
use vnet_engine::doctor::optimisers::{
    Bed, Comparison, accumulation, averaging, copies, following, normal, optimisers, ten_steps,
};
use vnet_engine::gpu::Gpu;
use vnet_engine::kernel::{Arena, Target};
use vnet_engine::optim::reference::global_norm;
use vnet_engine::optim::{OptimiserSettings, update};
use vnet_engine::tensor::{HostTensor, TensorSpec};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (name, settings) in optimisers(None) {
        trials.push(trial(format!("{name}/ten_steps/unclipped"), move || steps_agree(&settings)));
    }
    for (name, settings) in optimisers(Some(0.7)) {
        let [again, third] = [settings.clone(), settings.clone()];
        trials.push(trial(format!("{name}/ten_steps/clipped"), move || steps_agree(&settings)));
        trials.push(trial(format!("{name}/norm_not_finite"), move || norm_not_finite(&again)));
        trials.push(trial(format!("{name}/repeatable"), move || repeatable(&third)));
    }
    trials.push(trial("accumulate".to_owned(), sums_agree));
    trials.push(trial("copy".to_owned(), || agrees(&copies(gpu(), gpu().target())?)));
    trials.push(trial("follow".to_owned(), || {
        targets().iter().try_for_each(|target| agrees(&following(gpu(), target)?))
    }));
    trials.push(trial("average".to_owned(), averages_agree));
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: String, run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name, run).with_ignored_flag(GPU.is_none())
}

/// Windows of 1024 elements.
fn target(gpu: &Gpu) -> Target {
    gpu.target().with_max_binding_bytes(4096 + 200)
}

/// Arenas in windows; the decayed part ends within one.
fn bed(settings: &OptimiserSettings) -> Result<Bed, Failed> {
    let target = target(gpu());
    let bed = Bed::new(gpu(), &target, settings)?;
    let update = update(settings, bed.elements, bed.decayed, &target).averaged(bed.elements, &target);
    for kernel in ["squares", "ema"] {
        let count = update.dispatches.iter().filter(|d| d.kernel.shader == kernel).count();
        assert_eq!(count, bed.elements.div_ceil(1024), "one {kernel} per window");
    }
    assert_ne!(bed.decayed % 1024, 0, "decay ends within a window");
    Ok(bed)
}

/// In windows, and in as few as the device allows.
fn targets() -> [Target; 2] {
    [target(gpu()), gpu().target().clone()]
}

fn agrees(comparison: &Comparison) -> Result<(), Failed> {
    let tensor = |data: Vec<f64>| HostTensor::new(TensorSpec::f32([data.len()]), data);
    let found = comparison.found.iter().map(|&v| f64::from(v)).collect();
    compare(&tensor(found), &tensor(comparison.expected.clone()), |i| comparison.bounds[i])
        .map_err(|error| format!("{}: {error}", comparison.what).into())
}

fn steps_agree(settings: &OptimiserSettings) -> Result<(), Failed> {
    for target in targets() {
        ten_steps(gpu(), &target, settings)?.iter().try_for_each(agrees)?;
    }
    Ok(())
}

fn norm_not_finite(settings: &OptimiserSettings) -> Result<(), Failed> {
    let bed = bed(settings)?;
    bed.start(&normal(bed.elements, 1.0, 1));
    bed.step(1, &normal(bed.elements, 0.01, 2))?;
    let arenas = || -> Result<Vec<Vec<f32>>, Failed> {
        let arenas = [Arena::Parameters, Arena::Moment1, Arena::Moment2, Arena::Average];
        Ok(arenas.into_iter().map(|arena| bed.read(arena)).collect::<Result<_, _>>()?)
    };
    let before = arenas()?;
    // The last overflows only when squared.
    for (place, value) in [(0, f32::NAN), (bed.elements - 1, f32::INFINITY), (1024, 1e30)] {
        let mut gradients = normal(bed.elements, 0.01, 3);
        gradients[place] = value;
        let norm = bed.step(2, &gradients)?;
        if norm.is_finite() {
            return Err(format!("the norm with {value} is {norm}").into());
        }
        if arenas()? != before {
            return Err(format!("gradient {value} changed the parameters, moments or averages").into());
        }
    }
    let norm = bed.step(2, &normal(bed.elements, 0.01, 3))?;
    let after = arenas()?;
    if !norm.is_finite() || after[0] == before[0] || after.iter().flatten().any(|v| !v.is_finite()) {
        return Err("the step after a skipped one is not an ordinary step".into());
    }
    Ok(())
}

fn repeatable(settings: &OptimiserSettings) -> Result<(), Failed> {
    let run = || -> Result<(Vec<u32>, Vec<f32>), Failed> {
        let bed = bed(settings)?;
        bed.start(&normal(bed.elements, 1.0, 1));
        let mut norms = Vec::new();
        for step in 1..4 {
            norms.push(bed.step(step, &normal(bed.elements, 0.1, step))?.to_bits());
        }
        Ok((norms, bed.read(Arena::Parameters)?))
    };
    if run()? == run()? { Ok(()) } else { Err("two runs differ".into()) }
}

fn averages_agree() -> Result<(), Failed> {
    for target in targets() {
        let (average, parameters) = averaging(gpu(), &target)?;
        agrees(&average)?;
        let apart = average.found.iter().zip(&parameters).map(|(a, p)| f64::from((a - p).abs())).fold(0.0, f64::max);
        // The test can fail: an average that is only a copy lies far beyond the bound.
        if apart <= 1000.0 * average.bounds[0] {
            return Err(format!("the average is a copy, {apart}").into());
        }
    }
    Ok(())
}

fn sums_agree() -> Result<(), Failed> {
    let sum = accumulation(gpu(), gpu().target())?;
    agrees(&sum)?;
    let found: Vec<f64> = sum.found.iter().map(|&v| f64::from(v)).collect();
    if global_norm(&found).is_finite() { Ok(()) } else { Err("the sum is not finite".into()) }
}
