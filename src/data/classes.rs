//! Classes of a network, and their values in label maps.
//!
//! The values are the data set's own: 0 and 255 of a mask, 17 and 2035 of an atlas. A network numbers its classes 0, 1, 2, …
//! Label maps that were read are numbered by [`Classes::number`] and written by [`Classes::to_values`], so that every file has the
//! values of the data set. Some values may be of no class: their voxels are [ignored](IGNORED). Above classes there may be
//! [regions](Region), which overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::regions::{self, Region, Target};
pub use super::values::Values;
use super::volume::position_of;
use super::{DataError, Decision, LabelMap};

/// Largest number of classes of a network; more of them are a mistake in the labels.
pub(crate) const MOST_CLASSES: usize = 256;

/// Name of the class of voxels without an organ.
pub(crate) const BACKGROUND: &str = "background";

/// What a voxel has in place of a class where it takes no part in loss, sampling, statistics and scores. No class has this
/// number.
pub const IGNORED: u16 = u16::MAX;
/// Classes of a message, and values of one of them.
const DESCRIBED_CLASSES: usize = 12;
const DESCRIBED_VALUES: usize = 6;

/// Marks values without a class in a table of classes; a class is below [`MOST_CLASSES`].
const UNDECLARED: u16 = u16::MAX - 1;

/// The classes of a data set with their names and values, background first, the others by the value that is written.
///
/// In files a table of names with one value, or several that are one class: `prostate = 255`, `tumour = [2, 3]`,
/// `cortex = ["1000-1999", 2035]`. The first value is the one that is written. Background is the class of that name, else the class of value 0, else 0.
///
/// ```
/// use vnet_engine::data::Classes;
///
/// let classes = Classes::new([("prostate".to_owned(), vec![255]), ("tumour".to_owned(), vec![2, 3])])?;
/// assert_eq!(classes.names(), ["background", "tumour", "prostate"]);
/// let mut voxels = [0, 255, 3, 2];
/// classes.to_classes(&mut voxels).expect("declared values");
/// assert_eq!(voxels, [0, 2, 1, 1]);
/// classes.to_values(&mut voxels);
/// assert_eq!(voxels, [0, 255, 2, 2]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "Written")]
pub struct Classes {
    /// Empty where only the values that are ignored are known yet.
    classes: Vec<Class>,
    /// Each value with its class, by value.
    by_value: Vec<(u16, u16)>,
    /// Values without a class, ascending.
    ignored: Vec<u16>,
    /// In the order in which they are painted; empty where the classes themselves are learnt.
    regions: Vec<Region>,
}

/// A class and its values, of which the first is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    name: String,
    values: Vec<u16>,
}

/// Names with their values.
pub type NamedValues = BTreeMap<String, Values>;

/// Classes in a file: a table of names, or, where values are ignored or there are regions, the parts by themselves.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Written {
    Table(NamedValues),
    Parts(Parts),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    classes: NamedValues,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ignore: Vec<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    regions: NamedValues,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    regions_order: Vec<u16>,
}

