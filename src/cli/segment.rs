//! `segment`: everything is checked first, a broken volume does not stop the others, `--continue` segments what is missing, and
//! `--part` shares the volumes among several processes.

use super::model::{model_path, read_model};
use super::progress::SegmentProgress;
use super::status::{Failures, Problems, WrongInput, is_full_disk, message, wrong};
use super::verbosity::{tell, tell_warnings};
use super::{RARE, open_gpu, stop, values};
use anyhow::Result;
use clap::Args;
use rayon::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vnet_engine::data::io::{
    SeriesChoice, Uncertainty, check_output, files_written, is_series, output_name_of, with_ending,
};
use vnet_engine::data::{
    ImageFiles, Manifest, Preparation, Warning, Warnings, check_image, images_to_segment, output_of_image,
};
use vnet_engine::files::{folder_of, remove_leftovers_of};
use vnet_engine::gpu::GpuOptions;
use vnet_engine::infer::{
    Ensemble, InferError, PostProcessing, Preprocessing, Repair, SegmentOptions, Segmenter, Size, probability_path,
};
use vnet_engine::nn::Model;

#[derive(Debug, Args)]
pub struct SegmentArguments {
    /// Run folder, ensemble or .safetensors file; several: their mean
    ///
    /// With several models the mean of their probabilities decides. An ensemble is the folder that cross-validate makes; what it
    /// says of mirroring and repairs holds where no option says otherwise.
    #[arg(long = "model", value_name = "MODEL", required = true)]
    pub models: Vec<PathBuf>,
    /// Volume, folder of volumes, or table of cases
    ///
    /// NIfTI, MetaImage, NRRD, or the folder of a DICOM series. Of a table (.csv) the column image, or image_0, image_1, ….
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// Series of a DICOM folder with several
    ///
    /// SeriesInstanceUID, SeriesDescription or SeriesNumber, or "largest".
    #[arg(long, value_name = "SERIES")]
    series: Option<SeriesChoice>,
    /// Label map to write, or folder for them
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Ending of outputs in a folder [default: as inputs]
    ///
    /// Such as .seg.nrrd; the format follows from it. A .seg.nrrd is a segmentation of 3D Slicer, with the names of the classes.
    #[arg(long, value_name = "ENDING")]
    format: Option<String>,
    /// Replace outputs that exist
    #[arg(long)]
    force: bool,
    /// Keep outputs that exist and segment what is missing
    ///
    /// With --probabilities or --uncertainty an output exists when all its maps do.
    #[arg(long = "continue", conflicts_with = "force")]
    go_on: bool,
    /// Segment part I of N (from 0) of the volumes
    ///
    /// For job arrays: of the volumes in the order of their names, every N-th. The parts may run at the same time, with
    /// one output folder.
    #[arg(long, value_name = "I/N", value_parser = values::part)]
    part: Option<(usize, usize)>,
    /// Keep only the largest component of each class or region
    ///
    /// Voxels are connected over 26 neighbours. This and the other repairs replace those of an ensemble.
    #[arg(long)]
    largest_component: bool,
    /// Fill the holes of each class or region
    ///
    /// Background that 6 neighbours do not connect to the border.
    #[arg(long)]
    fill_holes: bool,
    /// Average over eight mirror images (eight times slower)
    #[arg(long)]
    tta: bool,
    /// Keep only the largest component of all foreground together
    #[arg(long, help_heading = RARE)]
    largest_foreground: bool,
    /// Remove smaller components: 120mm3, or 20 (voxels)
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = RARE)]
    smallest_component: Option<Size>,
    /// Make none of the repairs that an ensemble stores
    #[arg(long, conflicts_with_all = ["largest_component", "fill_holes", "largest_foreground", "smallest_component"], help_heading = RARE)]
    no_repairs: bool,
    /// No mirror images, also where an ensemble stores them
    #[arg(long, conflicts_with = "tta", help_heading = RARE)]
    no_tta: bool,
    /// Also write a probability volume per foreground class or region
    #[arg(long, help_heading = RARE)]
    probabilities: bool,
    /// Also write how unsure each voxel is
    ///
    /// Its entropy in nats (a_entropy.nii.gz for a.nii.gz), and with several models by how much they disagree: their mutual
    /// information in nats (a_disagreement.nii.gz).
    #[arg(long, help_heading = RARE)]
    uncertainty: bool,
    /// Print one JSON document
    ///
    /// Files, times, failures and warnings.
    #[arg(long, help_heading = RARE)]
    json: bool,
}

