//! What a score needs besides the label maps: tolerances, and when a lesion counts as found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Tolerances of surface Dice and the threshold of lesions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Criteria {
    /// Tolerance of surface Dice in mm, of classes without one of their own.
    pub tolerance_mm: f64,
    /// Tolerances in mm of classes, by name or by value in the label maps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tolerances_mm: BTreeMap<String, f64>,
    /// A predicted component is a lesion that was found from this IoU with one of the reference on.
    pub lesion_iou: f64,
}

impl Criteria {
    /// 1 mm for every class: the voxel of most research scans, and the tolerance of the Decathlon's hippocampus (Antonelli et al.
    /// 2022, Nat Commun 13:4128, whose other tasks have 2 to 7 mm). An IoU of 0.5: then no component can be matched twice.
    pub const DEFAULT: Self = Self { tolerance_mm: 1.0, tolerances_mm: BTreeMap::new(), lesion_iou: 0.5 };

    /// Tolerance in mm of a class with this value and name.
    pub fn tolerance_of(&self, value: u16, name: &str) -> f64 {
        let own = self.tolerances_mm.get(name).or_else(|| self.tolerances_mm.get(&value.to_string()));
        own.copied().unwrap_or(self.tolerance_mm)
    }

    /// The first of the names in `tolerances_mm` that none of these classes has.
    pub fn stranger<'a>(&'a self, classes: &[(u16, String)]) -> Option<&'a str> {
        let known = |key: &str| classes.iter().any(|(value, name)| name == key || value.to_string() == key);
        self.tolerances_mm.keys().map(String::as_str).find(|key| !known(key))
    }
}

impl Default for Criteria {
    fn default() -> Self {
        Self::DEFAULT
    }
}
