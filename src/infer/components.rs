//! Connected components and holes of a part of a volume, in memory of a few bytes per voxel.
//!
//! Components are connected by faces, edges and corners (26 neighbours), as in nnU-Net and MONAI. Holes are background that
//! faces (6 neighbours) do not connect to the border of the volume, as in scipy's `binary_fill_holes`.

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

/// Size and first voxel of each component of what is `inside`, in the order of their first voxels.
pub(super) fn components(extents: [usize; 3], inside: impl Fn(usize) -> bool) -> Vec<(u64, usize)> {
    let mut flood = Flood::new(extents, 3);
    let mut found = Vec::new();
    for start in 0..flood.seen.len() {
        let mut size = 0;
        flood.visit(start, &inside, |_| size += 1);
        if size > 0 {
            found.push((size, start));
        }
    }
    found
}

/// Sets the voxels of all components of what is `inside` to 0, but of those with these first voxels.
pub(super) fn keep(
    voxels: &mut [u16],
    extents: [usize; 3],
    inside: impl Fn(u16) -> bool,
    first: impl IntoIterator<Item = usize>,
) {
    let mut flood = Flood::new(extents, 3);
    for start in first {
        flood.visit(start, |voxel| inside(voxels[voxel]), |_| ());
    }
    for (voxel, kept) in voxels.iter_mut().zip(&flood.seen) {
        if inside(*voxel) && !kept {
            *voxel = 0;
        }
    }
}

/// The first voxel of the largest component; of equal ones that of the first in memory.
pub(super) fn largest(components: &[(u64, usize)]) -> Option<usize> {
    let larger = |best: (u64, usize), next: (u64, usize)| if next.0 > best.0 { next } else { best };
    components.iter().copied().reduce(larger).map(|(_, first)| first)
}

/// Fills the background of the holes of a class where `fills` says so.
pub(super) fn fill_holes(voxels: &mut [u16], extents: [usize; 3], class: u16, fills: impl Fn(usize) -> bool) {
    let mut flood = Flood::new(extents, 1);
    let [nx, ny, nz] = extents;
    for start in 0..voxels.len() {
        let (x, y, z) = (start % nx, start / nx % ny, start / (nx * ny));
        if x == 0 || y == 0 || z == 0 || x + 1 == nx || y + 1 == ny || z + 1 == nz {
            flood.visit(start, |voxel| voxels[voxel] != class, |_| ());
        }
    }
    for (voxel, (label, outside)) in voxels.iter_mut().zip(&flood.seen).enumerate() {
        if *label == 0 && !outside && fills(voxel) {
            *label = class;
        }
    }
}
