//! Repairs of a prediction: components apart from the organ are removed, holes in it are filled.

use crate::data::LabelMap;

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
    let mut flood = Flood::new(extents, 1);
    let [nx, ny, nz] = extents;
    for start in 0..labels.len() {
        let (x, y, z) = (start % nx, start / nx % ny, start / (nx * ny));
        if x == 0 || y == 0 || z == 0 || x + 1 == nx || y + 1 == ny || z + 1 == nz {
            flood.visit(start, |voxel| labels[voxel] != class, |_| ());
        }
    }
    for (label, outside) in labels.iter_mut().zip(&flood.seen) {
        if *label == 0 && !outside {
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
