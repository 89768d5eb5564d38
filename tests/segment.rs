//! From a file of any format to a label map in its own grid, on the device; what the network says does not matter here.

#[path = "segment/batch.rs"]
mod batch;
#[path = "segment/parts.rs"]
mod parts;
mod support;
#[path = "segment/uncertainty.rs"]
mod uncertainty;
#[path = "segment/whole.rs"]
mod whole;

use std::ops::ControlFlow;
use support::gpu;
use vnet_engine::data::io::{Header, Scalar, output_name, read_header, read_label_map, read_volume, write_volume_as};
use vnet_engine::data::{
    Classes, Crop, Fit, Grid, IntensityStatistics, Interpolation, Normalisation, Preparation, Prepared, TargetSpacing,
    Volume, prepare_image,
};
use vnet_engine::infer::{
    PostProcessing, Predictor, Preprocessing, Repair, SegmentOptions, probability_path, segment_file, segment_volume,
};
use vnet_engine::nn::model::{Tensor, parameter_shapes};
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Model, Network};

fn main() {
    support::run_trials(&[
        ("every_format_comes_back_in_its_own_grid", true, every_format_comes_back_in_its_own_grid),
        ("label_maps_have_the_values_of_the_data_set", true, label_maps_have_the_values_of_the_data_set),
        ("several_models_are_averaged", true, several_models_are_averaged),
        ("members_of_an_ensemble_are_seen_one_by_one", true, members_of_an_ensemble_are_seen_one_by_one),
        ("uncertainty_is_that_of_the_probabilities", true, uncertainty::uncertainty_is_that_of_the_probabilities),
        ("unlike_models_are_refused", false, unlike_models_are_refused),
        (
            "a_model_without_preprocessing_takes_volumes_whole",
            true,
            whole::a_model_without_preprocessing_takes_volumes_whole,
        ),
        (
            "a_volume_that_does_not_fit_is_predicted_in_the_largest_windows",
            true,
            whole::a_volume_that_does_not_fit_is_predicted_in_the_largest_windows,
        ),
        (
            "a_prediction_ends_after_the_window_in_which_it_is_asked_to",
            true,
            whole::a_prediction_ends_after_the_window_in_which_it_is_asked_to,
        ),
        (
            "a_broken_volume_ends_no_other_and_what_is_missing_can_be_made_up_for",
            true,
            batch::a_broken_volume_ends_no_other_and_what_is_missing_can_be_made_up_for,
        ),
        ("parts_together_are_the_whole", true, parts::parts_together_are_the_whole),
        ("a_table_names_the_volumes_and_their_outputs", true, parts::a_table_names_the_volumes_and_their_outputs),
        ("nothing_is_computed_that_cannot_be_written", false, batch::nothing_is_computed_that_cannot_be_written),
        ("models_remember_how_volumes_are_prepared", false, models_remember_how_volumes_are_prepared),
    ]);
}

const CLASSES: usize = 3;

/// A small network with weights that no pattern explains.
fn model() -> Model {
    model_of(4, CLASSES, 0.0)
}

fn model_of(base: usize, classes: usize, phase: f64) -> Model {
    let network = Network::new(1, classes, VNet { base, encoder: vec![1, 1], decoder: vec![1] });
    let value = |name: &str, index: usize| {
        let x = ((index + name.len() * 31) as f64 * 12.9898 + phase).sin() * 43_758.547;
        (0.3 * (x - x.floor() - 0.5)) as f32
    };
    let tensors = parameter_shapes(&network)
        .into_iter()
        .map(|(name, shape)| {
            let data = (0..shape.iter().product()).map(|index| value(&name, index)).collect();
            (name, Tensor { shape, data })
        })
        .collect();
    Model { network, tensors, preprocessing: None }
}

/// Oblique and anisotropic; x runs to the back, y to the head, z to the left.
fn grid() -> Grid {
    let affine = [[0.05, 0.1, -3.2, 30.0], [-0.9, 0.1, 0.3, 20.0], [-0.1, 1.19, 0.1, -7.0]];
    Grid { extents: [19, 13, 6], spacing: [0.9069, 1.1984, 3.2156], affine }
}

fn volume() -> Volume {
    let voxels = (0..grid().voxel_count()).map(|v| ((v * 7919) % 1013) as f32 - 300.0).collect();
    Volume { grid: grid(), voxels }
}

