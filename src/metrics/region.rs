//! Parts of an organ.
//!
//! They follow PROMISE12 (Litjens et al. 2014, Med Image Anal 18:359): the slices that hold the reference are cut
//! into three approximately equal parts along z; the caudal third is the apex, the cranial third the base. Both label
//! maps are cut at the same planes and scored as volumes of their own, so the cut is part of both surfaces. This needs
//! z to point to the head, as in volumes brought to RAS+.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A part of the organ that is scored by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// The whole volume.
    Whole,
    /// The caudal third of the reference's slices.
    Apex,
    /// The cranial third of the reference's slices.
    Base,
}

impl Region {
    /// Every region, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Apex, Self::Base];

    /// Name in files and tables.
    pub fn key(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Apex => "apex",
            Self::Base => "base",
        }
    }

    /// The region's slices, when `reference` slices along z hold the class, out of `depth`.
    ///
    /// A third of n slices is n / 3 rounded to the nearest, at least one, so that apex and base are equally thick.
    pub(super) fn slices(self, reference: &Range<usize>, depth: usize) -> Range<usize> {
        let third = if reference.is_empty() { 0 } else { ((reference.len() + 1) / 3).max(1) };
        match self {
            Self::Whole => 0..depth,
            Self::Apex => reference.start..reference.start + third,
            Self::Base => reference.end - third..reference.end,
        }
    }
}
