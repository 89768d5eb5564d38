//! `dataset.json`, in the form of the Medical Segmentation Decathlon and in that of nnU-Net.

use std::path::Path;

use serde_json::{Map, Value};

use super::io::input::read_text;
use super::{Classes, DataError, Warning};

/// Bytes of a `dataset.json`, at most: it may list every file.
const LONGEST_DESCRIPTION: u64 = 1 << 26;

const READER: &str = "overwrite_image_reader_writer is passed over: a file's own format is recognised";

/// Name that nnU-Net reserves for voxels that take no part in training and scores.
const IGNORE: &str = "ignore";

/// The file that describes a data set.
pub(crate) const DESCRIPTION: &str = "dataset.json";

/// What `dataset.json` says of a data set; none where there is no such file.
///
/// # Errors
/// [`DataError`] when the file cannot be read or is not JSON.
pub(crate) fn description(dir: &Path) -> Result<Option<Value>, DataError> {
    let path = dir.join(DESCRIPTION);
    let text = match read_text(&path, LONGEST_DESCRIPTION) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataError::io(&path, "read")(error)),
    };
    let expected = "a JSON object whose \"labels\" map numbers to class names";
    serde_json::from_str(&text).map(Some).map_err(|source| DataError::Json { path, source, expected })
}

/// The names of the channels, in their order: `channel_names` of nnU-Net, `modality` of the Decathlon and of nnU-Net's first
/// version, each `{"0": "FLAIR", "1": "T1w"}`, or a list. Empty where there are none, or not one for each number.
pub(crate) fn channel_names(description: &Value) -> Vec<String> {
    let named = ["channel_names", "modality"].iter().find_map(|key| description.get(key));
    let name = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let names: Option<Vec<String>> = match named {
        Some(Value::Object(entries)) => (0..entries.len()).map(|n| name(entries.get(&n.to_string()))).collect(),
        Some(Value::Array(entries)) => entries.iter().map(|entry| name(Some(entry))).collect(),
        _ => None,
    };
    names.unwrap_or_default()
}

/// What a description asks for that is not done.
pub(crate) fn unheeded(description: &Value) -> Option<Warning> {
    let reader = description.get("overwrite_image_reader_writer")?;
    let reader = reader.as_str().map_or_else(|| reader.to_string(), str::to_owned);
    (reader != "None" && reader != "null").then(|| Warning::with(READER, reader))
}

/// The classes that `labels` of the `dataset.json` of a folder declares: `{"0": "background", "1": "organ"}` as in the
/// Decathlon, or `{"background": 0, "organ": 1}` as in nnU-Net. None where there is no such file, or no `labels` in it.
///
/// # Errors
/// [`DataError`] that names the file and the entry. nnU-Net's regions (lists of values) and its label `ignore` are
/// refused: taken for classes they would be trained on as something else.
pub fn declared_classes(dir: &Path) -> Result<Option<Classes>, DataError> {
    description(dir)?.map_or(Ok(None), |description| classes_of(dir, &description))
}

/// As [`declared_classes`], of a description that was read.
pub(super) fn classes_of(dir: &Path, description: &Value) -> Result<Option<Classes>, DataError> {
    let wrong = |problem: String| {
        let problem = format!("{problem}; data.labels in the configuration declares classes instead");
        DataError::Unusable { path: dir.join("dataset.json"), problem }
    };
    let labels = match description.get("labels") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(labels)) if labels.is_empty() => return Ok(None),
        Some(Value::Object(labels)) => labels,
        Some(_) => return Err(wrong("key labels: expected an object that maps numbers to class names".to_owned())),
    };
    let entries = entries_of(labels).map_err(wrong)?;
    let classes = Classes::new(entries).map_err(|problem| wrong(format!("key labels: {problem}")))?;
    Ok(Some(classes))
}

/// Names and values of the classes, or what is wrong with an entry.
fn entries_of(labels: &Map<String, Value>) -> Result<Vec<(String, Vec<u16>)>, String> {
    let value_of = |number: Option<u64>| number.and_then(|number| u16::try_from(number).ok());
    let mut entries = Vec::new();
    for (key, value) in labels {
        let (name, number) = match value {
            Value::String(name) => (name, value_of(key.parse().ok())),
            Value::Array(_) => {
                return Err(format!(
                    "labels.{key} = {value} is a region of several labels, and regions are not supported yet: expected one \
                     value"
                ));
            }
            number => (key, value_of(number.as_u64())),
        };
        if name == IGNORE {
            return Err(format!(
                "labels.{key} = {value} is nnU-Net's ignore label, which is not supported yet: expected classes only"
            ));
        }
        let number =
            number.ok_or_else(|| format!("labels.{key} = {value}: expected a number from 0 to 65535 and a name"))?;
        entries.push((name.clone(), vec![number]));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(labels: &str) -> Result<Option<Classes>, String> {
        let description = serde_json::from_str(&format!(r#"{{"labels": {labels}}}"#)).expect("JSON");
        classes_of(Path::new("data"), &description).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_declare_names_and_values() {
        let of = |labels: &str| classes(labels).expect("classes").expect("labels").describe();
        let expected = "0 (background), 1 (PZ), 2 (TZ)";
        assert_eq!(of(r#"{"0": "background", "2": "TZ", "1": "PZ"}"#), expected);
        assert_eq!(of(r#"{"background": 0, "TZ": 2, "PZ": 1}"#), expected);
        assert_eq!(of(r#"{"background": 0, "left": 17, "right": 2035}"#), "0 (background), 17 (left), 2035 (right)");
        assert_eq!(classes("{}"), Ok(None));
        assert_eq!(classes("null"), Ok(None));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (labels, words) in [
            (r#"{"background": 0, "whole tumour": [1, 2], "core": [2]}"#, "labels.core = [2] is a region"),
            (r#"{"background": 0, "a": 1, "ignore": 2}"#, "labels.ignore = 2 is nnU-Net's ignore label"),
            (r#"{"0": "background", "1": "a", "2": "ignore"}"#, "labels.2 = \"ignore\" is nnU-Net's ignore label"),
            (r#"{"background": 0, "a": 70000}"#, "labels.a = 70000: expected a number from 0 to 65535"),
            (r#"{"0": "background", "one": "a"}"#, "labels.one = \"a\": expected a number"),
            (r#"{"background": 0, "a": 1, "b": 1}"#, "1 is in a and in b"),
            (r#"["background", "a"]"#, "expected an object"),
        ] {
            let error = classes(labels).expect_err("refused");
            assert!(error.starts_with("data/dataset.json: ") && error.contains(words), "{error}");
            assert!(error.ends_with("data.labels in the configuration declares classes instead"), "{error}");
        }
    }
}
