//! `dataset.json`, in the form of the Medical Segmentation Decathlon and in that of nnU-Net.

use std::path::Path;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::classes::BACKGROUND;
use super::io::input::read_text;
use super::{Classes, DataError, Region, Warning};

/// Bytes of a `dataset.json`, at most: it may list every file.
const LONGEST_DESCRIPTION: u64 = 1 << 26;

const READER: &str = "overwrite_image_reader_writer is passed over: a file's own format is recognised";

/// Name that nnU-Net reserves for the value of voxels that take no part in training and scores.
const IGNORE: &str = "ignore";

/// The file that describes a data set.
pub(crate) const DESCRIPTION: &str = "dataset.json";

/// What `dataset.json` says of a data set; none where there is no such file.
///
/// # Errors
/// [`DataError`] when the file cannot be read or is not JSON.
pub(crate) fn description(dir: &Path) -> Result<Option<Value>, DataError> {
    read(dir)
}

/// `dataset.json` of a folder, as any type.
fn read<T: serde::de::DeserializeOwned>(dir: &Path) -> Result<Option<T>, DataError> {
    let path = dir.join(DESCRIPTION);
    let text = match read_text(&path, LONGEST_DESCRIPTION) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataError::io(&path, "read")(error)),
    };
    parse(dir, &text).map(Some)
}

fn parse<T: serde::de::DeserializeOwned>(dir: &Path, text: &str) -> Result<T, DataError> {
    let expected = "a JSON object whose \"labels\" map numbers to class names";
    serde_json::from_str(text).map_err(|source| DataError::Json { path: dir.join(DESCRIPTION), source, expected })
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
/// Decathlon, or `{"background": 0, "organ": 1}` as in nnU-Net, with nnU-Net's label `ignore` and its regions (lists of values,
/// and `regions_class_order`). None where there is no such file, or no `labels` in it.
///
/// # Errors
/// [`DataError`] that names the file and the entry.
pub fn declared_classes(dir: &Path) -> Result<Option<Classes>, DataError> {
    description(dir)?.map_or(Ok(None), |description| classes_of(dir, &description))
}

/// As [`declared_classes`], of a description that was read.
pub(super) fn classes_of(dir: &Path, description: &Value) -> Result<Option<Classes>, DataError> {
    classes_in(dir, description, || Ok(read::<Ordered>(dir)?.map(|ordered| ordered.labels).unwrap_or_default()))
}

/// As [`declared_classes`], of the text of the file.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn classes_of_text(dir: &Path, text: &str) -> Result<Option<Classes>, DataError> {
    classes_in(dir, &parse(dir, text)?, || Ok(parse::<Ordered>(dir, text)?.labels))
}

fn classes_in(
    dir: &Path,
    description: &Value,
    names_in_order: impl FnOnce() -> Result<Vec<String>, DataError>,
) -> Result<Option<Classes>, DataError> {
    let labels = match description.get("labels") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(labels)) if labels.is_empty() => return Ok(None),
        Some(Value::Object(labels)) => labels,
        Some(_) => {
            let problem = "key labels: expected an object that maps numbers to class names".to_owned();
            return Err(wrong(dir, problem));
        }
    };
    // As in nnU-Net: a list of one value is that value.
    let has_regions = labels.values().any(|value| value.as_array().is_some_and(|list| list.len() > 1));
    let classes = match has_regions {
        true => regions_of(labels, &names_in_order()?, description.get("regions_class_order")),
        false => plain_of(labels),
    };
    Ok(Some(classes.map_err(|problem| wrong(dir, problem))?))
}

fn wrong(dir: &Path, problem: String) -> DataError {
    let problem = format!("{problem}; data.labels in the configuration declares classes instead");
    DataError::Unusable { path: dir.join(DESCRIPTION), problem }
}

/// Classes, or what is wrong with them.
fn plain_of(labels: &Map<String, Value>) -> Result<Classes, String> {
    let mut ignored = Vec::new();
    let mut entries = Vec::new();
    for (key, value) in labels {
        let (name, values) = entry(key, value)?;
        if name == IGNORE { ignored.extend(values) } else { entries.push((name.to_owned(), values)) }
    }
    let of_labels = |problem: String| format!("key labels: {problem}");
    Classes::new(entries).and_then(|classes| classes.ignoring(&ignored)).map_err(of_labels)
}

