//! Repairs of a prediction: components apart from the organ are removed, holes in it are filled.
//!
//! Of regions, each is repaired by itself, in the order of painting, and then all are painted again: a crumb of the tumour's core
//! becomes what the regions around it are, and a hole that another region fills is none.

use super::components::{components, fill_holes, keep, largest};
use crate::data::{Decision, LabelMap, Target};
use serde::{Deserialize, Serialize};

/// Which repairs are made; none by default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PostProcessing {
    /// First of all, only the largest component of the whole foreground is kept, whatever its classes are.
    pub largest_foreground: bool,
    /// Repairs of each foreground class or region, in the order of the network's outputs. A single entry holds for all of
    /// them; without an entry there are none.
    pub repairs: Vec<Repair>,
}

/// Repairs of one class or region, in this order; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// Only the largest component is kept; the rest becomes background. Voxels are connected by faces, edges and corners (26
    /// neighbours), as in nnU-Net and MONAI. Of two components of equal size the first in memory stays.
    pub largest_component: bool,
    /// Components below this size become background.
    pub smallest: Option<Size>,
    /// Background that the class encloses becomes this class. Background voxels are connected by faces (6 neighbours),
    /// and those at the volume's border are outside, as in scipy's `binary_fill_holes`. Another class inside a hole
    /// stays.
    pub fill_holes: bool,
}

/// A size of components.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// A number of voxels of the file's grid.
    Voxels(u64),
    /// A volume in mm³.
    Mm3(f64),
}

impl Size {
    /// Whether so many voxels of a volume in mm³ each are at least this large.
    fn is_reached(self, voxels: u64, voxel_mm3: f64) -> bool {
        match self {
            Self::Voxels(least) => voxels >= least,
            Self::Mm3(least) => voxels as f64 * voxel_mm3 >= least,
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Voxels(voxels) => write!(formatter, "{voxels} voxels"),
            Self::Mm3(mm3) => write!(formatter, "{mm3} mm3"),
        }
    }
}

impl Repair {
    /// Only the largest component.
    pub const LARGEST: Self = Self { largest_component: true, smallest: None, fill_holes: false };

    /// Repairs the voxels of `class`, each of `voxel_mm3`; a hole is filled where `fills` says so.
    fn apply(self, voxels: &mut [u16], (extents, voxel_mm3): Shape, class: u16, fills: impl Fn(usize) -> bool) {
        if self.largest_component || self.smallest.is_some() {
            let mut found = components(extents, |voxel| voxels[voxel] == class);
            if self.largest_component {
                let largest = largest(&found);
                found.retain(|(_, first)| Some(*first) == largest);
            }
            if let Some(smallest) = self.smallest {
                found.retain(|(size, _)| smallest.is_reached(*size, voxel_mm3));
            }
            keep(voxels, extents, |label| label == class, found.into_iter().map(|(_, first)| first));
        }
        if self.fill_holes {
            fill_holes(voxels, extents, class, fills);
        }
    }
}

/// Extents x, y, z of a volume, and the volume of a voxel in mm³.
type Shape = ([usize; 3], f64);

impl PostProcessing {
    /// The same repairs of every class or region.
    pub fn of_all(repair: Repair) -> Self {
        Self { largest_foreground: false, repairs: vec![repair] }
    }

    /// Whether no label map is changed.
    pub fn is_none(&self) -> bool {
        !self.largest_foreground && self.repairs.iter().all(|repair| *repair == Repair::default())
    }

    /// The repairs of the class or region of this number, from 0.
    pub fn repair(&self, target: usize) -> Repair {
        match self.repairs[..] {
            [of_all] => of_all,
            _ => self.repairs.get(target).copied().unwrap_or_default(),
        }
    }

