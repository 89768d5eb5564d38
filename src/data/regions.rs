//! Regions: sets of label values that may overlap, as the whole tumour, its core and what of it enhances.
//!
//! They are nnU-Net's (Isensee et al. 2019, *nnU-Net for Brain Tumor Segmentation*): a network has a sigmoid for each, and label
//! maps, which have one value for each voxel, are painted region by region ([`Decision`](super::Decision)).

use std::collections::BTreeSet;

use super::Classes;
use super::classes::NamedValues;

/// Regions of a network, at most: bits of a label on the device, of which the last says that a voxel is ignored.
pub const MOST_REGIONS: usize = 31;

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Its label values. The first is painted where the region is found.
    pub values: Vec<u16>,
}

/// What is scored: a foreground class, or a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// The value that is written for it.
    pub value: u16,
    /// The classes that it is made of.
    pub classes: Vec<u16>,
}

impl Target {
    /// Whether a class is part of it.
    pub fn contains(&self, class: u16) -> bool {
        self.classes.contains(&class)
    }
}

impl Region {
    /// As it is scored. `classes` have its values.
    pub(super) fn target(&self, classes: &Classes) -> Target {
        let numbers: BTreeSet<u16> = self.values.iter().filter_map(|&value| classes.class_of(value)).collect();
        Target { name: self.name.clone(), value: self.values[0], classes: numbers.into_iter().collect() }
    }
}

/// What is wrong with regions above classes, in words that begin with "expected".
pub(super) fn check(regions: &[Region], classes: &Classes) -> Result<(), String> {
    if !(1..=MOST_REGIONS).contains(&regions.len()) {
        return Err(format!("expected 1 to {MOST_REGIONS} regions ({} are there)", regions.len()));
    }
    let mut names = BTreeSet::new();
    for Region { name, values } in regions {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(format!("expected a name for every region ({name:?} is none)"));
        }
        if !names.insert(name) {
            return Err(format!("expected one entry for each region ({name} has two)"));
        }
        if values.is_empty() {
            return Err(format!("expected at least one label value for each region ({name} has none)"));
        }
        if values.iter().collect::<BTreeSet<_>>().len() < values.len() {
            return Err(format!("expected each label value of a region once ({name} has one twice)"));
        }
        values.iter().try_for_each(|value| check_value(name, values, *value, classes))?;
    }
    check_painting(regions)
}

/// A value of a region is that of a foreground class, all of which is in the region.
fn check_value(name: &str, values: &[u16], value: u16, classes: &Classes) -> Result<(), String> {
    let class = match classes.class_of(value) {
        None => return Err(format!("expected label values of classes ({value} of {name} is that of none)")),
        Some(0) => return Err(format!("expected regions without background ({value} of {name} is its value)")),
        Some(class) => class,
    };
    match classes.values_of(class).iter().find(|other| !values.contains(other)) {
        None => Ok(()),
        Some(missing) => {
            Err(format!("expected all values of a class in a region, or none ({name} has {value} without {missing})"))
        }
    }
}

/// What is painted first must not be covered whole: then no label map could say that it is there.
fn check_painting(regions: &[Region]) -> Result<(), String> {
    for (at, region) in regions.iter().enumerate() {
        let painted = region.values[0];
        if let Some(later) = regions[at + 1..].iter().find(|later| later.values.contains(&painted)) {
            let (name, later) = (&region.name, &later.name);
            return Err(format!(
                "expected regions painted from the outermost to the innermost ({painted}, painted for {name}, is a value of \
                 {later}, which is painted later)"
            ));
        }
    }
    Ok(())
}

/// Regions of a table in the order in which they are painted: that of `order`, which has the first value of each. Without an
/// order, regions of more values come first, and of equally many the one with the lower first value.
///
/// # Errors
/// What was expected of the order.
pub(crate) fn ordered(table: &NamedValues, order: &[u16]) -> Result<Vec<Region>, String> {
    let region = |(name, values): (&String, &super::classes::Values)| Region {
        name: name.clone(),
        values: values.list().to_vec(),
    };
    let mut regions: Vec<Region> = table.iter().map(region).collect();
    if let Some(Region { name, .. }) = regions.iter().find(|region| region.values.is_empty()) {
        return Err(format!("expected at least one label value for each region ({name} has none)"));
    }
    if order.is_empty() {
        regions.sort_by_key(|region| (usize::MAX - region.values.len(), region.values[0]));
        return Ok(regions);
    }
    let mut in_order = Vec::new();
    for value in order {
        match regions.iter().position(|region| region.values[0] == *value) {
            Some(at) => in_order.push(regions.swap_remove(at)),
            None => return Err(wrong_order(table)),
        }
    }
    if regions.is_empty() { Ok(in_order) } else { Err(wrong_order(table)) }
}

fn wrong_order(table: &NamedValues) -> String {
    let first = table.iter().map(|(name, values)| format!("{} of {name}", values.list()[0])).collect::<Vec<_>>();
    format!("expected the first value of each region once, in the order of painting ({})", first.join(", "))
}