fn every_format_comes_back_in_its_own_grid() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (model, volume) = (model(), volume());
    let predictor = Predictor::new(gpu(), &model, [8, 8, 8]).expect("it fits");
    let preparation = Preparation {
        spacing: TargetSpacing::Millimetres([1.5, 1.0, 1.2]),
        interpolation: Interpolation::Cubic,
        patch: [8, 8, 8],
        classes: CLASSES,
        canonical: true,
        ..Preparation::native(Normalisation::ZScoreAll)
    };
    // What the network says on the prepared grid, brought back here.
    let prepared = Prepared::from_volume(volume.clone(), &preparation, Fit::Whole);
    assert_ne!(prepared.geometry.grid.voxel_count(), volume.grid.voxel_count());
    let probabilities = predictor.predict(&prepared).expect("a prediction");
    let expected = prepared.geometry.restore_classes(&probabilities, CLASSES);
    assert!((0..CLASSES as u16).all(|class| expected.contains(&class)), "every class occurs");

    let header = Header::for_grid(&volume.grid);
    for name in ["a.nii.gz", "b.nii", "c.hdr", "d.mha", "e.mhd"] {
        write_volume_as(&at(name), &volume, Scalar::Int16, &header).expect("written");
        let input = read_header(&at(name)).expect("readable");
        // Slabs of windows and of the way back, against everything at once.
        let (prepared, _) = prepare_image(&at(name).into(), &preparation, Fit::Whole).expect("readable");
        let whole = predictor.predict(&prepared).expect("a prediction");
        let exact = prepared.geometry.restore_classes(&whole, CLASSES);
        let first: Vec<f32> = whole.iter().skip(1).step_by(CLASSES).copied().collect();
        let exact_probability = prepared.geometry.restore_image(&first, 0.0);
        for to in [output_name(&at(name)), "x.nii.gz".to_owned(), "x.mha".to_owned()] {
            let to = folder.path().join("out").join(to);
            std::fs::create_dir_all(folder.path().join("out")).expect("a folder");
            let options = SegmentOptions { probabilities: true, ..SegmentOptions::default() };
            let map =
                segment_file(
                    &predictor,
                    &preparation,
                    &at(name).into(),
                    &to,
                    options,
                    |_, _| ControlFlow::Continue(()),
                )
                .expect("segmented");
            let written = read_label_map(&to).expect("readable");
            assert_eq!(written.voxels, map.voxels);
            assert_eq!(written.voxels, exact);
            assert_eq!(written.grid.extents, volume.grid.extents);
            assert!(written.grid.same_grid(&input.grid(&at(name)).expect("three axes")), "{name} to {}", to.display());
            // Affines differ by float32's rounding, so probabilities do in the last bits; ties are rare.
            let other = written.voxels.iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert!(other * 200 <= expected.len(), "{name}: {other} of {} voxels differ", expected.len());
            let probability = read_volume(&probability_path(&to, 1)).expect("readable");
            assert!(probability.grid.same_grid(&written.grid));
            assert_eq!(probability.voxels, exact_probability);
            // A weighted mean of probabilities, each of which may exceed 1 by rounding.
            assert!(probability.voxels.iter().all(|p| (0.0..=1.0 + 1e-6).contains(p)));
        }
    }

    // Nothing but crumbs: largest component and holes change the map, in the file as in memory.
    let options = SegmentOptions {
        post_processing: PostProcessing::of_all(Repair { fill_holes: true, ..Repair::LARGEST }),
        ..SegmentOptions::default()
    };
    let post_processing = options.post_processing.clone();
    let mended = segment_file(&predictor, &preparation, &at("d.mha").into(), &at("m.mha"), options, |_, _| {
        ControlFlow::Continue(())
    })
    .expect("segmented");
    let mut by_hand = read_label_map(&folder.path().join("out/d.mha")).expect("readable");
    assert_ne!(mended.voxels, by_hand.voxels);
    post_processing.apply(&mut by_hand);
    assert_eq!(read_label_map(&at("m.mha")).expect("readable").voxels, by_hand.voxels);
}

/// Values of a data set for the classes of [`model`].
fn classes() -> Classes {
    let entries = [("organ", vec![255]), ("tumour", vec![2035, 17])];
    Classes::new(entries.map(|(name, values)| (name.to_owned(), values))).expect("classes")
}