impl Classes {
    /// Of names and values, in any order.
    ///
    /// # Errors
    /// What was expected: values, each in one class, and 2 to 256 classes, background included.
    pub fn new(entries: impl IntoIterator<Item = (String, Vec<u16>)>) -> Result<Classes, String> {
        let mut classes: Vec<Class> = entries.into_iter().map(|(name, values)| Class { name, values }).collect();
        let mut seen: BTreeMap<u16, &str> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for Class { name, values } in &classes {
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(format!("expected a name for every class ({name:?} is none)"));
            }
            if !names.insert(name) {
                return Err(format!("expected one entry for each class ({name} has two)"));
            }
            if values.is_empty() {
                return Err(format!("expected at least one label value for each class ({name} has none)"));
            }
            for value in values {
                if let Some(other) = seen.insert(*value, name) {
                    return Err(format!("expected each label value once ({value} is in {other} and in {name})"));
                }
            }
        }
        let named = classes.iter().position(|class| class.name == BACKGROUND);
        let background = match named.or_else(|| classes.iter().position(|class| class.values.contains(&0))) {
            Some(at) => classes.remove(at),
            None => Class { name: BACKGROUND.to_owned(), values: vec![0] },
        };
        classes.sort_by_key(|class| class.values[0]);
        classes.insert(0, background);
        if !(2..=MOST_CLASSES).contains(&classes.len()) {
            return Err(format!(
                "expected 2 to {MOST_CLASSES} classes, background included ({} are there)",
                classes.len()
            ));
        }
        Ok(Classes::of(classes))
    }

    fn of(classes: Vec<Class>) -> Classes {
        let values = |(number, class): (u16, &Class)| class.values.iter().map(move |&value| (value, number)).collect();
        let mut by_value: Vec<(u16, u16)> = (0..).zip(&classes).flat_map::<Vec<_>, _>(values).collect();
        by_value.sort_unstable();
        Classes { classes, by_value, ignored: Vec::new(), regions: Vec::new() }
    }

    /// Classes that are not known yet, of which the data set says more or the labels prove them.
    pub fn unknown() -> Classes {
        Classes::of(Vec::new())
    }

    /// Whether only the values that are ignored are known.
    pub fn are_unknown(&self) -> bool {
        self.classes.is_empty()
    }

    /// The classes of regions: every value of a region is one, and `background` is another.
    ///
    /// # Errors
    /// As [`Classes::new`] and [`Classes::with_regions`].
    pub fn of_regions(background: u16, regions: Vec<Region>) -> Result<Classes, String> {
        let values: BTreeSet<u16> = regions.iter().flat_map(|region| region.values.iter().copied()).collect();
        let class = |value: u16| (format!("class {value}"), vec![value]);
        let named = (BACKGROUND.to_owned(), vec![background]);
        let foreground = values.into_iter().filter(|value| *value != background).map(class);
        Classes::new(std::iter::once(named).chain(foreground))?.with_regions(regions)
    }

    /// The same classes, without a say for voxels of more values.
    ///
    /// # Errors
    /// What was expected: values that no class has.
    pub fn ignoring(mut self, values: &[u16]) -> Result<Classes, String> {
        for value in values {
            if let Some(class) = self.class_of(*value) {
                let name = &self.classes[usize::from(class)].name;
                return Err(format!("expected label values that no class has ({value} is that of {name})"));
            }
        }
        self.ignored.extend(values);
        self.ignored.sort_unstable();
        self.ignored.dedup();
        Ok(self)
    }

    /// The same classes below regions, which are learnt in place of them. Regions are in the order in which they are
    /// painted: see [`Decision`].
    ///
    /// # Errors
    /// What was expected: 1 to 31 regions of one or more foreground classes each, whose values are painted in an order in
    /// which every region stays visible.
    pub fn with_regions(self, regions: Vec<Region>) -> Result<Classes, String> {
        regions::check(&regions, &self)?;
        Ok(Classes { regions, ..self })
    }

    /// `count` classes, at least one, whose values are their numbers: `background`, `class 1`, `class 2`, …
    pub fn numbered(count: usize) -> Classes {
        let name = |value: u16| if value == 0 { BACKGROUND.to_owned() } else { format!("class {value}") };
        let of = |value: u16| Class { name: name(value), values: vec![value] };
        Classes::of((0..=u16::MAX).take(count.max(1)).map(of).collect())
    }

    /// The values without a class, ascending.
    pub fn ignored(&self) -> &[u16] {
        &self.ignored
    }

    /// The regions, in the order in which they are painted; empty where the classes themselves are learnt.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Number of outputs of a network: classes, background included, or regions.
    pub fn outputs(&self) -> usize {
        if self.regions.is_empty() { self.count() } else { self.regions.len() }
    }

    /// What is scored, with the classes that it is made of: the foreground classes, or the regions.
    pub fn targets(&self) -> Vec<Target> {
        if self.regions.is_empty() {
            let target = |(class, of): (u16, &Class)| Target {
                name: of.name.clone(),
                value: of.values[0],
                classes: vec![class],
            };
            return (0..).zip(&self.classes).skip(1).map(target).collect();
        }
        self.regions.iter().map(|region| region.target(self)).collect()
    }

    /// How the outputs of a network become one class for each voxel.
    pub fn decision(&self) -> Decision {
        if self.regions.is_empty() {
            return Decision::Largest(self.count());
        }
        let painted = |region: &Region| self.class_of(region.values[0]).expect("regions were checked");
        Decision::Painted(self.regions.iter().map(painted).collect())
    }

    /// For each class its label on the device: its number, or with regions a mask whose bit r says that it is part of region r.
    /// Voxels that are ignored have the label [`u32::MAX`] there.
    pub fn device_labels(&self) -> Vec<u32> {
        if self.regions.is_empty() {
            return (0..).take(self.count()).collect();
        }
        let bit = |of: &Class| {
            let within = |(_, region): &(u32, &Region)| region.values.contains(&of.values[0]);
            (0..).zip(&self.regions).filter(within).fold(0, |mask, (region, _)| mask | 1u32 << region)
        };
        self.classes.iter().map(bit).collect()
    }

    /// The table of a file: names with their values.
    pub fn table(&self) -> NamedValues {
        self.classes.iter().map(|class| (class.name.clone(), class.values.clone().into())).collect()
    }

    /// Number of classes, background included.
    pub fn count(&self) -> usize {
        self.classes.len()
    }

    /// Names, background first.
    pub fn names(&self) -> Vec<String> {
        self.classes.iter().map(|class| class.name.clone()).collect()
    }

    /// The value that is written for each class, background first.
    pub fn written(&self) -> Vec<u16> {
        self.classes.iter().map(|class| class.values[0]).collect()
    }

    /// The foreground classes: value that is written, and name.
    pub fn foreground(&self) -> Vec<(u16, String)> {
        self.classes[1..].iter().map(|class| (class.values[0], class.name.clone())).collect()
    }

    /// The class of a value; none if the value is not declared.
    pub fn class_of(&self, value: u16) -> Option<u16> {
        let at = self.by_value.binary_search_by_key(&value, |(value, _)| *value).ok()?;
        Some(self.by_value[at].1)
    }

    /// The values of a class.
    ///
    /// # Panics
    /// If there is no such class.
    pub(super) fn values_of(&self, class: u16) -> &[u16] {
        &self.classes[usize::from(class)].values
    }

    /// True if every value is the number of its class, none is ignored, and there are no regions.
    pub fn is_identity(&self) -> bool {
        let more = !(self.ignored.is_empty() && self.regions.is_empty());
        !more && (0..).zip(&self.classes).all(|(number, class)| class.values == [number])
    }

    /// Replaces the values of a label map by classes, those without a class by [`IGNORED`].
    ///
    /// # Errors
    /// Index and value of the first voxel whose value is not declared; the voxels before it have been replaced.
    pub fn to_classes(&self, voxels: &mut [u16]) -> Result<(), (usize, u16)> {
        let mut table = vec![UNDECLARED; usize::from(u16::MAX) + 1];
        self.ignored.iter().for_each(|&value| table[usize::from(value)] = IGNORED);
        for (number, class) in (0..).zip(&self.classes) {
            class.values.iter().for_each(|&value| table[usize::from(value)] = number);
        }
        for (at, voxel) in voxels.iter_mut().enumerate() {
            match table[usize::from(*voxel)] {
                UNDECLARED => return Err((at, *voxel)),
                class => *voxel = class,
            }
        }
        Ok(())
    }

    /// As [`Classes::to_classes`], of a label map that was read from `path`.
    ///
    /// # Errors
    /// [`DataError::Unusable`].
    pub fn number(&self, path: &Path, map: &mut LabelMap) -> Result<(), DataError> {
        let extents = map.grid.extents;
        self.to_classes(&mut map.voxels).map_err(|(at, value)| self.undeclared(path, value, position_of(at, extents)))
    }

    /// The error of a voxel x, y, z of a file whose value is not declared.
    pub(super) fn undeclared(&self, path: &Path, value: u16, at: [usize; 3]) -> DataError {
        let problem = format!("voxel x, y, z = {at:?} has the label value {value}, expected {}", self.describe());
        DataError::unusable(path, problem)
    }

    /// Replaces the classes of a label map by the values that are written for them.
    ///
    /// # Panics
    /// If a class is not one of these.
    pub fn to_values(&self, voxels: &mut [u16]) {
        let written = self.written();
        voxels.iter_mut().for_each(|voxel| *voxel = written[usize::from(*voxel)]);
    }

    /// The values for a message: `0 to 2`, or `0 (background), 2, 3 (tumour), 255 (prostate)`; of many classes, and of many
    /// values of one, the first.
    pub fn describe(&self) -> String {
        let list = |values: &[u16]| first_of(values.len(), DESCRIBED_VALUES, |at| values[at].to_string());
        let of = |at: usize| format!("{} ({})", list(&self.classes[at].values), self.classes[at].name);
        let mut text = match self.classes == Classes::numbered(self.count()).classes {
            true => format!("0 to {}", self.count() - 1),
            false => first_of(self.count(), DESCRIBED_CLASSES, of),
        };
        if !self.ignored.is_empty() {
            text += &format!(", {} (ignored)", list(&self.ignored));
        }
        let region = |region: &Region| format!("{} = {}", region.name, list(&region.values));
        if !self.regions.is_empty() {
            let regions = first_of(self.regions.len(), DESCRIBED_CLASSES, |at| region(&self.regions[at]));
            text += &format!("; regions {regions}");
        }
        text
    }
}

