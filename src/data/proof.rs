//! The classes of a data set, found from its label values.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::classes::{BACKGROUND, MOST_CLASSES, first_of};
use super::io::format::names_segments;
use super::io::{Segment, read_header};
use super::{Case, Classes, DataError, Warning};

/// The classes of a data set whose label maps have these values, each with the first file that has it.
pub(super) fn prove(
    dir: &Path,
    declared: Option<&Classes>,
    values: &BTreeMap<u16, &Path>,
) -> Result<Classes, DataError> {
    if let Some(unknown) = declared.filter(|classes| classes.are_unknown()) {
        let with_class = values.iter().filter(|(value, _)| !unknown.ignored().contains(value));
        let proven = prove(dir, None, &with_class.map(|(value, path)| (*value, *path)).collect())?;
        return Ok(proven.ignoring(unknown.ignored()).expect("no class has these values"));
    }
    let occurring: Vec<u16> = values.keys().copied().collect();
    let no_foreground = |expected: &str| {
        let found = ranges(&occurring);
        let problem = format!(
            "no label map has a voxel of a class (label values: {found}); expected labelled voxels in some case: {expected}"
        );
        DataError::unusable(dir, problem)
    };
    if let Some(classes) = declared {
        // Undeclared values are problems of their files.
        if occurring.iter().all(|&value| matches!(classes.class_of(value), None | Some(0))) {
            return Err(no_foreground(&classes.describe()));
        }
        return Ok(classes.clone());
    }
    let Some((&largest, path)) = values.last_key_value().filter(|(value, _)| **value > 0) else {
        return Err(no_foreground("1 and above"));
    };
    let missing: Vec<u16> = (0..largest).filter(|value| !values.contains_key(value)).collect();
    if !missing.is_empty() {
        let (path, found, missing) = (path.display(), ranges(&occurring), ranges(&missing));
        let problem = format!(
            "the label values {found} occur ({largest} first in {path}), but {missing} in no case; expected every value from 0 \
             to the largest. Say which value is which class: --set data.labels.NAME=VALUE, or NAME = VALUE (several: \
             [VALUE, VALUE]) in the table [data.labels] of a configuration"
        );
        return Err(DataError::unusable(dir, problem));
    }
    if usize::from(largest) >= MOST_CLASSES {
        let problem = format!(
            "the label values 0 to {largest} occur, expected at most {MOST_CLASSES} classes: several values may be one class, \
             NAME = [VALUE, VALUE] in the table [data.labels] of a configuration"
        );
        return Err(DataError::unusable(dir, problem));
    }
    Ok(Classes::numbered(usize::from(largest) + 1))
}

/// The classes that the label maps of a data set name themselves, as 3D Slicer's segmentations do: where all have the same names
/// for the same values. None otherwise, and where a label map cannot be read.
pub(super) fn named(cases: &[Case]) -> Option<Classes> {
    // Only headers of formats that have names are read here.
    let segments = |case: &Case| match names_segments(&case.label) {
        true => read_header(&case.label).map_or_else(|_| Vec::new(), |header| header.segments().to_vec()),
        false => Vec::new(),
    };
    let (first, others) = cases.split_first()?;
    let first = entries(&segments(first));
    let alike = || others.par_iter().all(|case| entries(&segments(case)) == first);
    (!first.is_empty() && alike()).then(|| classes_of(&first)).flatten()
}

/// Names by value.
fn entries(segments: &[Segment]) -> BTreeMap<u16, String> {
    segments.iter().map(|segment| (segment.value, segment.name.clone())).collect()
}

/// Classes with these names; none where two values have one name.
fn classes_of(entries: &BTreeMap<u16, String>) -> Option<Classes> {
    let background = std::iter::once((BACKGROUND.to_owned(), vec![0]));
    let foreground = entries.iter().map(|(value, name)| (name.clone(), vec![*value]));
    Classes::new(background.chain(foreground)).ok()
}

/// The declared classes of which no label map has a voxel.
pub(super) fn absent(declared: &Classes, values: &BTreeMap<u16, &Path>) -> Option<Warning> {
    if declared.are_unknown() {
        return None;
    }
    let mut occurs = vec![false; declared.count()];
    for class in values.keys().filter_map(|&value| declared.class_of(value)) {
        occurs[usize::from(class)] = true;
    }
    let absent: Vec<String> = (declared.names().into_iter().zip(occurs).skip(1))
        .filter_map(|(name, occurs)| (!occurs).then_some(name))
        .collect();
    let kind = "declared classes occur in no label map, so that nothing can be learnt of them";
    (!absent.is_empty()).then(|| Warning::with(kind, first_of(absent.len(), 12, |at| absent[at].clone())))
}

