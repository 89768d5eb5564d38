use super::choices::{Spacing, is_held, normalisation, target_spacing};
use super::shape::{Levels, coarser, levels};
use super::*;
use crate::configure::document::Heading;
use crate::configure::{CaseFacts, ChannelFacts};
use crate::data::{Classes, Crop, CropBox, DatasetOptions, Normalisation, Region, Sampling, TargetSpacing};
use crate::gpu::AdapterDescription;
use crate::plan::MemoryReport;
use crate::train::Forecast;
use std::path::Path;

fn case(extents: [usize; 3], spacing: [f64; 3]) -> CaseFacts {
    CaseFacts {
        name: "case".to_owned(),
        extents,
        spacing,
        channels: vec![ChannelFacts { nonzero_box: 1.0, low: 3.0, mean: 120.0 }],
        class_mm3: vec![9e4, 1200.0, 1100.0],
        foreground: 0.05,
        labelled: Some(extents.map(|e| [e / 3, e - e / 3])),
        inside: CropBox::whole(extents),
        lost: [0, 0],
    }
}

fn data_set(cases: Vec<CaseFacts>) -> Fingerprint {
    let activation = crate::nn::Activation::Softmax;
    Fingerprint { cases, classes: 3, activation, channels: 1, channel_names: Vec::new() }
}

/// Like Decathlon's hippocampus, and like PROMISE12 at half resolution.
fn small_crops() -> Fingerprint {
    data_set((0..200).map(|i| case([33 + i % 7, 45 + i % 11, 31 + i % 9], [1.0; 3])).collect())
}

fn prostates() -> Fingerprint {
    data_set((0..36).map(|i| case([160, 160, 20 + i % 8], [1.25, 1.25, 3.6])).collect())
}

fn budget(minutes: f64, factor: f64, memory: u64) -> Budget {
    Budget { minutes, memory: Some(memory), nominal: Nominal { minutes, factor } }
}

fn chosen(fingerprint: &Fingerprint, budget: &Budget) -> Design {
    design(fingerprint, budget, &Target::webgpu()).expect("something fits")
}

#[test]
fn levels_follow_spacing_and_extents() {
    let found = |spacing, extents| {
        let Levels { kernels, strides, patch } = levels(spacing, extents);
        assert_eq!(kernels.len(), strides.len());
        (kernels[0], strides[1..].to_vec(), patch)
    };
    assert_eq!(found([1.0; 3], [36, 50, 35]), ([3; 3], vec![[2; 3]; 3], [40, 56, 40]));
    // Slices of 3.6 mm: planes first, and z, y, x in place of x, y, z.
    let thick = vec![[1, 2, 2], [2; 3], [2; 3], [1, 2, 2], [1, 2, 2]];
    assert_eq!(found([1.25, 1.25, 3.6], [160, 160, 24]), ([1, 3, 3], thick, [160, 160, 24]));
    // Too small to be halved by the rule.
    assert_eq!(found([1.0; 3], [7, 6, 5]), ([3; 3], vec![[2; 3]], [8, 6, 6]));
    assert_eq!(found([1.0; 3], [1, 2, 1]), ([3; 3], vec![[2; 3]], [4; 3]));
    // No more levels than a network may have.
    assert_eq!(levels([1.0, 8.0, 8.0], [64, 4096, 4096]).strides.len(), 8);
}

#[test]
fn patches_of_any_volumes_become_shorter_until_no_axis_can() {
    for extents in [[512, 512, 90], [40, 90, 300], [33, 34, 35], [1, 200, 200], [70, 9, 500]] {
        for spacing in [[1.0; 3], [0.5, 0.7, 5.0], [9.0, 1.0, 2.0]] {
            let data = data_set((0..10).map(|_| case(extents, spacing)).collect());
            let found = chosen(&data, &budget(1e-6, 1.0, 1 << 40));
            let says = reason(&found, "data.patch");
            // Twice the least extent, less one: a divisor is at most 32.
            assert!(found.patch.iter().all(|&extent| extent < 64), "{extents:?} {spacing:?}: {says}");
        }
    }
}

