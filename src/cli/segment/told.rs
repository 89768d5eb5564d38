//! What was done of a batch of volumes, and what a person and a program are told of it.

use super::{Batch, Job};
use crate::cli::progress::SegmentProgress;
use crate::cli::status::{Failures, is_full_disk, message};
use crate::cli::verbosity::{tell, tell_warnings};
use anyhow::Result;
use rayon::prelude::*;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vnet_engine::data::{Preparation, Warning, Warnings, check_image};
use vnet_engine::infer::{InferError, SegmentOptions, Segmenter};

/// What has been done.
#[derive(Default)]
pub(super) struct Told<'a> {
    pub(super) written: Vec<(&'a Job, Duration)>,
    pub(super) failures: Vec<(&'a Job, anyhow::Error)>,
    pub(super) warnings: Warnings,
    /// Volumes that were not tried, because the device or the disk failed before.
    pub(super) left: usize,
    /// Whether there are others when one fails.
    pub(super) several: bool,
}

impl<'a> Told<'a> {
    /// The jobs whose inputs can be read as far as their headers say.
    pub(super) fn readable(&mut self, jobs: Vec<&'a Job>, preparation: &Preparation) -> Vec<&'a Job> {
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

    pub(super) fn segment(&mut self, jobs: &[&'a Job], segmenter: &mut Segmenter, options: &SegmentOptions) {
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

    pub(super) fn json(&self, done: &[String]) -> serde_json::Value {
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
    pub(super) fn end(mut self, batch: &Batch) -> Result<()> {
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

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