pub fn segment(arguments: &SegmentArguments, device: &GpuOptions) -> Result<()> {
    let Ensemble { models, preprocessing, mirroring, post_processing } = read_models(&arguments.models)?;
    let (channels, classes) = (models[0].network.in_channels, models[0].network.classes);
    let batch = Batch::of(arguments, &preprocessing, models.len(), (channels, classes))?;
    let mut told = Told { several: batch.several, warnings: batch.warnings.clone(), ..Told::default() };
    batch.check_outputs(arguments)?;
    if let Some((part, parts)) = arguments.part {
        let (ours, all) = (batch.jobs.len(), batch.jobs.len() + batch.others.len());
        tell!("part {part}/{parts}: {ours} of {all} volumes");
    }
    let preparation = preprocessing.preparation(channels, classes);
    let (waiting, done): (Vec<&Job>, Vec<&Job>) =
        batch.jobs.iter().partition(|job| !(arguments.go_on && job.written.iter().all(|file| file.exists())));
    let waiting = told.readable(waiting, &preparation);
    batch.create_folder()?;
    batch.remove_leftovers();
    if !waiting.is_empty() {
        let gpu = open_gpu(device)?;
        let mut segmenter =
            Segmenter::new(&gpu, models, &preprocessing)?.with_mirroring(arguments.mirroring(mirroring));
        if batch.several {
            stop::hint("; segment --continue goes on with what is missing".to_owned());
        }
        let options = arguments.options(post_processing);
        told.segment(&waiting, &mut segmenter, &options);
    }
    if arguments.json {
        let done: Vec<String> = done.iter().map(|job| shown(&job.output)).collect();
        outln!("{}", told.json(&done));
    } else {
        told.written.iter().for_each(|(job, _)| outln!("{}", job.output.display()));
    }
    told.end(&batch)
}

impl SegmentArguments {
    /// Whether windows are averaged over mirror images: as the options say, else as an ensemble does.
    fn mirroring(&self, stored: bool) -> bool {
        self.tta || (stored && !self.no_tta)
    }

    /// What is written, with the repairs of the options, else those of an ensemble.
    fn options(&self, stored: PostProcessing) -> SegmentOptions {
        let &Self { largest_component, fill_holes, largest_foreground, .. } = self;
        let repair = Repair { largest_component, smallest: self.smallest_component, fill_holes };
        let given = PostProcessing { largest_foreground, ..PostProcessing::of_all(repair) };
        let post_processing = if self.no_repairs || !given.is_none() { given } else { stored };
        SegmentOptions { probabilities: self.probabilities, post_processing, uncertainty: self.uncertainty }
    }
}

/// One volume to segment.
struct Job {
    input: ImageFiles,
    output: PathBuf,
    probabilities: Vec<PathBuf>,
    uncertainty: Vec<PathBuf>,
    /// All files of the output, the probabilities and the uncertainties.
    written: Vec<PathBuf>,
}

/// What is to be done.
struct Batch {
    jobs: Vec<Job>,
    /// What is left to the other parts.
    others: Vec<Job>,
    /// Where the outputs go.
    folder: PathBuf,
    /// Whether the input is a folder of volumes or a table; then one that fails does not end the others.
    several: bool,
    /// Files of the input folder that are not read.
    warnings: Warnings,
}

