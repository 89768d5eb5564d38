use super::{InferError, PostProcessing, Predictor};
use crate::data::io::{self, case_of};
use crate::data::{Fit, Geometry, LabelMap, Preparation, Volume, prepare_image};
use std::path::{Path, PathBuf};

/// What is written for an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentOptions {
    /// Also one float32 volume of probabilities per foreground class.
    pub probabilities: bool,
    /// What is mended in the label map.
    pub post_processing: PostProcessing,
}

/// Segments a volume and writes the label map, and on request the probabilities, in the grid of the input.
///
/// # Errors
/// [`InferError`] that names the file.
pub fn segment_file(
    predictor: &Predictor,
    preparation: &Preparation,
    input: &Path,
    output: &Path,
    options: SegmentOptions,
    progress: impl FnMut(),
) -> Result<LabelMap, InferError> {
    let (prepared, header) = prepare_image(input, preparation, Fit::Whole)?;
    let probabilities = predictor.predict(&prepared, progress)?;
    let geometry = &prepared.geometry;
    let labels = geometry.restore_classes(&probabilities, preparation.classes);
    let mut map = LabelMap { grid: geometry.input.clone(), voxels: labels };
    options.post_processing.apply(&mut map);
    if options.probabilities {
        for class in 1..preparation.classes {
            let path = probability_path(output, class);
            io::write_volume_as(
                &path,
                &probability(geometry, &probabilities, class, preparation.classes),
                io::Scalar::Float32,
                &header,
            )?;
        }
    }
    io::write_label_map(output, &map, &header)?;
    Ok(map)
}

/// `a.nii.gz` → `a_prob1.nii.gz`.
pub fn probability_path(output: &Path, class: usize) -> PathBuf {
    let name = output.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let stem = case_of(&name).unwrap_or(&name).to_owned();
    output.with_file_name(format!("{stem}_prob{class}{}", &name[stem.len()..]))
}

fn probability(geometry: &Geometry, probabilities: &[f32], class: usize, classes: usize) -> Volume {
    let voxels: Vec<f32> = probabilities.iter().skip(class).step_by(classes).copied().collect();
    Volume { grid: geometry.input.clone(), voxels: geometry.restore_image(&voxels, 0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_lie_beside_the_labels() {
        assert_eq!(probability_path(Path::new("x/a.nii.gz"), 2), Path::new("x/a_prob2.nii.gz"));
        assert_eq!(probability_path(Path::new("b.c.nii"), 1), Path::new("b.c_prob1.nii"));
    }
}
