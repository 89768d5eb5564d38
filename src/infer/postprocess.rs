//! Repairs of a prediction: components apart from the organ are removed, holes in it are filled.
//!
//! Of regions, each is repaired by itself, in the order of painting, and then all are painted again: a crumb of the tumour's core
//! becomes what the regions around it are, and a hole that another region fills is none.

use crate::data::{Decision, LabelMap, Target};

/// Which repairs are made; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PostProcessing {
    /// Of each foreground class, only the largest component is kept; the rest becomes background. Voxels are connected
    /// by faces, edges and corners (26 neighbours), as in nnU-Net and MONAI. Of two components of equal size the first
    /// in memory stays.
    pub largest_component: bool,
    /// Background that a class encloses becomes this class. Background voxels are connected by faces (6 neighbours),
    /// and those at the volume's border are outside, as in scipy's `binary_fill_holes`. Another class inside a hole
    /// stays.
    pub fill_holes: bool,
}

impl PostProcessing {
    /// Repairs a label map of classes that were decided so: each class, or each region of `targets`.
    pub fn apply_to(&self, targets: &[Target], decision: &Decision, labels: &mut LabelMap) {
        let Decision::Painted(painted) = decision else { return self.apply(labels) };
        if *self == Self::default() {
            return;
        }
        let decided = &labels.voxels;
        let found = |target: &Target| decided.iter().map(|&class| u16::from(target.contains(class))).collect();
        let mut regions: Vec<Vec<u16>> = targets.iter().map(found).collect();
        for region in &mut regions {
            if self.largest_component {
                keep_largest(region, labels.grid.extents, 1);
            }
            if self.fill_holes {
                fill_holes_where(region, labels.grid.extents, 1, |voxel| decided[voxel] == 0);
            }
        }
        labels.voxels.fill(0);
        for (region, &class) in regions.iter().zip(painted) {
            let inside = labels.voxels.iter_mut().zip(region).filter(|(_, inside)| **inside == 1);
            inside.for_each(|(label, _)| *label = class);
        }
    }

    /// Repairs a label map: components first, then holes, classes in ascending order.
    pub fn apply(&self, labels: &mut LabelMap) {
        let mut classes = labels.voxels.clone();
        classes.sort_unstable();
        classes.dedup();
        for class in classes.into_iter().filter(|&class| class > 0) {
            if self.largest_component {
                keep_largest(&mut labels.voxels, labels.grid.extents, class);
            }
            if self.fill_holes {
                fill_holes(&mut labels.voxels, labels.grid.extents, class);
            }
        }
    }
}

/// Steps to the neighbours of a voxel: at most `axes` coordinates change.
fn neighbours(axes: usize) -> Vec<[i64; 3]> {
    let steps = (0..27).map(|code| [code % 3 - 1, code / 3 % 3 - 1, code / 9 - 1]);
    steps.filter(|step: &[i64; 3]| (1..=axes).contains(&step.iter().filter(|s| **s != 0).count())).collect()
}

/// A flood fill through connected voxels.
struct Flood {
    extents: [usize; 3],
    steps: Vec<[i64; 3]>,
    seen: Vec<bool>,
    stack: Vec<usize>,
}

impl Flood {
    fn new(extents: [usize; 3], axes: usize) -> Flood {
        let seen = vec![false; extents.iter().product()];
        Flood { extents, steps: neighbours(axes), seen, stack: Vec::new() }
    }

    /// Visits every voxel that is `inside` and connected to `start`, once in the life of the flood.
    fn visit(&mut self, start: usize, inside: impl Fn(usize) -> bool, mut each: impl FnMut(usize)) {
        if self.seen[start] || !inside(start) {
            return;
        }
        self.seen[start] = true;
        self.stack.push(start);
        let [nx, ny, _] = self.extents;
        while let Some(voxel) = self.stack.pop() {
            each(voxel);
            let at = [voxel % nx, voxel / nx % ny, voxel / (nx * ny)];
            for step in &self.steps {
                let to: [i64; 3] = std::array::from_fn(|axis| at[axis] as i64 + step[axis]);
                if (0..3).all(|axis| (0..self.extents[axis] as i64).contains(&to[axis])) {
                    let [x, y, z] = to.map(|coordinate| coordinate as usize);
                    let next = (z * ny + y) * nx + x;
                    if !self.seen[next] && inside(next) {
                        self.seen[next] = true;
                        self.stack.push(next);
                    }
                }
            }
        }
    }
}