/// The label map has the data set's values, the first of each class; the map of a probability says what it is, and a label
/// map that is made of one does not.
fn label_maps_have_the_values_of_the_data_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let predictor = Predictor::new(gpu(), &model(), [8, 8, 8]).expect("it fits");
    let numbered = Preparation { patch: [8, 8, 8], classes: CLASSES, ..Preparation::native(Normalisation::ZScoreAll) };
    let named = Preparation { labels: Some(classes()), ..numbered.clone() };
    write_volume_as(&at("in.nii"), &volume(), Scalar::Int16, &Header::for_grid(&grid())).expect("written");
    for ending in ["nii.gz", "mha"] {
        let segment = |preparation: &Preparation, input: &str, output: &str| {
            let (output, options) =
                (format!("{output}.{ending}"), SegmentOptions { probabilities: true, ..SegmentOptions::default() });
            let output = at(&output);
            let map = segment_file(&predictor, preparation, &at(input).into(), &output, options, |_, _| {
                ControlFlow::Continue(())
            })
            .expect("segmented");
            let written = read_label_map(&output).expect("readable");
            assert_eq!(written.voxels, map.voxels);
            written.voxels
        };
        let (plain, values) = (segment(&numbered, "in.nii", "plain"), segment(&named, "in.nii", "named"));
        assert!((0..CLASSES as u16).all(|class| plain.contains(&class)), "every class occurs");
        let expected: Vec<u16> = plain.iter().map(|&class| [0, 255, 2035][usize::from(class)]).collect();
        assert_eq!(values, expected);
        let in_memory =
            segment_volume(&predictor, &named, read_volume(&at("in.nii")).expect("readable")).expect("fits");
        assert_eq!(in_memory.voxels, expected);
        let says_probability = |name: &str| read_header(&at(name)).expect("readable").is_probability();
        let probability = format!("plain_prob1.{ending}");
        assert!(says_probability(&probability) && !says_probability(&format!("plain.{ending}")));
        segment(&numbered, &probability, "again");
        assert!(!says_probability(&format!("again.{ending}")));
    }
}

fn several_models_are_averaged() {
    let patch = [8, 8, 8];
    let models = [model_of(4, CLASSES, 0.0), model_of(4, CLASSES, 1.0), model_of(8, CLASSES, 2.0)];
    let voxels: Vec<f32> = (0..512).map(|v| ((v * 7919) % 1013) as f32 - 300.0).collect();
    let volume = Volume { grid: Grid::axis_aligned(patch, [1.0; 3]), voxels };
    let preparation = Preparation { patch, classes: CLASSES, ..Preparation::native(Normalisation::ZScoreAll) };
    let prepared = Prepared::from_volume(volume, &preparation, Fit::Whole);
    let predict = |models: &[Model]| {
        let predictor = Predictor::ensemble(gpu(), models, patch).expect("it fits");
        // Twice: models that take turns leave nothing behind.
        let first = predictor.predict(&prepared).expect("a prediction");
        assert_eq!(predictor.predict(&prepared).expect("a prediction"), first);
        first
    };
    let alone: Vec<Vec<f32>> = models.iter().map(|model| predict(std::slice::from_ref(model))).collect();
    let differ = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 0.01);
    assert!(differ(&alone[0], &alone[1]) && differ(&alone[1], &alone[2]), "the models disagree");
    // Halves are exact, so the sum of two is rounded once; of thirds, three quotients and two sums are.
    for (count, bound) in [(2, 0.0), (3, 5.0 / f64::from(1 << 24))] {
        for (index, found) in predict(&models[..count]).iter().enumerate() {
            let halves: f32 = alone[..count].iter().map(|p| p[index] / count as f32).sum();
            let mean = alone[..count].iter().map(|p| f64::from(p[index])).sum::<f64>() / count as f64;
            let expected = if bound == 0.0 { f64::from(halves) } else { mean };
            assert!((f64::from(*found) - expected).abs() <= bound, "{count} models, {index}: {found}, not {expected}");
        }
    }
}

/// What a visitor is shown of each member are the bits of this member alone, over windows and mirror images.
fn members_of_an_ensemble_are_seen_one_by_one() {
    let patch = [8, 8, 8];
    let models = [model_of(4, CLASSES, 0.0), model_of(8, CLASSES, 2.0), model_of(4, CLASSES, 1.0)];
    // Models of one network take turns, so the third comes before the second.
    let order = [0, 2, 1];
    let preparation = Preparation { patch, classes: CLASSES, ..Preparation::native(Normalisation::ZScoreAll) };
    let prepared = Prepared::from_volume(volume(), &preparation, Fit::Whole);
    let of = |models: &[Model]| Predictor::ensemble(gpu(), models, patch).expect("it fits").with_mirroring(true);
    let predictor = of(&models);
    let (more, mut joined) = (predictor.members(), Vec::new());
    assert_eq!(more, 3);
    predictor
        .predict_members(
            &prepared,
            more,
            |window, outputs| {
                assert_eq!((window.members, window.classes), (3, CLASSES));
                for (voxel, classes) in window.probabilities.chunks_exact(CLASSES).enumerate() {
                    outputs[voxel * more + window.member] = classes[1];
                }
            },
            |slab| joined.extend_from_slice(slab),
            |_, _| ControlFlow::Continue(()),
        )
        .expect("a prediction");
    let column = |values: &[f32], of: usize, outputs: usize| -> Vec<u32> {
        values.iter().skip(of).step_by(outputs).map(|value| value.to_bits()).collect()
    };
    let mean = predictor.predict(&prepared).expect("a prediction");
    for class in 0..CLASSES {
        assert_eq!(column(&joined, class, CLASSES + more), column(&mean, class, CLASSES));
    }
    for (member, model) in order.into_iter().enumerate() {
        let alone = of(&models[model..=model]).predict(&prepared).expect("a prediction");
        assert_eq!(column(&joined, CLASSES + member, CLASSES + more), column(&alone, 1, CLASSES), "member {member}");
    }
}