/// The first `shown` of `count` texts, and how many others there are.
pub(super) fn first_of(count: usize, shown: usize, text: impl Fn(usize) -> String) -> String {
    let list = |count: usize| (0..count).map(&text).collect::<Vec<_>>().join(", ");
    if count <= shown { list(count) } else { format!("{} and {} more", list(shown), count - shown) }
}

impl TryFrom<NamedValues> for Classes {
    type Error = String;

    fn try_from(table: NamedValues) -> Result<Classes, String> {
        Classes::new(table.into_iter().map(|(name, values)| (name, values.list().to_vec())))
    }
}

impl<'de> Deserialize<'de> for Classes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Classes, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // A class has values, never a table.
        let has_parts = value.get("classes").is_some_and(Value::is_object);
        let read = |value| -> Result<Classes, String> {
            if !has_parts {
                return NamedValues::deserialize(value)
                    .map_err(|error: serde_json::Error| error.to_string())?
                    .try_into();
            }
            let Parts { classes, ignore, regions, regions_order } =
                Parts::deserialize(value).map_err(|error: serde_json::Error| error.to_string())?;
            let classes = Classes::try_from(classes)?.ignoring(&ignore)?;
            if regions.is_empty() {
                return Ok(classes);
            }
            classes.with_regions(regions::ordered(&regions, &regions_order)?)
        };
        read(value).map_err(D::Error::custom)
    }
}

