use super::uncertainty::Disagreement;
use super::{InferError, MemberWindow, PostProcessing, Predictor};
pub use crate::data::io::probability_path;
use crate::data::io::{self, Header, Segment, Uncertainty};
use crate::data::prepare::{MOST_VOXELS, check_channels_in_memory, check_size};
use crate::data::{
    Classes, Fit, ImageFiles, LabelMap, Preparation, Prepared, Restoration, Volume, check_image, prepare_image,
};
use std::ops::ControlFlow;
use std::path::Path;

/// What is written for an input.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SegmentOptions {
    /// Also one float32 volume of probabilities per foreground class or region.
    pub probabilities: bool,
    /// Repairs of the label map.
    pub post_processing: PostProcessing,
    /// Also the entropy of each voxel as a float32 volume, and of several models their disagreement
    /// ([`Uncertainty`](crate::data::io::Uncertainty)).
    pub uncertainty: bool,
}

/// Segments a volume and writes the label map, and on request the probabilities, on the grid of the input. Labels have
/// the values that the classes have in the training data. Predictions become labels in slabs: besides the image, one
/// label per voxel is in memory, and the probabilities of one class if these are asked for; a temporary file in the folder
/// of the output has those of the others. `progress` gets the number of finished windows
/// and of all windows, and may stop the prediction after each; then nothing is written. The label map is written last.
///
/// # Errors
/// [`InferError`] that names the file; [`InferError::Stopped`] when `progress` said so.
pub fn segment_file(
    predictor: &Predictor,
    preparation: &Preparation,
    input: &ImageFiles,
    output: &Path,
    options: SegmentOptions,
    progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<LabelMap, InferError> {
    let (prepared, header) = prepare_image(input, preparation, Fit::Whole)?;
    let segments = preparation.labels.as_ref().map(segments_of).unwrap_or_default();
    segment_prepared(predictor, preparation, (prepared, &header), (output, &segments), options, progress)
}

/// Names of the foreground classes and their values in label maps, for formats that hold them.
pub(super) fn segments_of(classes: &Classes) -> Vec<Segment> {
    let segment = |(value, name)| Segment { name, value, color: None };
    classes.foreground().into_iter().map(segment).collect()
}

/// Like [`segment_file`], for an image that is prepared already, with its header; an output with names of its labels.
pub(super) fn segment_prepared(
    predictor: &Predictor,
    preparation: &Preparation,
    (prepared, header): (Prepared, &Header),
    (output, segments): (&Path, &[Segment]),
    options: SegmentOptions,
    progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<LabelMap, InferError> {
    let mut restoration = Restoration::new(&prepared.geometry, preparation.decision());
    if options.probabilities {
        restoration = restoration.keeping_probabilities(crate::files::folder_of(output))?;
    }
    let disagree = options.uncertainty && predictor.members() > 1;
    if options.uncertainty {
        restoration = restoration.keeping_uncertainty(crate::files::folder_of(output), usize::from(disagree))?;
    }
    if disagree {
        let mut disagreement = Disagreement::new(preparation.decision());
        let see = |member: &MemberWindow<'_>, more: &mut [f32]| disagreement.see(member, more);
        predictor.predict_members(&prepared, 1, see, |slab| restoration.push(slab), progress)?;
    } else {
        predictor.predict_slabs(&prepared, |slab| restoration.push(slab), progress)?;
    }
    let (labels, probabilities, uncertainty) = restoration.finish_all();
    let grid = prepared.geometry.input.clone();
    if let Some(mut probabilities) = probabilities {
        for class in 0..probabilities.count() {
            let volume = Volume { grid: grid.clone(), voxels: probabilities.of_class(class)? };
            io::write_probabilities(&probability_path(output, class + 1), &volume, header)?;
        }
    }
    let of_models = disagree.then_some(Uncertainty::Disagreement);
    let maps = of_models.into_iter().chain([Uncertainty::Entropy]);
    if let Some(mut uncertainty) = uncertainty {
        for (number, what) in maps.enumerate() {
            let volume = Volume { grid: grid.clone(), voxels: uncertainty.of_class(number)? };
            io::write_uncertainty(&what.path(output), what, &volume, header)?;
        }
    }
    drop(prepared);
    let mut map = LabelMap { grid, voxels: labels };
    options.post_processing.apply_to(&preparation.targets(), &preparation.decision(), &mut map);
    preparation.to_values(&mut map.voxels);
    io::write_segmentation(output, &map, header, segments)?;
    Ok(map)
}

/// Repairs a label map that [`segment_file`] wrote without repairs for `image`, and writes it to `output`, with the bits that
/// segmenting with these repairs has.
///
/// # Errors
/// [`InferError::Data`] that names the file.
pub fn repair_file(
    image: &ImageFiles,
    unrepaired: &Path,
    output: &Path,
    (preparation, classes): (&Preparation, &Classes),
    post_processing: &PostProcessing,
) -> Result<LabelMap, InferError> {
    let header = check_image(image, preparation)?;
    let mut map = io::read_label_map(unrepaired)?;
    preparation.to_classes(unrepaired, &mut map)?;
    post_processing.apply_to(&preparation.targets(), &preparation.decision(), &mut map);
    preparation.to_values(&mut map.voxels);
    io::write_segmentation(output, &map, &header, &segments_of(classes))?;
    Ok(map)
}

/// Segments a volume in memory. The label map lies on the volume's grid and has the values of the training data.
/// `preparation` must be that of the predictor's model, with the predictor's patch.
///
/// # Errors
/// [`InferError::Data`] when the volume is too large, [`InferError::Gpu`] when the device failed.
pub fn segment_volume(
    predictor: &Predictor,
    preparation: &Preparation,
    volume: Volume,
) -> Result<LabelMap, InferError> {
    labels_of(predictor, preparation, &prepare_channels(vec![volume], preparation)?)
}

/// Prepares a volume in memory.
pub(super) fn prepare_channels(channels: Vec<Volume>, preparation: &Preparation) -> Result<Prepared, InferError> {
    let grid = check_channels_in_memory(&channels, preparation)?;
    check_size(Path::new("volume"), &grid, preparation, MOST_VOXELS)?;
    Ok(Prepared::from_channels(channels, preparation, Fit::Whole))
}

/// Labels of a prepared volume on its original grid, with the values of the training data.
pub(super) fn labels_of(
    predictor: &Predictor,
    preparation: &Preparation,
    prepared: &Prepared,
) -> Result<LabelMap, InferError> {
    let mut restoration = Restoration::new(&prepared.geometry, preparation.decision());
    predictor.predict_slabs(prepared, |slab| restoration.push(slab), |_, _| ControlFlow::Continue(()))?;
    let (mut voxels, _) = restoration.finish();
    preparation.to_values(&mut voxels);
    Ok(LabelMap { grid: prepared.geometry.input.clone(), voxels })
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
