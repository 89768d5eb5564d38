use super::progress::SegmentProgress;
use super::status::WrongInput;
use super::{SegmentArguments, open_gpu};
use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vnet_engine::data::images_only;
use vnet_engine::data::io::{check_output, files_written, is_series, output_name};
use vnet_engine::gpu::GpuOptions;
use vnet_engine::infer::{PostProcessing, Predictor, Preprocessing, SegmentOptions, probability_path, segment_file};
use vnet_engine::nn::Model;

pub fn segment(arguments: &SegmentArguments, device: &GpuOptions) -> Result<()> {
    let (models, preprocessing) = read_models(&arguments.models)?;
    let classes = models[0].network.classes;
    let pairs = pairs(arguments)?;
    check_outputs(arguments, &pairs, classes)?;
    let gpu = open_gpu(device)?;
    let predictor = Predictor::ensemble(&gpu, &models, preprocessing.patch)?.with_mirroring(arguments.tta);
    drop(models);
    let preparation = preprocessing.preparation(classes);
    let post_processing =
        PostProcessing { largest_component: arguments.largest_component, fill_holes: arguments.fill_holes };
    let options = SegmentOptions { probabilities: arguments.probabilities, post_processing };
    let mut progress = SegmentProgress::new(pairs.len());
    let mut written = Vec::new();
    for (input, output) in &pairs {
        progress.volume(input);
        let start = Instant::now();
        segment_file(&predictor, &preparation, input, output, options, |done, all| progress.window(done, all))?;
        let probabilities = (1..classes).filter(|_| arguments.probabilities).map(|c| probability_path(output, c));
        let shown = |path: &Path| path.display().to_string();
        written.push(json!({
            "input": shown(input), "output": shown(output), "seconds": start.elapsed().as_secs_f64(),
            "probabilities": probabilities.map(|path| shown(&path)).collect::<Vec<_>>(),
        }));
    }
    progress.finish();
    if arguments.json {
        outln!("{}", json!({ "volumes": written }));
        return Ok(());
    }
    for (_, output) in &pairs {
        outln!("{}", output.display());
    }
    Ok(())
}

/// The models and how they all want volumes to be prepared.
fn read_models(paths: &[PathBuf]) -> Result<(Vec<Model>, Preprocessing)> {
    let mut models: Vec<Model> = Vec::new();
    let mut first: Option<Preprocessing> = None;
    for path in paths.iter().map(|path| model_path(path)) {
        let wrong = |text: String| WrongInput(format!("{}: {text}", path.display()));
        let model = Model::read(&path)?;
        let found = Preprocessing::of(&model).map_err(|e| wrong(format!("metadata key preprocessing: {e}")))?;
        let Some(expected) = &first else {
            first = Some(found);
            models.push(model);
            continue;
        };
        let (one, other) = (&models[0].network, &model.network);
        let with = model_path(&paths[0]).display().to_string();
        for (what, expected, found) in
            [("classes", one.classes, other.classes), ("input channels", one.in_channels, other.in_channels)]
        {
            if expected != found {
                let text = format!("{found} {what}, but {with} has {expected}; averaged models need the same");
                return Err(wrong(text).into());
            }
        }
        if let Some(difference) = expected.difference(&found) {
            return Err(wrong(format!("preprocessing differs from {with}: {difference}")).into());
        }
        models.push(model);
    }
    Ok((models, first.expect("clap requires a model")))
}

/// The model file of a run folder, or the path itself.
pub fn model_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() }
}

/// Inputs and outputs: a folder gives a folder with the same file names, but the folder of a DICOM series is one volume.
fn pairs(arguments: &SegmentArguments) -> Result<Vec<(PathBuf, PathBuf)>> {
    let (input, output) = (&arguments.input, &arguments.output);
    if input.is_dir() && !is_series(input) {
        let inputs = images_only(input)?;
        std::fs::create_dir_all(output)
            .map_err(|e| WrongInput(format!("{}: cannot create the output folder: {e}", output.display())))?;
        return Ok(inputs
            .into_iter()
            .map(|path| {
                let to = output.join(output_name(&path));
                (path, to)
            })
            .collect());
    }
    let output = match output.is_dir() {
        true => output.join(output_name(input)),
        false => output.clone(),
    };
    Ok(vec![(input.clone(), output)])
}

/// Nothing is overwritten without `--force`, and an input never.
fn check_outputs(arguments: &SegmentArguments, pairs: &[(PathBuf, PathBuf)], classes: usize) -> Result<()> {
    for (input, output) in pairs {
        check_output(output)?;
        // Both files of a pair: a.mha and a.mhd differ, their voxels need not.
        let read = files_written(input);
        if files_written(output).iter().any(|file| read.iter().any(|i| same_file(i, file))) {
            return Err(WrongInput(format!("{}: is the input; give another --output", output.display())).into());
        }
        let extra = (1..classes).filter(|_| arguments.probabilities).map(|c| probability_path(output, c));
        let mut written = std::iter::once(output.clone()).chain(extra).flat_map(|path| files_written(&path));
        if let Some(present) = written.find(|p| p.exists())
            && !arguments.force
        {
            return Err(WrongInput(format!("{}: exists; --force replaces it", present.display())).into());
        }
    }
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