/// The classes below nnU-Net's regions, of which `names` has the order, or what is wrong with them.
fn regions_of(labels: &Map<String, Value>, names: &[String], order: Option<&Value>) -> Result<Classes, String> {
    let (mut background, mut ignored, mut regions) = (0, Vec::new(), Vec::new());
    for (key, value) in names.iter().filter_map(|name| labels.get_key_value(name)) {
        let (name, values) = entry(key, value)?;
        match values.as_slice() {
            [_] if name == IGNORE => ignored = values,
            [value] if name == BACKGROUND => background = *value,
            _ if [IGNORE, BACKGROUND].contains(&name) => return Err(format!("labels.{key}: expected one value")),
            [0] => {}
            _ => regions.push(Region { name: name.to_owned(), values }),
        }
    }
    let written = written_values(order, &regions)?;
    for (region, value) in regions.iter_mut().zip(written) {
        let at = region.values.iter().position(|of| *of == value);
        let at = at.ok_or_else(|| {
            let Region { name, values } = &region;
            format!("regions_class_order: {value} stands for {name}, expected one of its values {values:?}")
        })?;
        region.values[..=at].rotate_right(1);
    }
    let of_labels = |problem: String| format!("key labels: {problem}");
    Classes::of_regions(background, regions).and_then(|classes| classes.ignoring(&ignored)).map_err(of_labels)
}

/// The value that is painted for each region.
fn written_values(order: Option<&Value>, regions: &[Region]) -> Result<Vec<u16>, String> {
    let values: Option<Vec<u16>> =
        order.and_then(Value::as_array).and_then(|list| list.iter().map(label_value).collect());
    values.filter(|values| values.len() == regions.len()).ok_or_else(|| {
        let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
        let found = order.map_or_else(|| "is missing".to_owned(), |order| format!("is {order}"));
        format!(
            "regions_class_order {found}: expected a list of {} label values, one to write for each region in their order: {}",
            regions.len(),
            names.join(", ")
        )
    })
}

fn label_value(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|value| u16::try_from(value).ok())
}

/// Name and values of an entry, in either form.
fn entry<'a>(key: &'a str, value: &'a Value) -> Result<(&'a str, Vec<u16>), String> {
    let (name, values) = match value {
        Value::String(name) => (name.as_str(), key.parse().ok().map(|value| vec![value])),
        Value::Array(list) if !list.is_empty() => (key, list.iter().map(label_value).collect()),
        number => (key, label_value(number).map(|value| vec![value])),
    };
    let expected = || format!("labels.{key} = {value}: expected a number from 0 to 65535 and a name");
    Ok((name, values.ok_or_else(expected)?))
}