#[test]
fn the_spacing_is_the_median_and_finer_along_a_coarse_axis() {
    let mut cases: Vec<CaseFacts> =
        (0..21).map(|i| case([200, 200, 30], [0.5 + 0.01 * f64::from(i), 0.6, 2.0])).collect();
    assert_eq!(target_spacing(&data_set(cases.clone())).mm, [0.6, 0.6, 2.0]);
    for (i, case) in cases.iter_mut().enumerate() {
        case.spacing[2] = 2.0 + 0.1 * i as f64;
    }
    // Median 3.0, the finest tenth 2.2.
    let found = target_spacing(&data_set(cases.clone()));
    assert_eq!((found.mm, found.finer), ([0.6, 0.6, 2.2], Some(2)));
    // With as many voxels along z as along the others it is no axis of few slices.
    cases.iter_mut().for_each(|case| case.extents[2] = 150);
    assert_eq!(target_spacing(&data_set(cases)).mm, [0.6, 0.6, 3.0]);
}

#[test]
fn voxels_grow_along_the_finest_axes_first() {
    assert_eq!(coarser([1.0, 1.0, 1.0]), [1.03; 3]);
    assert_eq!(coarser([1.0, 2.5, 5.1]), [1.03, 2.5 * 1.03, 5.1]);
    assert_eq!(coarser([3.0, 3.0, 5.0]), [3.0 * 1.03, 3.0 * 1.03, 5.0 * 1.03]);
}

#[test]
fn intensities_decide_on_the_normalisation() {
    let kind = |fingerprint: &Fingerprint| *normalisation(fingerprint).0.of(0);
    let mut data = small_crops();
    assert_eq!(kind(&data), Normalisation::ZScoreAll);
    data.cases.iter_mut().for_each(|case| case.channels[0].nonzero_box = 0.4);
    assert_eq!(kind(&data), Normalisation::ZScoreNonZero);
    data.cases.iter_mut().for_each(|case| case.channels[0].low = -1000.0);
    assert_eq!(kind(&data), Normalisation::CtWindow);
    data.channel_names = vec!["MRI".to_owned()];
    assert_eq!(kind(&data), Normalisation::ZScoreNonZero);
    data.channel_names = vec!["CT".to_owned()];
    data.cases.iter_mut().for_each(|case| case.channels[0].low = 0.0);
    assert_eq!(kind(&data), Normalisation::CtWindow);
}

/// A brain in the middle of its volume: half of each axis.
fn masked(share_lost: usize) -> Fingerprint {
    let of = |i: usize| CaseFacts {
        inside: CropBox { from: [80, 96, 64], start: [20, 24, 16], extents: [40, 48, 32] },
        channels: vec![ChannelFacts { nonzero_box: 0.125, low: 0.0, mean: 30.0 }],
        lost: [9, usize::from(i < share_lost)],
        ..case([80, 96, 64], [1.0; 3])
    };
    data_set((0..100).map(of).collect())
}

#[test]
fn masked_volumes_are_cropped_unless_foreground_is_lost() {
    let found = chosen(&masked(0), &budget(15.0, 1.0, 8 << 30));
    assert_eq!(found.config.data.crop, Crop::Nonzero);
    assert_eq!(*found.config.data.normalisation.of(0), Normalisation::ZScoreNonZero);
    let text = reason(&found, "data.crop");
    assert!(text.starts_with("zeros are a mask: 88 % of the voxels of the median case"), "{text}");
    // Patches are of the box.
    assert!((0..3).all(|axis| found.patch[axis] <= [40, 48, 32][axis]), "{:?}", found.patch);
    let text = reason(&found, "data.patch");
    assert!(text.contains("40 x 48 x 32"), "{text}");
    let some = chosen(&masked(5), &budget(15.0, 1.0, 8 << 30));
    assert!(reason(&some, "data.crop").ends_with("in 5 cases, case the first."), "{}", reason(&some, "data.crop"));
    for whole in [masked(6), small_crops()] {
        let found = chosen(&whole, &budget(15.0, 1.0, 8 << 30));
        assert_eq!(found.config.data.crop, Crop::None);
        assert!(found.reasons.iter().all(|reason| reason.key != "data.crop"));
    }
}

