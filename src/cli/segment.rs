//! `segment`: everything is checked first, a broken volume does not stop the others, `--continue` segments what is missing, and
//! `--part` shares the volumes among several processes.

mod told;

use super::model::read_models;
use super::status::{Problems, WrongInput, wrong};
use super::verbosity::tell;
use super::{RARE, open_gpu, stop, values};
use anyhow::Result;
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use told::{Told, shown};
use vnet_engine::data::io::{
    SeriesChoice, Uncertainty, check_output, files_written, is_series, output_name_of, with_ending,
};
use vnet_engine::data::{ImageFiles, Manifest, Warnings, images_to_segment, output_of_image};
use vnet_engine::files::{folder_of, remove_leftovers_of};
use vnet_engine::gpu::GpuOptions;
use vnet_engine::infer::{
    Ensemble, PostProcessing, Preprocessing, Repair, SegmentOptions, Segmenter, Size, probability_path,
};

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