impl From<Classes> for Written {
    fn from(classes: Classes) -> Written {
        let table = classes.table();
        if classes.ignored.is_empty() && classes.regions.is_empty() {
            return Written::Table(table);
        }
        let (regions, regions_order) = regions::written(&classes.regions);
        Written::Parts(Parts { classes: table, ignore: classes.ignored, regions, regions_order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(entries: &[(&str, &[u16])]) -> Result<Classes, String> {
        Classes::new(entries.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec())))
    }

    #[test]
    fn background_is_what_is_named_so_else_what_has_the_value_0() {
        let of = |entries: &[(&str, &[u16])]| classes(entries).expect("classes").describe();
        assert_eq!(of(&[("organ", &[255])]), "0 (background), 255 (organ)");
        assert_eq!(of(&[("organ", &[1]), ("outside", &[7, 0])]), "7, 0 (outside), 1 (organ)");
        assert_eq!(of(&[("organ", &[0]), ("background", &[1])]), "1 (background), 0 (organ)");
        assert_eq!(of(&[("z", &[9, 1]), ("a", &[12]), ("b", &[3])]), "0 (background), 3 (b), 9, 1 (z), 12 (a)");
        assert_eq!(Classes::numbered(3).describe(), "0 to 2");
        assert!(Classes::numbered(3).is_identity());
        assert!(!classes(&[("organ", &[2])]).expect("classes").is_identity());
    }

    #[test]
    fn what_is_no_set_of_classes_is_said() {
        for (entries, words) in [
            (&[("a", &[1u16, 2][..]), ("b", &[2])][..], "2 is in a and in b"),
            (&[("a", &[1, 1])], "1 is in a and in a"),
            (&[("a", &[])], "a has none"),
            (&[("", &[1])], "name"),
            (&[("a", &[1]), ("a", &[2])], "a has two"),
            (&[("background", &[0])], "1 are there"),
            (&[], "1 are there"),
        ] {
            let error = classes(entries).expect_err("no classes");
            assert!(error.starts_with("expected ") && error.contains(words), "{error}");
        }
        let many: Vec<_> = (0..257).map(|value| (format!("c{value}"), vec![value])).collect();
        assert!(Classes::new(many).expect_err("too many").contains("257 are there"));
    }

    #[test]
    fn an_undeclared_value_is_found_and_every_written_value_reads_back_as_its_class() {
        let classes = classes(&[("a", &[2035, 17]), ("b", &[65535])]).expect("classes");
        let mut voxels = [0, 17, 65535, 2035];
        classes.to_classes(&mut voxels).expect("declared");
        assert_eq!(voxels, [0, 1, 2, 1]);
        classes.to_values(&mut voxels);
        assert_eq!(voxels, [0, 2035, 65535, 2035]);
        assert_eq!(classes.to_classes(&mut [0, 2035, 18, 19]), Err((2, 18)));
        assert_eq!((classes.class_of(17), classes.class_of(16)), (Some(1), None));
        let text = serde_json::to_string(&classes).expect("JSON");
        assert_eq!(text, r#"{"a":[2035,17],"b":65535,"background":0}"#);
        assert_eq!(serde_json::from_str::<Classes>(&text).expect("classes"), classes);
        let error = serde_json::from_str::<Classes>(r#"{"a": 70000}"#).expect_err("too large").to_string();
        assert!(error.starts_with("expected for each class a label value from 0 to 65535"), "{error}");
    }

    #[test]
    fn ranges_of_values_are_read_and_written() {
        let text = r#"{"cortex": ["1000-1999", 2035, 7, 8], "white": "3-5", "rest": " 20 - 40 "}"#;
        let classes: Classes = serde_json::from_str(text).expect("classes");
        assert_eq!([1000, 1999, 2035, 8, 4, 40, 2000].map(|value| classes.class_of(value)), {
            let [white, rest, cortex] = [Some(1), Some(2), Some(3)];
            [cortex, cortex, cortex, cortex, white, rest, None]
        });
        let written = serde_json::to_string(&classes).expect("JSON");
        let expected = r#"{"background":0,"cortex":["1000-1999",2035,7,8],"rest":"20-40","white":[3,4,5]}"#;
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_str::<Classes>(&written).expect("classes"), classes);
        for (range, words) in [("5-3", "\"5-3\" is none"), ("1-70000", "is none"), ("x", "is none"), ("-5", "is none")]
        {
            let error = serde_json::from_str::<Classes>(&format!(r#"{{"a": "{range}"}}"#)).expect_err("no range");
            assert!(error.to_string().contains(words), "{error}");
        }
        let error = serde_json::from_str::<Classes>(r#"{"a": "3-9", "b": 9}"#).expect_err("twice").to_string();
        assert!(error.contains("9 is in a and in b"), "{error}");
    }

    /// Every value of 16 bits is of a class, and messages about them stay short.
    #[test]
    fn as_many_values_as_there_are_and_as_many_classes_as_a_network_has() {
        let entries = (0..256u16).map(|class| (format!("class {class}"), (class * 256..=class * 256 + 255).collect()));
        let classes = Classes::new(entries).expect("classes");
        let mut voxels: Vec<u16> = (0..=u16::MAX).collect();
        assert!(voxels.iter().all(|&value| classes.class_of(value) == Some(value / 256)));
        classes.to_classes(&mut voxels).expect("declared");
        assert!((0..=u16::MAX).zip(&voxels).all(|(value, &class)| class == value / 256));
        let text = classes.describe();
        assert!(text.len() < 800 && text.ends_with("and 244 more"), "{text}");
        assert!(text.starts_with("0, 1, 2, 3, 4, 5 and 250 more (class 0), "), "{text}");
    }
}