#[test]
fn labels_are_held_by_the_centred_patch_or_not() {
    let mut case = case([50, 40, 30], [1.0, 1.0, 2.0]);
    case.labelled = Some([[10, 39], [5, 34], [12, 17]]);
    assert!(is_held(&case, [32, 32, 16], [1.0, 1.0, 2.0]));
    assert!(!is_held(&case, [28, 32, 16], [1.0, 1.0, 2.0]));
    assert!(is_held(&case, [16, 16, 8], [2.0, 2.0, 4.0]));
    case.labelled = None;
    assert!(is_held(&case, [1; 3], [1.0; 3]));
}

#[test]
fn more_time_buys_larger_patches_and_a_wider_network() {
    let of = |minutes: f64, factor: f64| chosen(&small_crops(), &budget(minutes, factor, 8 << 30));
    let features = |design: &Design| design.config.network.architecture.values.count("features");
    let (short, longer, long) = (of(5.0, 1.0), of(15.0, 1.0), of(480.0, 100.0));
    assert_eq!(short.config.network.architecture.values.counts("units"), [2; 4]);
    assert_eq!(short.config.data.spacing, TargetSpacing::Millimetres([1.0; 3]));
    assert!(
        features(&short) < 32 && short.config.data.sampling == Sampling::Patch && !short.config.augmentation.enabled
    );
    let work = |design: &Design| design.patch.iter().product::<usize>() * features(design).pow(2);
    assert!(work(&short) < work(&longer) && work(&longer) < work(&long));
    assert_eq!((features(&long), long.config.training.batch, long.patch), (32, 2, [40, 56, 40]));
    assert!(long.config.augmentation.enabled && long.config.data.sampling == Sampling::Whole);
    assert_eq!(short, of(5.0, 1.0), "a plan without its clock is always the same");
}

#[test]
fn a_patch_of_large_volumes_is_near_a_cube_and_covers_a_quarter() {
    let found = chosen(&prostates(), &budget(15.0, 1.0, 8 << 30));
    assert_eq!(found.config.data.sampling, Sampling::Patch);
    let TargetSpacing::Millimetres(spacing) = found.config.data.spacing else { panic!("a spacing was chosen") };
    let median = prostates().median_extents(spacing);
    let (patch, voxels) = (found.patch, found.patch.iter().product::<usize>());
    assert!(4 * voxels >= median.iter().product(), "{patch:?} of {median:?}");
    let mm: Vec<f64> = (0..3).map(|axis| patch[axis] as f64 * spacing[axis]).collect();
    let (least, most) = (mm.iter().copied().fold(f64::MAX, f64::min), mm.iter().copied().fold(0.0, f64::max));
    assert!(most < 1.5 * least, "{mm:?}");
}

#[test]
fn little_memory_makes_the_patch_smaller_and_none_is_an_error() {
    let roomy = chosen(&prostates(), &budget(480.0, 100.0, 64 << 30));
    let tight = chosen(&prostates(), &budget(480.0, 100.0, 1 << 29));
    let voxels = |design: &Design| design.patch.iter().product::<usize>() * design.config.training.batch;
    assert!(voxels(&tight) < voxels(&roomy), "{:?} {:?}", tight.patch, roomy.patch);
    let error = design(&prostates(), &budget(480.0, 100.0, 1 << 20), &Target::webgpu()).expect_err("1 MiB");
    assert!(error.to_string().contains("device memory"), "{error}");
}