/// What has been done.
#[derive(Default)]
struct Told<'a> {
    written: Vec<(&'a Job, Duration)>,
    failures: Vec<(&'a Job, anyhow::Error)>,
    warnings: Warnings,
    /// Volumes that were not tried, because the device or the disk failed before.
    left: usize,
    /// Whether there are others when one fails.
    several: bool,
}

impl Batch {
    /// A folder gives a folder with the same file names, but the folder of a DICOM series is one volume. A table gives a folder
    /// with the names of its cases.
    fn of(
        arguments: &SegmentArguments,
        preprocessing: &Preprocessing,
        models: usize,
        (channels, classes): (usize, usize),
    ) -> Result<Self> {
        let (input, output) = (&arguments.input, &arguments.output);
        let Inputs { volumes, several, warnings } = Inputs::of(input, &preprocessing.channel_files, channels)?;
        if arguments.part.is_some() && !several {
            return Err(wrong(format!(
                "{}: is one volume; --part takes a folder of volumes or a table",
                input.display()
            )));
        }
        let is_named = !several && !output.is_dir();
        let folder = if is_named { folder_of(output) } else { output.as_path() };
        if is_named && arguments.format.is_some() {
            return Err(wrong(
                "--format: only for a folder of outputs; the ending of --output is the format of a file",
            ));
        }
        let named =
            |name: String| arguments.format.as_deref().map_or(name.clone(), |ending| with_ending(&name, ending));
        let maps: &[Uncertainty] = match (arguments.uncertainty, models) {
            (false, _) => &[],
            (true, 1) => &[Uncertainty::Entropy],
            (true, _) => &[Uncertainty::Entropy, Uncertainty::Disagreement],
        };
        let targets = preprocessing.foreground_names(classes).len();
        let job = |(input, name): (ImageFiles, String)| {
            let input = input.of_series(arguments.series.clone().unwrap_or_default());
            let to = if is_named { output.clone() } else { output.join(named(name)) };
            let probabilities = (1..=targets).filter(|_| arguments.probabilities).map(|c| probability_path(&to, c));
            let probabilities: Vec<PathBuf> = probabilities.collect();
            let maps = maps.iter().map(|map| map.path(&to));
            let uncertainty: Vec<PathBuf> = maps.collect();
            let all = std::iter::once(&to).chain(&probabilities).chain(&uncertainty);
            let written = all.flat_map(|path| files_written(path)).collect();
            Job { input, output: to, probabilities, uncertainty, written }
        };
        let (part, parts) = arguments.part.unwrap_or((0, 1));
        let (mut jobs, mut others) = (Vec::new(), Vec::new());
        for (position, volume) in volumes.into_iter().enumerate() {
            let ours = position % parts == part;
            if ours { &mut jobs } else { &mut others }.push(job(volume));
        }
        Ok(Self { jobs, others, folder: folder.to_owned(), several, warnings })
    }

    /// Nothing is computed that cannot be written. Nothing is overwritten without `--force`, and an input never.
    fn check_outputs(&self, arguments: &SegmentArguments) -> Result<()> {
        let mut taken: BTreeMap<&Path, &Path> = BTreeMap::new();
        // All inputs, and both files of a pair: a.mha and a.mhd differ, their voxels need not.
        let all = || self.jobs.iter().chain(&self.others);
        let inputs = all().flat_map(|job| job.input.files()).flat_map(|file| files_written(file));
        let inputs: BTreeSet<PathBuf> = inputs.filter_map(|file| file.canonicalize().ok()).collect();
        let mut problems = Vec::new();
        for job in all() {
            check_output(&job.output)?;
            if let Err(text) = check_job(job, &inputs, &mut taken) {
                problems.push(wrong(text));
            }
        }
        if !self.several && !self.folder.is_dir() {
            problems.push(wrong(format!("{}: there is no such folder to write to", self.folder.display())));
        }
        let present: Vec<&PathBuf> =
            self.jobs.iter().filter_map(|job| job.written.iter().find(|file| file.exists())).collect();
        if let (Some(first), false, false) = (present.first(), arguments.force, arguments.go_on) {
            let first = first.display();
            let text = match (present.len(), self.jobs.len()) {
                (1, 1) => format!("{first}: exists; --force replaces it"),
                (some, all) => format!(
                    "{first}: exists, as do outputs of {some} of {all} volumes; --force replaces them, --continue goes on \
                     with what is missing"
                ),
            };
            problems.push(wrong(text));
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems::of(problems)) }
    }

    /// Removes what an earlier process left when it was killed while it wrote one of these outputs. Another part writes others.
    fn remove_leftovers(&self) {
        // One that cannot be removed is hidden and counts as no result.
        let _ = remove_leftovers_of(&self.folder, self.jobs.iter().flat_map(|job| &job.written));
    }

    /// The folder of the outputs, in which a file can be made.
    fn create_folder(&self) -> Result<()> {
        let wrong = |e| WrongInput(format!("{}: cannot write to the output folder: {e}", self.folder.display()));
        if self.several {
            std::fs::create_dir_all(&self.folder).map_err(wrong)?;
        }
        tempfile::tempfile_in(&self.folder).map_err(wrong)?;
        Ok(())
    }
}