/// Ascending numbers as text, `0, 3 to 5, 255`; of many ranges the first.
fn ranges(values: &[u16]) -> String {
    const SHOWN: usize = 8;
    let mut found: Vec<[u16; 2]> = Vec::new();
    for &value in values {
        match found.last_mut() {
            Some([_, last]) if *last + 1 == value => *last = value,
            _ => found.push([value, value]),
        }
    }
    let text = |[first, last]: &[u16; 2]| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    };
    let mut shown: Vec<String> = found.iter().take(SHOWN).map(text).collect();
    if let [.., [_, last]] = found.as_slice()
        && found.len() > SHOWN
    {
        shown.push(format!("… {last}"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::io::{Header, write_segmentation};
    use crate::data::{Grid, LabelMap};

    #[test]
    fn numbers_are_told_as_ranges() {
        for (values, text) in [
            (&[][..], ""),
            (&[7], "7"),
            (&[0, 1], "0, 1"),
            (&[0, 1, 2, 255], "0 to 2, 255"),
            (&[0, 2, 4, 6, 8, 10, 12, 14, 16, 65535], "0, 2, 4, 6, 8, 10, 12, 14, … 65535"),
        ] {
            assert_eq!(ranges(values), text);
        }
    }

    #[test]
    fn declared_classes_without_a_voxel_are_named() {
        let entries = [("background", vec![0]), ("tumour", vec![2, 3]), ("cyst", vec![7]), ("vessel", vec![9])];
        let declared = Classes::new(entries.map(|(name, values)| (name.to_owned(), values))).expect("classes");
        let values = |values: &[u16]| values.iter().map(|&value| (value, Path::new("l.nii"))).collect();
        let warning = absent(&declared, &values(&[0, 3])).expect("two are absent");
        assert_eq!(warning.detail, "cyst, vessel");
        assert_eq!(absent(&declared, &values(&[2, 7, 9])), None);
    }

    #[test]
    fn segments_name_the_classes_where_all_maps_agree() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let grid = Grid::axis_aligned([3, 2, 2], [1.0; 3]);
        let map = |file: &str, segments: &[(u16, &str)]| {
            let segment = |&(value, name): &(u16, &str)| Segment { name: name.to_owned(), value, color: None };
            let segments: Vec<Segment> = segments.iter().map(segment).collect();
            let labels = LabelMap { grid: grid.clone(), voxels: vec![0; 12] };
            let label = dir.path().join(file);
            write_segmentation(&label, &labels, &Header::for_grid(&grid), &segments).expect("written");
            Case { name: file.to_owned(), image: Path::new("image.nii").into(), label }
        };
        let of = |cases: &[&Case]| {
            let cases: Vec<Case> = cases.iter().map(|&case| case.clone()).collect();
            named(&cases).map(|classes| classes.describe())
        };
        let one = map("one.seg.nrrd", &[(7, "cyst"), (2, "kidney")]);
        let two = map("two.seg.nrrd", &[(2, "kidney"), (7, "cyst")]);
        let other = map("other.seg.nrrd", &[(2, "liver"), (7, "cyst")]);
        let twice = map("twice.seg.nrrd", &[(2, "a"), (7, "a")]);
        let (plain, nifti) = (map("plain.nrrd", &[(2, "kidney")]), map("nifti.nii", &[(2, "kidney")]));
        let absent = Case { label: dir.path().join("absent.seg.nrrd"), ..one.clone() };
        assert_eq!(of(&[&one, &two]), Some("0 (background), 2 (kidney), 7 (cyst)".to_owned()));
        for unnamed in [&other, &plain, &nifti, &absent] {
            assert_eq!((of(&[&one, unnamed]), of(&[unnamed, &two])), (None, None), "{}", unnamed.label.display());
        }
        assert_eq!((of(&[&twice]), of(&[])), (None, None));
    }

    #[test]
    fn no_more_values_are_classes_than_a_network_has() {
        let values = |count: usize| (0..=u16::MAX).take(count).map(|value| (value, Path::new("l.nii"))).collect();
        let classes = prove(Path::new("data"), None, &values(256)).expect("as many as there can be");
        assert_eq!(classes, Classes::numbered(256));
        let error = prove(Path::new("data"), None, &values(257)).expect_err("one more").to_string();
        assert!(error.starts_with("data: the label values 0 to 256 occur, expected at most 256 classes"), "{error}");
    }
}