fn reason<'a>(design: &'a Design, key: &str) -> &'a str {
    &design.reasons.iter().find(|reason| reason.key == key).expect("every key has a reason").text
}

#[test]
fn reasons_name_the_limit_that_decided() {
    let says = |design: &Design, key: &str, words: &str| {
        let text = reason(design, key);
        assert!(text.contains(words), "{key}: {words:?} is not in {text:?}");
    };
    // Time is no limit: memory is.
    let tight = chosen(&prostates(), &budget(1e5, 100.0, 1 << 28));
    assert_eq!(tight.config.training.batch, 1);
    says(&tight, "training.batch", "two would take more than 80 % of the device's memory");
    says(&tight, "data.patch", "memory allows no more");
    let short = chosen(&small_crops(), &budget(15.0, 1.0, 8 << 30));
    says(&short, "training.batch", "too long for the budget");
    says(&short, "network.features", "the most of 32 (nnU-Net's), 16 and 8");
    says(&short, "network.features", "fast enough");
    // Not even the smallest patch is fast enough.
    let hopeless = chosen(&prostates(), &budget(0.1, 1.0, 8 << 30));
    says(&hopeless, "network.features", "the least of 32 (nnU-Net's), 16 and 8");
    says(&hopeless, "network.features", "too slow");
    says(&hopeless, "data.patch", "the smallest, since time allows none");
    says(&hopeless, "training.batch", "too long for the budget");

    let mut off_centre = small_crops();
    off_centre.cases.iter_mut().take(20).for_each(|case| {
        (case.extents, case.labelled) = ([80, 45, 31], Some([[0, 9], [10, 20], [10, 20]]));
    });
    let long = budget(480.0, 100.0, 8 << 30);
    let found = chosen(&off_centre, &long);
    assert_eq!((found.config.data.sampling, found.patch), (Sampling::Patch, chosen(&small_crops(), &long).patch));
    says(&found, "data.sampling", "only 90 % of the cases have all labels in it, less than 95 %");

    let spacing = Spacing { coarsened: true, ..target_spacing(&prostates()) };
    assert!(spacing.reason(&prostates(), true).ends_with("until a patch covers a quarter of the median volume."));
    assert!(spacing.reason(&prostates(), false).ends_with("still covers less than a quarter of the median volume."));
}

fn measured(step_seconds: f64) -> Measured {
    let step = MemoryReport { inputs: 1, slots: 2, slots_lower_bound: 2, values_unshared: 2, arenas: 3, other: 4 };
    let forecast = Forecast { step, validation: 5, staging: 6, passes: 1, arenas: 4, kernels: 60, recomputed: 0.0 };
    Measured { step_seconds, validation_seconds: 2.0, test_seconds: 10.0, forecast }
}

#[test]
fn steps_validations_and_test_are_within_the_budget() {
    let budget = budget(15.0, 1.0, 8 << 30);
    let planned = |validation_seconds: f64, test_seconds: f64| {
        let mut design = chosen(&prostates(), &budget);
        let measured = Measured { validation_seconds, test_seconds, ..measured(1.0) };
        design.set_length(&measured, &budget);
        let training = design.config.training;
        (training.steps, training.steps.div_ceil(training.validate_every))
    };
    // 900 s: all ten validations and the test cost 180 s at most.
    assert_eq!(planned(0.0, 0.0), (900, 10));
    assert_eq!(planned(10.0, 80.0), (720, 10));
    // 6 x 20 s + 60 s are the fifth.
    assert_eq!(planned(20.0, 60.0), (720, 6));
    // One validation is made in any case.
    assert_eq!(planned(400.0, 60.0), (440, 1));
    // Fewer than 300 steps teach nothing.
    assert_eq!(planned(800.0, 800.0), (300, 1));
}