/// The volumes of an input, in the order of their names.
struct Inputs {
    /// The files of each, and the file name of its output in a folder.
    volumes: Vec<(ImageFiles, String)>,
    /// Whether the input is a folder of volumes or a table.
    several: bool,
    warnings: Warnings,
}

impl Inputs {
    fn of(input: &Path, channel_files: &[String], channels: usize) -> Result<Self> {
        if Manifest::is_named(input) {
            let rows = Manifest::read_images(input)?.rows;
            let volumes = rows.into_iter().map(|row| {
                let name = output_name_of(&row.name, row.image.first());
                (row.image, name)
            });
            return Ok(Self { volumes: volumes.collect(), several: true, warnings: Warnings::default() });
        }
        let (images, warnings) = images_to_segment(input, channel_files, channels)?;
        let volumes = images.into_iter().map(|(case, image)| {
            let name = output_of_image(&case, &image);
            (image, name)
        });
        Ok(Self { volumes: volumes.collect(), several: input.is_dir() && !is_series(input), warnings })
    }
}

/// What is wrong with the outputs of a job, beside the inputs of all and what the jobs before write.
fn check_job<'a>(
    job: &'a Job,
    inputs: &BTreeSet<PathBuf>,
    taken: &mut BTreeMap<&'a Path, &'a Path>,
) -> Result<(), String> {
    for file in &job.written {
        if file.canonicalize().is_ok_and(|file| inputs.contains(&file)) {
            return Err(format!("{}: is the input; give another --output", file.display()));
        }
        if let Some(other) = taken.insert(file, job.input.first()) {
            let (one, file) = (other.display(), file.display());
            return Err(format!(
                "{file}: would be written for {one} and for {}; rename one",
                job.input.first().display()
            ));
        }
        if file.is_dir() {
            return Err(format!("{}: is a folder, and a file is to be written", file.display()));
        }
    }
    Ok(())
}

