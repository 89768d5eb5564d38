//! Which part of a volume a sample is.

use serde::{Deserialize, Serialize};

use crate::random::{Purpose, Stream};

/// How samples are taken from volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The whole volume, centred in the patch: padded and cropped, as in the paper.
    Whole,
    /// A patch at a random place.
    Patch,
}

/// Where a patch lies in a volume, x, y, z; it does not reach beyond the volume.
///
/// With probability `foreground` it is centred (as far as the volume allows) on a voxel of a class that is drawn from those
/// other than 0 in the volume, each as likely; else every place is as likely. A pure function of its arguments.
pub fn patch_start(
    labels: &[u16],
    extents: [usize; 3],
    patch: [usize; 3],
    foreground: f64,
    seed: u64,
    sample: u64,
) -> [usize; 3] {
    let mut stream = Stream::new(seed, Purpose::Patch, sample);
    let room: [usize; 3] = std::array::from_fn(|axis| extents[axis] - patch[axis]);
    let wanted = stream.uniform() < foreground;
    match wanted.then(|| foreground_voxel(labels, &mut stream)).flatten() {
        Some(voxel) => {
            let at = super::volume::position_of(voxel, extents);
            std::array::from_fn(|axis| at[axis].saturating_sub(patch[axis] / 2).min(room[axis]))
        }
        None => room.map(|room| stream.below(room + 1)),
    }
}

/// A voxel of a foreground class, each class as likely.
fn foreground_voxel(labels: &[u16], stream: &mut Stream) -> Option<usize> {
    let mut counts = vec![0usize; usize::from(labels.iter().copied().max()?) + 1];
    labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    let present: Vec<usize> = (1..counts.len()).filter(|&class| counts[class] > 0).collect();
    if present.is_empty() {
        return None;
    }
    let class = present[stream.below(present.len())];
    let wanted = stream.below(counts[class]);
    (0..labels.len()).filter(|&voxel| usize::from(labels[voxel]) == class).nth(wanted)
}

/// The block of extents `block` whose first voxel is `start` of a volume (x fastest); beyond the volume it has the value
/// `fill`.
pub fn crop<T: Copy>(voxels: &[T], extents: [usize; 3], start: [i64; 3], block: [usize; 3], fill: T) -> Vec<T> {
    let mut out = vec![fill; block.iter().product()];
    let first = start.map(|s| usize::try_from(-s).unwrap_or(0));
    let source = start.map(|s| usize::try_from(s).unwrap_or(0));
    let count: [usize; 3] =
        std::array::from_fn(|a| block[a].saturating_sub(first[a]).min(extents[a].saturating_sub(source[a])));
    for k in 0..count[2] {
        for j in 0..count[1] {
            let from = ((source[2] + k) * extents[1] + source[1] + j) * extents[0] + source[0];
            let to = ((first[2] + k) * block[1] + first[1] + j) * block[0] + first[0];
            out[to..to + count[0]].copy_from_slice(&voxels[from..from + count[0]]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_cut_and_padded_by_hand() {
        let voxels: Vec<u16> = (1..=24).collect();
        assert_eq!(crop(&voxels, [2, 3, 4], [1, 1, 3], [2, 2, 2], 0), [22, 0, 24, 0, 0, 0, 0, 0]);
        assert_eq!(crop(&voxels, [2, 3, 4], [-1, 2, -1], [2, 1, 2], 0), [0, 0, 0, 5]);
        assert_eq!(crop(&voxels, [2, 3, 4], [5, 0, 0], [1, 1, 1], 0), [0]);
    }

    #[test]
    fn patches_stay_inside_and_reach_every_place() {
        let (extents, patch) = ([5, 4, 3], [3, 4, 2]);
        let mut seen = std::collections::HashSet::new();
        for sample in 0..200 {
            let start = patch_start(&[0; 60], extents, patch, 0.5, 3, sample);
            assert!((0..3).all(|axis| start[axis] + patch[axis] <= extents[axis]));
            assert_eq!(start, patch_start(&[0; 60], extents, patch, 0.5, 3, sample));
            seen.insert(start);
        }
        assert_eq!(seen.len(), 3 * 2);
    }

    /// A rare class is centred as often as a common one, and only when foreground is asked for.
    #[test]
    fn foreground_classes_are_centred_equally_often() {
        let (extents, patch) = ([40, 1, 1], [3, 1, 1]);
        let mut labels = vec![0u16; 40];
        labels[5..25].fill(1);
        labels[30] = 2;
        let centres = |foreground: f64| -> Vec<usize> {
            (0..1000).map(|s| patch_start(&labels, extents, patch, foreground, 8, s)[0] + 1).collect()
        };
        let rare = |centres: &[usize]| centres.iter().filter(|c| **c == 30).count();
        let all = centres(1.0);
        assert!(all.iter().all(|&c| labels[c] != 0));
        // Five standard errors of a share of 1/2 and of 1/38 + 1/3 (1/2 - 1/38).
        assert!((rare(&all) as f64 - 500.0).abs() < 80.0, "{}", rare(&all));
        let third = rare(&centres(1.0 / 3.0)) as f64;
        assert!((third - 184.0).abs() < 62.0, "{third}");
        let none = rare(&centres(0.0)) as f64;
        assert!((none - 26.0).abs() < 26.0, "{none}");
    }
}