    /// Repairs a label map of classes that were decided so: each class, or each region of `targets`.
    pub fn apply_to(&self, targets: &[Target], decision: &Decision, labels: &mut LabelMap) {
        let Decision::Painted(painted) = decision else { return self.apply(labels) };
        if self.is_none() {
            return;
        }
        let shape = self.foreground(labels);
        let decided = &labels.voxels;
        let found = |target: &Target| decided.iter().map(|&class| u16::from(target.contains(class))).collect();
        let mut regions: Vec<Vec<u16>> = targets.iter().map(found).collect();
        for (number, region) in regions.iter_mut().enumerate() {
            self.repair(number).apply(region, shape, 1, |voxel| decided[voxel] == 0);
        }
        labels.voxels.fill(0);
        for (region, &class) in regions.iter().zip(painted) {
            let inside = labels.voxels.iter_mut().zip(region).filter(|(_, inside)| **inside == 1);
            inside.for_each(|(label, _)| *label = class);
        }
    }

    /// Repairs a label map of classes, in ascending order.
    pub fn apply(&self, labels: &mut LabelMap) {
        let shape = self.foreground(labels);
        if self.repairs.iter().all(|repair| *repair == Repair::default()) {
            return;
        }
        let mut occurs = vec![false; usize::from(u16::MAX) + 1];
        labels.voxels.iter().for_each(|&class| occurs[usize::from(class)] = true);
        for class in (1..=u16::MAX).filter(|&class| occurs[usize::from(class)]) {
            self.repair(usize::from(class) - 1).apply(&mut labels.voxels, shape, class, |_| true);
        }
    }

