//! The classes of a data set, found from its label values.

use std::collections::BTreeMap;
use std::path::Path;

use super::classes::{MOST_CLASSES, first_of};
use super::{Classes, DataError, Warning};

/// The classes of a data set whose label maps have these values, each with the first file that has it.
pub(super) fn prove(
    dir: &Path,
    declared: Option<&Classes>,
    values: &BTreeMap<u16, &Path>,
) -> Result<Classes, DataError> {
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
        if occurring.iter().all(|&value| classes.class_of(value) == Some(0)) {
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

/// The declared classes of which no label map has a voxel.
pub(super) fn absent(declared: &Classes, values: &BTreeMap<u16, &Path>) -> Option<Warning> {
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
    fn no_more_values_are_classes_than_a_network_has() {
        let values = |count: usize| (0..=u16::MAX).take(count).map(|value| (value, Path::new("l.nii"))).collect();
        let classes = prove(Path::new("data"), None, &values(256)).expect("as many as there can be");
        assert_eq!(classes, Classes::numbered(256));
        let error = prove(Path::new("data"), None, &values(257)).expect_err("one more").to_string();
        assert!(error.starts_with("data: the label values 0 to 256 occur, expected at most 256 classes"), "{error}");
    }
}