/// The keys of `labels` of `dataset.json` as they are written: nnU-Net paints regions in this order.
#[derive(serde::Deserialize)]
struct Ordered {
    #[serde(deserialize_with = "keys")]
    labels: Vec<String>,
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut keys = Vec::new();
            while let Some((key, IgnoredAny)) = map.next_entry()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    deserializer.deserialize_map(Keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Decision;

    fn classes(labels: &str) -> Result<Option<Classes>, String> {
        with_order(labels, "null")
    }

    fn with_order(labels: &str, order: &str) -> Result<Option<Classes>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(r#"{{"labels": {labels}, "regions_class_order": {order}}}"#);
        std::fs::write(folder.path().join("dataset.json"), text).expect("written");
        let short = |error: DataError| error.to_string().replace(&folder.path().display().to_string(), "data");
        declared_classes(folder.path()).map_err(short)
    }

    #[test]
    fn both_forms_declare_names_and_values() {
        let of = |labels: &str| classes(labels).expect("classes").expect("labels").describe();
        let expected = "0 (background), 1 (PZ), 2 (TZ)";
        assert_eq!(of(r#"{"0": "background", "2": "TZ", "1": "PZ"}"#), expected);
        assert_eq!(of(r#"{"background": 0, "TZ": 2, "PZ": 1}"#), expected);
        assert_eq!(of(r#"{"background": 0, "TZ": [2], "PZ": 1}"#), expected);
        assert_eq!(of(r#"{"background": 0, "left": 17, "right": 2035}"#), "0 (background), 17 (left), 2035 (right)");
        assert_eq!(classes("{}"), Ok(None));
        assert_eq!(classes("null"), Ok(None));
    }

    /// The examples of nnU-Net's pages on its ignore label and on region-based training.
    #[test]
    fn ignore_and_regions_are_those_of_nnu_net() {
        let ignoring =
            r#"{"background": 0, "edema": 1, "non_enhancing_and_necrosis": 2, "enhancing_tumor": 3, "ignore": 4}"#;
        let found = classes(ignoring).expect("classes").expect("labels");
        assert_eq!((found.count(), found.ignored(), found.regions().len()), (4, &[4][..], 0));
        let mut voxels = [0, 4, 3];
        found.to_classes(&mut voxels).expect("known values");
        assert_eq!(voxels, [0, crate::data::IGNORED, 3]);
        let regions = r#"{"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "enhancing_tumor": 3"#;
        for (end, ignored) in [("}", &[][..]), (r#", "ignore": 4}"#, &[4])] {
            let found = with_order(&format!("{regions}{end}"), "[1, 2, 3]").expect("regions").expect("labels");
            assert_eq!(found.ignored(), ignored);
            assert_eq!(found.decision(), Decision::Painted(vec![1, 2, 3]));
            let names: Vec<String> = found.targets().into_iter().map(|target| target.name).collect();
            assert_eq!(names, ["whole_tumor", "tumor_core", "enhancing_tumor"]);
        }
        // The order of the file counts, not that of the names, and the painted value need not be the first.
        let found = with_order(r#"{"background": 0, "z": [5, 3, 9], "a": [9, 5]}"#, "[3, 9]").expect("regions");
        let found = found.expect("labels");
        assert_eq!(found.regions()[0], Region { name: "z".to_owned(), values: vec![3, 5, 9] });
        // Classes 1, 2, 3 have the values 3, 5, 9.
        assert_eq!(found.decision(), Decision::Painted(vec![1, 3]));
    }

    /// Text that ends early, and keys that come twice.
    #[test]
    fn broken_files_are_errors() {
        let whole =
            r#"{"labels": {"background": 0, "a": [1, 2], "a": [2, 1], "ignore": 3}, "regions_class_order": [1, 2]}"#;
        for end in 0..whole.len() {
            assert!(classes_of_text(Path::new("data"), &whole[..end]).is_err(), "{}", &whole[..end]);
        }
        let twice = classes_of_text(Path::new("data"), whole).expect_err("twice").to_string();
        assert!(twice.contains("expected one entry for each region (a has two)"), "{twice}");
        let deep = format!(r#"{{"labels": {{"a": {}1{}}}}}"#, "[".repeat(1 << 16), "]".repeat(1 << 16));
        assert!(classes_of_text(Path::new("data"), &deep).is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        let regions = r#"{"background": 0, "whole": [1, 2], "core": 2}"#;
        for (labels, order, words) in [
            (regions, "null", "regions_class_order is null: expected a list of 2 label values"),
            (regions, "[1]", "one to write for each region in their order: whole, core"),
            (regions, "[1, 7]", "regions_class_order: 7 stands for core, expected one of its values [2]"),
            (regions, "[2, 2]", "(2, painted for whole, is a value of core, which is painted later)"),
            (r#"{"background": [0, 1], "whole": [1, 2]}"#, "[1]", "labels.background: expected one value"),
            (r#"{"background": 0, "whole": [0, 2]}"#, "[2]", "expected regions without background"),
            (r#"{"background": 0, "whole": [1, 2], "ignore": 2}"#, "[1]", "no class has (2 is that of class 2)"),
            (r#"{"background": 0, "whole": [1, "b"]}"#, "[1]", "labels.whole = [1,\"b\"]: expected a number"),
            (r#"{"background": 0, "a": 1, "ignore": 1}"#, "null", "no class has (1 is that of a)"),
            (r#"{"background": 0, "a": []}"#, "null", "labels.a = []: expected a number from 0 to 65535"),
            (r#"{"background": 0, "a": 70000}"#, "null", "labels.a = 70000: expected a number from 0 to 65535"),
            (r#"{"0": "background", "one": "a"}"#, "null", "labels.one = \"a\": expected a number"),
            (r#"{"background": 0, "a": 1, "b": 1}"#, "null", "1 is in a and in b"),
            (r#"["background", "a"]"#, "null", "expected an object"),
        ] {
            let error = with_order(labels, order).expect_err("refused");
            assert!(error.starts_with("data/dataset.json: ") && error.contains(words), "{error}");
            assert!(error.ends_with("data.labels in the configuration declares classes instead"), "{error}");
        }
    }
}