    /// Repairs the foreground as a whole.
    fn foreground(&self, labels: &mut LabelMap) -> Shape {
        let extents = labels.grid.extents;
        if self.largest_foreground {
            let first = largest(&components(extents, |voxel| labels.voxels[voxel] > 0));
            keep(&mut labels.voxels, extents, |label| label > 0, first);
        }
        (extents, labels.grid.spacing.iter().product())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Grid;
    use proptest::prelude::*;

    fn map(extents: [usize; 3], voxels: Vec<u16>) -> LabelMap {
        LabelMap { grid: Grid::axis_aligned(extents, [1.0; 3]), voxels }
    }

    fn largest() -> PostProcessing {
        PostProcessing::of_all(Repair::LARGEST)
    }

    fn holes() -> PostProcessing {
        PostProcessing::of_all(Repair { fill_holes: true, ..Repair::default() })
    }

    fn both() -> PostProcessing {
        PostProcessing::of_all(Repair { fill_holes: true, ..Repair::LARGEST })
    }

    #[test]
    fn crumbs_go_class_by_class() {
        // Two slices of 5 x 2; the ones touch over a corner between the slices, the twos are two and one.
        #[rustfmt::skip]
        let mut labels = map([5, 2, 2], vec![
            1, 0, 0, 2, 2,
            0, 0, 0, 0, 0,

            0, 0, 0, 0, 0,
            2, 1, 0, 0, 1,
        ]);
        largest().apply(&mut labels);
        #[rustfmt::skip]
        let expected = vec![
            1, 0, 0, 2, 2,
            0, 0, 0, 0, 0,

            0, 0, 0, 0, 0,
            0, 1, 0, 0, 0,
        ];
        assert_eq!(labels.voxels, expected);
        let before = labels.clone();
        PostProcessing::default().apply(&mut labels);
        assert_eq!(labels, before);
    }

    /// A 5 x 5 x 3 block of ones with its middle voxel, and one way out of it, taken away.
    fn hollow(way_out: &[[usize; 3]], middle: u16) -> LabelMap {
        let mut labels = map([5, 5, 3], vec![1; 75]);
        labels.voxels[(5 + 2) * 5 + 2] = middle;
        for [x, y, z] in way_out {
            labels.voxels[(z * 5 + y) * 5 + x] = 0;
        }
        labels
    }

    #[test]
    fn holes_are_what_faces_do_not_connect_to_the_outside() {
        let mut closed = hollow(&[], 0);
        holes().apply(&mut closed);
        assert_eq!(closed.voxels, [1; 75]);
        // Over a corner there is no way out, over faces there is.
        let mut corner = hollow(&[[1, 1, 0]], 0);
        holes().apply(&mut corner);
        assert_eq!(corner, hollow(&[[1, 1, 0]], 1));
        let mut open = hollow(&[[2, 2, 0]], 0);
        holes().apply(&mut open);
        assert_eq!(open, hollow(&[[2, 2, 0]], 0));
        // Another class within is no hole.
        let mut core = hollow(&[], 2);
        both().apply(&mut core);
        assert_eq!(core, hollow(&[], 2));
    }

    /// A tumour along x with a core; a crumb of the core lies in the tumour, a crumb of the tumour with core outside.
    #[test]
    fn regions_are_repaired_one_by_one_and_painted_again() {
        let target =
            |name: &str, value, classes: &[u16]| Target { name: name.into(), value, classes: classes.to_vec() };
        let targets = [target("whole", 1, &[1, 2]), target("core", 2, &[2])];
        let decision = Decision::Painted(vec![1, 2]);
        let mut labels = map([12, 1, 1], vec![1, 2, 2, 2, 1, 2, 1, 0, 0, 2, 1, 0]);
        largest().apply_to(&targets, &decision, &mut labels);
        assert_eq!(labels.voxels, [1, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0]);
        // Class by class, as without regions, the tumour would lose its smaller end.
        // A hole of background in the core is filled, one that the tumour fills stays.
        let mut hollow = hollow(&[], 0);
        hollow.voxels.iter_mut().filter(|label| **label == 1).for_each(|label| *label = 2);
        let mut filled = hollow.clone();
        filled.voxels[(5 + 2) * 5 + 2] = 2;
        holes().apply_to(&targets, &decision, &mut hollow);
        assert_eq!(hollow, filled);
        let mut ring = filled.clone();
        ring.voxels[(5 + 2) * 5 + 2] = 1;
        let before = ring.clone();
        both().apply_to(&targets, &decision, &mut ring);
        assert_eq!(ring, before);
    }

    #[test]
    fn a_smallest_size_keeps_all_components_that_reach_it() {
        // Ones of 3, 1 and 2 voxels, twos of 1 and 1.
        let before = vec![1, 1, 1, 0, 1, 0, 2, 0, 1, 1, 0, 2];
        let repaired = |smallest, spacing| {
            let repair = Repair { smallest: Some(smallest), ..Repair::default() };
            let mut labels = LabelMap { grid: Grid::axis_aligned([12, 1, 1], spacing), voxels: before.clone() };
            PostProcessing { repairs: vec![repair, Repair::default()], ..Default::default() }.apply(&mut labels);
            labels.voxels
        };
        let two = vec![1, 1, 1, 0, 0, 0, 2, 0, 1, 1, 0, 2];
        assert_eq!(repaired(Size::Voxels(2), [1.0; 3]), two);
        assert_eq!(repaired(Size::Voxels(1), [1.0; 3]), before);
        assert_eq!(repaired(Size::Voxels(4), [1.0; 3]), [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2]);
        // 2 voxels of 0.5 x 2 x 4 mm are 8 mm3.
        assert_eq!(repaired(Size::Mm3(8.0), [0.5, 2.0, 4.0]), two);
        assert_eq!(repaired(Size::Mm3(8.1), [0.5, 2.0, 4.0]), [1, 1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn the_whole_foreground_has_components_of_several_classes() {
        let mut labels = map([9, 1, 1], vec![1, 2, 2, 0, 1, 1, 0, 2, 0]);
        let foreground = PostProcessing { largest_foreground: true, repairs: Vec::new() };
        foreground.apply(&mut labels);
        assert_eq!(labels.voxels, [1, 2, 2, 0, 0, 0, 0, 0, 0]);
        assert!(!foreground.is_none() && PostProcessing::of_all(Repair::default()).is_none());
    }

    proptest! {
        #[test]
        fn one_component_and_no_hole_remain(
            extents in proptest::array::uniform3(1usize..6),
            seed in proptest::collection::vec(0u16..3, 125),
        ) {
            let mut labels = map(extents, seed[..extents.iter().product()].to_vec());
            both().apply(&mut labels);
            for class in [1, 2] {
                prop_assert!(components(extents, |voxel| labels.voxels[voxel] == class).len() <= 1);
            }
            let mut again = labels.clone();
            largest().apply(&mut again);
            prop_assert_eq!(&again, &labels);
        }
    }
}