fn document(step_seconds: f64) -> (String, Design) {
    document_of(step_seconds, None)
}

fn document_of(step_seconds: f64, labels: Option<&Classes>) -> (String, Design) {
    let (data, budget) = (prostates(), budget(15.0, 1.0, 8 << 30));
    let mut design = chosen(&data, &budget);
    let measured = measured(step_seconds);
    design.set_length(&measured, &budget);
    design.config.data.declare(labels);
    let device = AdapterDescription {
        name: "a device".to_owned(),
        driver: "a driver".to_owned(),
        backend: "Vulkan".to_owned(),
        kind: "cpu",
        subgroup: [4, 8],
        max_binding_bytes: 1,
        max_buffer_bytes: 1,
        max_workgroup_bytes: 1,
        max_invocations: 1,
        features: Vec::new(),
    };
    let warnings = crate::data::Warnings::default();
    let heading = Heading {
        data: Path::new("data"),
        tried: &[],
        options: &DatasetOptions { classes: labels.cloned(), ..DatasetOptions::default() },
        device: &device,
        fingerprint: &data,
        design: &design,
        measured: &measured,
        warnings: &warnings,
    };
    (heading.document(), design.clone())
}

#[test]
fn every_key_has_its_reason_and_the_file_is_the_configuration() {
    let (text, design) = document(0.7);
    let lines: Vec<&str> = text.lines().collect();
    let mut keys = 0;
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#')) {
        assert!(lines[i - 1].starts_with("# "), "no reason before {line}");
        keys += 1;
    }
    assert_eq!(keys, design.reasons.len());
    let read = Config::from_text(Preset::Small, Some(("plan.toml", &text)), &[]).expect("valid");
    assert_eq!(read.to_toml(), design.config.to_toml());
    // 900 s less ten validations of 2 s and 10 s of test, at 0.7 s.
    assert_eq!((read.training.steps, read.training.validate_every), (1200, 120));
}

#[test]
fn classes_that_were_given_are_in_the_plan() {
    let entries = [("left lung", vec![2035]), ("a.b", vec![2, 3])];
    let classes = Classes::new(entries.map(|(name, values)| (name.to_owned(), values))).expect("classes");
    let (text, design) = document_of(0.7, Some(&classes));
    assert!(text.contains("\n[data.labels]\n# as given"), "{text}");
    let read = Config::from_text(Preset::Small, Some(("plan.toml", &text)), &[]).expect("valid");
    assert_eq!(read.to_toml(), design.config.to_toml());
    assert_eq!(read.data.labels.0, Some(classes));
    let region = |name: &str, values: &[u16]| Region { name: name.to_owned(), values: values.to_vec() };
    let regions = vec![region("whole", &[1, 3]), region("core", &[3])];
    let classes = Classes::of_regions(0, regions).and_then(|classes| classes.ignoring(&[4])).expect("regions");
    let (text, design) = document_of(0.7, Some(&classes));
    let read = Config::from_text(Preset::Small, Some(("plan.toml", &text)), &[]).expect("valid");
    assert_eq!(read.to_toml(), design.config.to_toml());
    assert_eq!(read.data.classes().expect("valid"), Some(classes));
}

#[test]
fn only_measured_lines_depend_on_the_clock() {
    let without = |text: String| -> Vec<String> {
        let mut dropping = false;
        let mut kept = Vec::new();
        for line in text.lines() {
            dropping |= line.starts_with("# measured");
            if !dropping {
                kept.push(line.to_owned());
            }
            dropping &= line.starts_with('#');
        }
        kept
    };
    assert_eq!(without(document(0.7).0), without(document(2.9).0));
    assert_ne!(document(0.7).0, document(2.9).0);
}

#[test]
fn numbers_of_steps_have_two_digits() {
    assert_eq!([0, 7, 99, 100, 1289, 30_999].map(two_digits), [0, 7, 99, 100, 1200, 30_000]);
}