/// A table of regions, and the first value of each in the order in which they are painted.
pub(crate) fn written(regions: &[Region]) -> (NamedValues, Vec<u16>) {
    let entry = |region: &Region| (region.name.clone(), region.values.clone().into());
    (regions.iter().map(entry).collect(), regions.iter().map(|region| region.values[0]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Decision;

    fn table(entries: &[(&str, &[u16])]) -> NamedValues {
        entries.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec().into())).collect()
    }

    const TUMOUR: &[(&str, &[u16])] = &[("core", &[2, 3]), ("enhancing", &[3]), ("whole", &[1, 2, 3])];

    fn classes(entries: &[(&str, &[u16])], order: &[u16]) -> Result<Classes, String> {
        Classes::of_regions(0, ordered(&table(entries), order)?)
    }

    #[test]
    fn regions_are_painted_from_the_outermost_to_the_innermost() {
        let tumour = classes(TUMOUR, &[]).expect("regions");
        assert_eq!(tumour, classes(TUMOUR, &[1, 2, 3]).expect("regions"));
        let names: Vec<&str> = tumour.regions().iter().map(|region| region.name.as_str()).collect();
        assert_eq!(names, ["whole", "core", "enhancing"]);
        assert_eq!((tumour.count(), tumour.outputs()), (4, 3));
        assert_eq!(tumour.decision(), Decision::Painted(vec![1, 2, 3]));
        // Bit 0: whole, bit 1: core, bit 2: enhancing.
        assert_eq!(tumour.device_labels(), [0, 0b001, 0b011, 0b111]);
        let targets = tumour.targets();
        assert_eq!(targets[1], Target { name: "core".to_owned(), value: 2, classes: vec![2, 3] });
        assert!(targets[0].contains(1) && !targets[2].contains(1));
        assert_eq!(tumour.describe(), "0 to 3; regions whole = 1, 2, 3, core = 2, 3, enhancing = 3");
    }

    #[test]
    fn files_have_them_with_their_order() {
        let tumour = classes(TUMOUR, &[]).expect("regions").ignoring(&[9, 4]).expect("no class");
        let text = serde_json::to_string(&tumour).expect("JSON");
        let expected = r#"{"classes":{"background":0,"class 1":1,"class 2":2,"class 3":3},"ignore":[4,9],"regions":{"core":[2,3],"enhancing":3,"whole":[1,2,3]},"regions_order":[1,2,3]}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Classes>(&text).expect("classes"), tumour);
        let wrong = text.replace("\"regions_order\":[1,2,3]", "\"regions_order\":[3,2,1]");
        let error = serde_json::from_str::<Classes>(&wrong).expect_err("covered").to_string();
        assert!(error.contains("3, painted for enhancing, is a value of core"), "{error}");
    }

    #[test]
    fn contradictions_are_said() {
        for (entries, order, words) in [
            (TUMOUR, &[3, 2, 1][..], "(3, painted for enhancing, is a value of core, which is painted later)"),
            (
                TUMOUR,
                &[1, 2],
                "the first value of each region once, in the order of painting (2 of core, 3 of enhancing, 1",
            ),
            (TUMOUR, &[1, 2, 2], "the first value of each region once"),
            (TUMOUR, &[1, 2, 3, 3], "the first value of each region once"),
            (&[("a", &[1, 2]), ("b", &[])], &[], "b has none"),
            (&[("a", &[1, 2]), ("b", &[2, 2])], &[], "b has one twice"),
            (&[("a", &[0, 2])], &[], "expected regions without background (0 of a is its value)"),
            (&[("", &[1, 2])], &[], "a name for every region"),
            // Each covers the other.
            (&[("a", &[1, 2]), ("b", &[2, 1])], &[], "1, painted for a, is a value of b"),
        ] {
            let error = classes(entries, order).expect_err(words);
            assert!(error.starts_with("expected ") && error.contains(words), "{error}");
        }
        let merged = [("tumour".to_owned(), vec![1, 2]), ("cyst".to_owned(), vec![3])];
        let merged = Classes::new(merged).expect("classes");
        let with = |entries| merged.clone().with_regions(ordered(&table(entries), &[]).expect("in order"));
        assert!(with(&[("lesion", &[1, 2, 3]), ("cyst", &[3])]).is_ok());
        let error = with(&[("lesion", &[1, 3])]).expect_err("half a class");
        assert!(error.contains("lesion has 1 without 2"), "{error}");
        assert!(with(&[("lesion", &[1, 2, 9])]).expect_err("no class").contains("9 of lesion is that of none"));
        let many: Vec<Region> =
            (1..33).map(|value| Region { name: format!("r{value}"), values: vec![value] }).collect();
        assert!(Classes::of_regions(0, many).expect_err("too many").contains("1 to 31 regions (32 are there)"));
    }
}