fn keep_largest(labels: &mut [u16], extents: [usize; 3], class: u16) {
    let mut flood = Flood::new(extents, 3);
    // Size and first voxel.
    let mut largest = (0, 0);
    for start in 0..labels.len() {
        let mut size = 0;
        flood.visit(start, |voxel| labels[voxel] == class, |_| size += 1);
        if size > largest.0 {
            largest = (size, start);
        }
    }
    let mut flood = Flood::new(extents, 3);
    flood.visit(largest.1, |voxel| labels[voxel] == class, |_| ());
    for (label, kept) in labels.iter_mut().zip(&flood.seen) {
        if *label == class && !kept {
            *label = 0;
        }
    }
}

fn fill_holes(labels: &mut [u16], extents: [usize; 3], class: u16) {
    fill_holes_where(labels, extents, class, |_| true);
}

/// Fills the background of holes where `fills` says so.
fn fill_holes_where(labels: &mut [u16], extents: [usize; 3], class: u16, fills: impl Fn(usize) -> bool) {
    let mut flood = Flood::new(extents, 1);
    let [nx, ny, nz] = extents;
    for start in 0..labels.len() {
        let (x, y, z) = (start % nx, start / nx % ny, start / (nx * ny));
        if x == 0 || y == 0 || z == 0 || x + 1 == nx || y + 1 == ny || z + 1 == nz {
            flood.visit(start, |voxel| labels[voxel] != class, |_| ());
        }
    }
    for (voxel, (label, outside)) in labels.iter_mut().zip(&flood.seen).enumerate() {
        if *label == 0 && !outside && fills(voxel) {
            *label = class;
        }
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

    const BOTH: PostProcessing = PostProcessing { largest_component: true, fill_holes: true };
    const LARGEST: PostProcessing = PostProcessing { largest_component: true, fill_holes: false };
    const HOLES: PostProcessing = PostProcessing { largest_component: false, fill_holes: true };

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
        LARGEST.apply(&mut labels);
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
        HOLES.apply(&mut closed);
        assert_eq!(closed.voxels, [1; 75]);
        // Over a corner there is no way out, over faces there is.
        let mut corner = hollow(&[[1, 1, 0]], 0);
        HOLES.apply(&mut corner);
        assert_eq!(corner, hollow(&[[1, 1, 0]], 1));
        let mut open = hollow(&[[2, 2, 0]], 0);
        HOLES.apply(&mut open);
        assert_eq!(open, hollow(&[[2, 2, 0]], 0));
        // Another class within is no hole.
        let mut core = hollow(&[], 2);
        BOTH.apply(&mut core);
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
        LARGEST.apply_to(&targets, &decision, &mut labels);
        assert_eq!(labels.voxels, [1, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0]);
        // Class by class, as without regions, the tumour would lose its smaller end.
        // A hole of background in the core is filled, one that the tumour fills stays.
        let mut hollow = hollow(&[], 0);
        hollow.voxels.iter_mut().filter(|label| **label == 1).for_each(|label| *label = 2);
        let mut filled = hollow.clone();
        filled.voxels[(5 + 2) * 5 + 2] = 2;
        HOLES.apply_to(&targets, &decision, &mut hollow);
        assert_eq!(hollow, filled);
        let mut ring = filled.clone();
        ring.voxels[(5 + 2) * 5 + 2] = 1;
        let before = ring.clone();
        BOTH.apply_to(&targets, &decision, &mut ring);
        assert_eq!(ring, before);
    }

    proptest! {
        #[test]
        fn one_component_and_no_hole_remain(
            extents in proptest::array::uniform3(1usize..6),
            seed in proptest::collection::vec(0u16..3, 125),
        ) {
            let mut labels = map(extents, seed[..extents.iter().product()].to_vec());
            BOTH.apply(&mut labels);
            for class in [1, 2] {
                let mut flood = Flood::new(extents, 3);
                let mut components = 0;
                for start in 0..labels.voxels.len() {
                    let mut size = 0;
                    flood.visit(start, |voxel| labels.voxels[voxel] == class, |_| size += 1);
                    components += usize::from(size > 0);
                }
                prop_assert!(components <= 1);
            }
            let mut again = labels.clone();
            LARGEST.apply(&mut again);
            prop_assert_eq!(&again, &labels);
        }
    }
}