impl<'a> Told<'a> {
    /// The jobs whose inputs can be read as far as their headers say.
    fn readable(&mut self, jobs: Vec<&'a Job>, preparation: &Preparation) -> Vec<&'a Job> {
        let mut readable = Vec::new();
        let checked = |job: &&Job| check_image(&job.input, preparation).map(|header| header.warnings);
        let checked: Vec<_> = jobs.par_iter().map(checked).collect();
        for (job, checked) in jobs.into_iter().zip(checked) {
            match checked {
                Ok(warnings) => {
                    self.warnings.extend(job.input.first(), warnings);
                    readable.push(job);
                }
                Err(error) => self.fail(job, error.into(), |text| tell!("{text}")),
            }
        }
        tell_warnings(&self.warnings);
        readable
    }

    fn segment(&mut self, jobs: &[&'a Job], segmenter: &mut Segmenter, options: &SegmentOptions) {
        let mut progress = SegmentProgress::new(jobs.len());
        for (at, job) in jobs.iter().enumerate() {
            progress.volume(job.input.first());
            let start = Instant::now();
            let shown = |done, all| {
                progress.window(done, all);
                ControlFlow::Continue(())
            };
            match segmenter.segment_file(&job.input, &job.output, options.clone(), shown) {
                Ok(found) => {
                    if let Some([x, y, z]) = found.windows {
                        let detail = format!("windows of {x} x {y} x {z} voxels");
                        self.warn(&progress, job.input.first(), Warning::with(IN_WINDOWS, detail));
                    }
                    self.written.push((job, start.elapsed()));
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    let ends = ends_all(&error);
                    self.fail(job, error, |text| progress.say(text));
                    if ends {
                        self.left = jobs.len() - at - 1;
                        break;
                    }
                }
            }
        }
        progress.finish();
    }

    /// Tells a kind of warning once.
    fn warn(&mut self, progress: &SegmentProgress, file: &Path, warning: Warning) {
        let known = self.warnings.notices().len();
        self.warnings.add(file, warning);
        if let Some(notice) = self.warnings.notices().get(known) {
            progress.say(&format!("warning: {notice}"));
        }
    }

    /// Tells of a failure at once, where others go on; [`Told::end`] names all of them.
    fn fail(&mut self, job: &'a Job, error: anyhow::Error, say: impl Fn(&str)) {
        if self.several {
            say(&format!("failed: {}", message(&error)));
        }
        self.failures.push((job, error));
    }

    fn json(&self, done: &[String]) -> serde_json::Value {
        let written = self.written.iter().map(|(job, time)| {
            let all = |paths: &[PathBuf]| paths.iter().map(|path| shown(path)).collect::<Vec<String>>();
            json!({
                "input": shown(job.input.first()), "output": shown(&job.output), "seconds": time.as_secs_f64(),
                "probabilities": all(&job.probabilities), "uncertainty": all(&job.uncertainty),
            })
        });
        let failed = self
            .failures
            .iter()
            .map(|(job, error)| json!({ "input": shown(job.input.first()), "error": message(error) }));
        json!({
            "volumes": written.collect::<Vec<_>>(), "present": done, "failures": failed.collect::<Vec<_>>(),
            "left": self.left, "warnings": self.warnings.notices(),
        })
    }

    /// The failure of a single volume is its own error; those of several are named together.
    fn end(mut self, batch: &Batch) -> Result<()> {
        match self.failures.len() {
            0 => Ok(()),
            1 if !batch.several => Err(self.failures.remove(0).1),
            _ => {
                let failures = self.failures.into_iter().map(|(_, error)| error).collect();
                Err(Failures { failures, all: batch.jobs.len(), left: self.left }.into())
            }
        }
    }
}

/// A kind of warning.
const IN_WINDOWS: &str = "does not fit the device as a whole, so it is predicted in windows; probabilities near their borders are not those of \
     the whole";

/// Whether the next volume would fail in the same way: a lost device, a full disk.
fn ends_all(error: &anyhow::Error) -> bool {
    is_full_disk(error) || matches!(error.downcast_ref(), Some(InferError::Gpu(_)))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The models and how they all want volumes to be prepared. What an ensemble says of mirroring and repairs holds where it is the
/// only one.
fn read_models(paths: &[PathBuf]) -> Result<Ensemble> {
    if let [only] = paths
        && Ensemble::is_at(only)
    {
        return Ok(Ensemble::read(only)?);
    }
    let mut files = Vec::new();
    for path in paths {
        match Ensemble::is_at(path) {
            true => {
                tell!(
                    "note: {}: with several --model, what it says of mirroring and repairs is not done",
                    path.display()
                );
                files.extend(Ensemble::members(path)?);
            }
            false => files.push(path.clone()),
        }
    }
    let (models, preprocessing) = read_files(&files)?;
    Ok(Ensemble { models, preprocessing, mirroring: false, post_processing: PostProcessing::default() })
}

/// Models that can be averaged.
fn read_files(paths: &[PathBuf]) -> Result<(Vec<Model>, Preprocessing)> {
    let mut models: Vec<Model> = Vec::new();
    let mut first: Option<Preprocessing> = None;
    for path in paths {
        let refused = |text: String| Err(wrong(format!("{}: {text}", model_path(path).display())));
        let (model, found) = read_model(path)?;
        let classes = model.network.classes;
        let with = model_path(&paths[0]).display().to_string();
        if let Some(expected) = models.first().map(|first| first.network.classes).filter(|first| *first != classes) {
            return refused(format!("{classes} classes, but {with} has {expected}; averaged models need the same"));
        }
        let activations = |model: &Model| model.network.activation.name();
        if let Some(expected) = models.first().map(activations).filter(|first| *first != activations(&model)) {
            let found = activations(&model);
            return refused(format!(
                "its outputs are {found}, those of {with} {expected}; averaged models need the same"
            ));
        }
        if let Some(difference) = first.get_or_insert_with(|| found.clone()).difference(&found) {
            return refused(format!("preprocessing differs from {with}: {difference}"));
        }
        models.push(model);
    }
    Ok((models, first.expect("clap requires a model")))
}