/// One line that names the file, the key and both values, and status 2, before any device is opened.
fn unlike_models_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let preprocessing = |patch: [usize; 3]| {
        Some(serde_json::json!({"normalisation": "z_score_non_zero", "patch": patch, "canonical": true}))
    };
    let write = |name: &str, model: Model, patch| {
        Model { preprocessing: preprocessing(patch), ..model }.write(&at(name)).expect("written");
    };
    write("a.safetensors", model(), [8, 8, 8]);
    write("patch.safetensors", model(), [8, 16, 8]);
    write("classes.safetensors", model_of(4, 2, 0.0), [8, 8, 8]);
    let volume = at("v.nii.gz");
    write_volume_as(&volume, &self::volume(), Scalar::Int16, &Header::for_grid(&grid())).expect("written");
    for (other, words) in [
        ("patch.safetensors", "preprocessing differs from"),
        ("patch.safetensors", "patch is [8,16,8] instead of [8,8,8]"),
        ("classes.safetensors", "2 classes, but"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_vnet-engine"))
            .args(["segment", "--model"])
            .arg(at("a.safetensors"))
            .arg("--model")
            .arg(at(other))
            .arg("--input")
            .arg(&volume)
            .arg("--output")
            .arg(at("out.nii.gz"))
            .output()
            .expect("the program runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(other) && stderr.contains(words) && stderr.trim().lines().count() == 1, "{stderr}");
        assert!(!at("out.nii.gz").exists());
    }
}

fn models_remember_how_volumes_are_prepared() {
    let mut model = model();
    let plain = Preprocessing::of(&model).expect("a default");
    assert!(plain.spacing.is_native() && !plain.canonical);
    let settings = Preprocessing {
        normalisation: Normalisation::CtWindow.into(),
        intensities: Some(IntensityStatistics::from([-100.0, 240.0, 81.5, 33.25])).into(),
        channel_names: Vec::new(),
        channel_files: Vec::new(),
        align: false,
        spacing: TargetSpacing::Millimetres([1.0, 1.0, 1.5]),
        interpolation: Interpolation::Cubic,
        patch: Some([16, 24, 8]),
        crop: Crop::Nonzero,
        canonical: true,
        class_names: Vec::new(),
        labels: Some(classes()),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.safetensors");
    model.preprocessing = Some(serde_json::to_value(&settings).expect("JSON"));
    model.write(&path).expect("written");
    let back = Model::read(&path).expect("readable");
    assert_eq!(Preprocessing::of(&back).expect("preprocessing"), settings);
    assert_eq!(settings.preparation(1, 3).intensities, settings.intensities);
    // A model of before there were these keys.
    let old = serde_json::json!({"normalisation": "z_score_non_zero", "patch": [8, 8, 8], "canonical": true});
    model.preprocessing = Some(old.clone());
    let read = Preprocessing::of(&model).expect("preprocessing");
    assert_eq!(
        (read.spacing, read.interpolation, read.intensities.clone()),
        (TargetSpacing::default(), Interpolation::Linear, None.into())
    );
    assert_eq!(serde_json::to_value(&read).expect("JSON")["spacing"], serde_json::Value::Null, "not written");
    for (key, value) in [
        ("normalisation", serde_json::json!("ct_window")),
        ("spacing", serde_json::json!([1.0, 0.0, 1.0])),
        ("interpolation", serde_json::json!("quintic")),
        ("labels", serde_json::json!({"a": 1, "b": 1})),
        ("labels", serde_json::json!({"two": 1, "of": 2, "four": 3})),
    ] {
        let mut wrong = old.clone();
        wrong[key] = value;
        model.preprocessing = Some(wrong);
        assert!(Preprocessing::of(&model).is_err(), "{key}");
    }
}
