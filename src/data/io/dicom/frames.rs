//! Files of several frames: enhanced MR, CT and PET, and what was converted to them (PS3.3, C.7.6.16).
//!
//! What single slices say in their files, frames say in functional groups: sequences of one item, in an item for each frame and in
//! one for all. The groups that are read are two levels deep, and nothing deeper is looked at.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::attributes::{self, Attributes};
use super::dataset::DataSet;
use super::elements::{Elements, Problem, Tag};
use super::series::Info;
use super::slice::{Place, Slice};
use crate::data::DataError;

/// Frames of a file, at most: more than the NumberOfFrames of any scanner's volume.
const MOST_FRAMES: usize = 1 << 16;
/// Dimensions that a file declares and that are looked at.
const MOST_DIMENSIONS: usize = 8;

/// The functional groups that are read (PS3.3, C.7.6.16.2, C.8.13.5, C.8.15.3, C.8.22.5).
const GROUPS: [Tag; 12] = [
    (0x0018, 0x9114), // MREchoSequence
    (0x0018, 0x9117), // MRDiffusionSequence
    (0x0018, 0x9118), // CardiacSynchronizationSequence
    (0x0018, 0x9226), // MRImageFrameTypeSequence
    (0x0018, 0x9329), // CTImageFrameTypeSequence
    (0x0018, 0x9751), // PETFrameTypeSequence
    (0x0020, 0x9111), // FrameContentSequence
    (0x0020, 0x9113), // PlanePositionSequence
    (0x0020, 0x9116), // PlaneOrientationSequence
    (0x0020, 0x9310), // TemporalPositionSequence
    (0x0028, 0x9110), // PixelMeasuresSequence
    (0x0028, 0x9145), // PixelValueTransformationSequence
];

/// Dimensions that are the place of a frame, or looked at by themselves: InStackPositionNumber, ImagePositionPatient, StackID.
const PLACES: [Tag; 3] = [(0x0020, 0x9057), (0x0020, 0x0032), (0x0020, 0x9056)];

/// An attribute by which frames at one place may differ, and its value.
pub(super) type Fact = (Cow<'static, str>, String);

/// True if a file has functional groups of its frames.
pub(super) fn has_frames(file: &DataSet<'_>) -> bool {
    file.has(attributes::PER_FRAME.0)
}

/// The frames of a file.
pub(super) fn slices_of(
    path: &Path,
    file: &DataSet<'_>,
    info: &Arc<Info>,
    length: u64,
) -> Result<Vec<Slice>, DataError> {
    let wrong = |problem| DataSet::wrong(path, problem, length);
    let bytes = &file.bytes;
    let items = file.elements.items(bytes, attributes::PER_FRAME.0).map_err(wrong)?;
    let of_file = Attributes { path, file, frame: [None, None] };
    let stated = of_file.number(attributes::NUMBER_OF_FRAMES)?.unwrap_or(1.0);
    if stated != items.len() as f64 || items.len() > MOST_FRAMES || items.is_empty() {
        let expected = "1 to 65536 and the items of PerFrameFunctionalGroupsSequence";
        let found = format!("{stated}, with {} items", items.len());
        return Err(of_file.wrong(attributes::NUMBER_OF_FRAMES, found, expected));
    }
    let mut shared = Elements::default();
    if let Some((item, coding)) = file.elements.items(bytes, attributes::SHARED.0).map_err(wrong)?.into_iter().next() {
        shared = groups(bytes, Elements::read(bytes, item, coding).map_err(wrong)?).map_err(wrong)?;
    }
    let dimensions = dimensions(file).map_err(wrong)?;
    let place = Arc::<Path>::from(path);
    let count = items.len();
    let frame = |(index, (item, coding)): (usize, _)| {
        let own = groups(bytes, Elements::read(bytes, item, coding).map_err(wrong)?).map_err(wrong)?;
        let of = Attributes { path, file, frame: [Some(&own), Some(&shared)] };
        let place = Place { path: place.clone(), frame: index, frames: count };
        let mut slice = Slice::of(&of, place, info.clone(), length).map_err(|error| in_frame(error, index))?;
        slice.facts = facts(&of, &dimensions);
        Ok(slice)
    };
    items.into_iter().enumerate().map(frame).collect()
}

/// An error of a frame.
fn in_frame(error: DataError, index: usize) -> DataError {
    match error {
        DataError::Header { path, field, found, expected } => {
            DataError::unusable(&path, format!("{field} of frame {} is {found}, expected {expected}", index + 1))
        }
        other => other,
    }
}

/// The elements of the functional groups in an item.
fn groups(bytes: &[u8], item: Elements) -> Result<Elements, Problem> {
    let mut found = Elements::default();
    GROUPS.iter().try_for_each(|&group| found.extend_from_first(bytes, &item, group))?;
    Ok(found)
}

/// The dimensions that the file declares beside the place of its frames, each with its position among the indices of a frame.
fn dimensions(file: &DataSet<'_>) -> Result<Vec<(usize, Tag)>, Problem> {
    let items = file.elements.items(&file.bytes, attributes::DIMENSIONS.0)?;
    let pointer = |(item, coding)| {
        let elements = Elements::read(&file.bytes, item, coding)?;
        let four: Option<[u8; 4]> =
            elements.value(&file.bytes, attributes::DIMENSION_POINTER.0).and_then(|value| value.first_chunk().copied());
        let short = |a, b| file.coding.short([a, b]);
        Ok(four.map_or((0, 0), |[a, b, c, d]| (short(a, b), short(c, d))))
    };
    let tags: Vec<Tag> = items.into_iter().take(MOST_DIMENSIONS).map(pointer).collect::<Result<_, _>>()?;
    Ok(tags.into_iter().enumerate().filter(|(_, tag)| !PLACES.contains(tag)).collect())
}

/// By what frames at one place may differ, the telling ones first; as many of every frame of a file.
fn facts(of: &Attributes<'_>, dimensions: &[(usize, Tag)]) -> Vec<Fact> {
    let text = |attribute: attributes::Attribute| (Cow::Borrowed(attribute.1), of.text(attribute));
    let double = |attribute: attributes::Attribute| {
        (Cow::Borrowed(attribute.1), of.double(attribute).map(|value| value.to_string()).unwrap_or_default())
    };
    let long = |attribute: attributes::Attribute| {
        (Cow::Borrowed(attribute.1), of.longs(attribute).first().map(u32::to_string).unwrap_or_default())
    };
    let mut facts = vec![
        text(attributes::STACK_ID),
        long(attributes::TEMPORAL_POSITION_INDEX),
        double(attributes::ECHO_TIME),
        double(attributes::B_VALUE),
        double(attributes::TRIGGER_DELAY),
        text(attributes::COMPLEX_COMPONENT),
        text(attributes::FRAME_TYPE),
    ];
    let indices = of.longs(attributes::DIMENSION_INDICES);
    facts.extend(dimensions.iter().map(|(position, (group, element))| {
        let index = indices.get(*position).map(u32::to_string).unwrap_or_default();
        (format!("dimension ({group:04X},{element:04X})").into(), index)
    }));
    facts.push(double(attributes::TEMPORAL_POSITION_OFFSET));
    facts.iter_mut().for_each(|(_, value)| *value = super::series::plain(value));
    facts
}
