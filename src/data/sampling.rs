//! Which part of a volume a sample is.

use serde::{Deserialize, Serialize};

use super::classes::IGNORED;
use super::voxels::Voxels;
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

/// What is drawn equally often, where patches are centred on foreground.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForegroundBy {
    /// The classes of a volume.
    #[default]
    Class,
    /// The regions of a volume, and every voxel of a region equally often; its classes where nothing is learnt as regions.
    Region,
}

impl ForegroundBy {
    /// Whether classes are drawn.
    pub fn is_class(&self) -> bool {
        *self == ForegroundBy::Class
    }
}

/// Voxels in a row of which [`Foreground`] keeps one count per class.
const ROW: usize = 4096;

/// An index of the foreground of a label map: a voxel of a class is found without a pass over the map. For each class other than
/// 0 that occurs, it holds the number of its voxels up to the end of each row of 4096 voxels. Where voxels are ignored
/// ([`IGNORED`]), it holds the same number of the others.
#[derive(Clone, Debug, Default)]
pub struct Foreground {
    /// The classes, in ascending order. [`IGNORED`] stands for the voxels that are not ignored, where some are.
    classes: Vec<u16>,
    /// The counts of each class, one after the other; the last of them is that of all its voxels.
    up_to: Voxels<u32>,
}

impl Foreground {
    /// The index of fewer than 2^32 labels.
    pub fn of(labels: &[u16]) -> Foreground {
        let mut occurs = [false; 1 << 16];
        labels.iter().for_each(|&label| occurs[usize::from(label)] = true);
        let classes: Vec<u16> = (1..=u16::MAX).filter(|&class| occurs[usize::from(class)]).collect();
        let rows = labels.len().div_ceil(ROW);
        let mut up_to = vec![0; classes.len() * rows];
        let (mut counts, mut seen) = (vec![0u32; 1 << 16], 0);
        for (row, labels) in labels.chunks(ROW).enumerate() {
            labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
            seen += labels.len() as u32;
            for (index, &class) in classes.iter().enumerate() {
                let count = counts[usize::from(class)];
                up_to[index * rows + row] = if class == IGNORED { seen - count } else { count };
            }
        }
        Foreground { classes, up_to: up_to.into() }
    }

    /// An index of `labels` labels that was stored as [`Foreground::arrays`].
    ///
    /// # Errors
    /// When the number of counts is another.
    pub(super) fn of_arrays(classes: Vec<u16>, up_to: Voxels<u32>, labels: usize) -> Result<Foreground, String> {
        let expected = classes.len() * labels.div_ceil(ROW);
        match up_to.len() == expected {
            true => Ok(Foreground { classes, up_to }),
            false => Err(format!("{} counts of foreground, expected {expected}", up_to.len())),
        }
    }

    /// Classes and counts, as bytes.
    pub(super) fn arrays(&self) -> [&[u8]; 2] {
        [bytemuck::cast_slice(&self.classes), bytemuck::cast_slice(&self.up_to)]
    }

    /// Bytes of the process's own memory.
    pub fn bytes(&self) -> usize {
        self.up_to.bytes()
    }

    /// A random voxel of a random foreground class: all classes are equally likely, and all voxels of a class. None where
    /// there is no foreground, or where the counts are not those of the labels.
    fn voxel(&self, labels: &[u16], stream: &mut Stream) -> Option<usize> {
        let foreground = self.classes.len() - usize::from(self.classes.last() == Some(&IGNORED));
        if foreground == 0 {
            return None;
        }
        let chosen = stream.below(foreground);
        let class = self.classes[chosen];
        random_voxel(labels, self.counts(chosen), |label| label == class, stream)
    }

    /// A random voxel of a random region, each a list of classes: all regions that occur are equally likely, and all voxels of a
    /// region. None where no region occurs, or where the counts are not those of the labels.
    fn voxel_of_regions(&self, labels: &[u16], regions: &[Vec<u16>], stream: &mut Stream) -> Option<usize> {
        let count = |class: &u16| {
            let at = self.classes.binary_search(class).ok()?;
            Some((at, self.counts(at).last().copied().unwrap_or(0) as usize))
        };
        let counted = |region: &Vec<u16>| -> Vec<(usize, usize)> { region.iter().filter_map(count).collect() };
        let present: Vec<Vec<(usize, usize)>> = regions.iter().map(counted).filter(|of| !of.is_empty()).collect();
        if present.is_empty() {
            return None;
        }
        let region = &present[stream.below(present.len())];
        let mut wanted = stream.below(region.iter().map(|(_, count)| count).sum::<usize>().max(1));
        for &(at, count) in region {
            if wanted < count {
                let class = self.classes[at];
                return numbered_voxel(labels, self.counts(at), |label| label == class, u32::try_from(wanted).ok()?);
            }
            wanted -= count;
        }
        None
    }

    /// A random voxel that is not ignored, in a map with voxels that are.
    fn annotated_voxel(&self, labels: &[u16], stream: &mut Stream) -> Option<usize> {
        let last = self.classes.len().checked_sub(1).filter(|&last| self.classes[last] == IGNORED)?;
        random_voxel(labels, self.counts(last), |label| label != IGNORED, stream)
    }

    /// The counts of the class at this place.
    fn counts(&self, class: usize) -> &[u32] {
        let rows = self.up_to.len() / self.classes.len();
        &self.up_to[class * rows..][..rows]
    }
}

/// A random voxel of those that count, of which `up_to` has the number up to the end of each row.
fn random_voxel(labels: &[u16], up_to: &[u32], counts: impl Fn(u16) -> bool, stream: &mut Stream) -> Option<usize> {
    let count = up_to.last().filter(|count| **count > 0)?;
    let wanted = u32::try_from(stream.below(*count as usize)).expect("below a count of 32 bits");
    numbered_voxel(labels, up_to, counts, wanted)
}

/// The voxel with number `wanted`, from 0, of those that count.
fn numbered_voxel(labels: &[u16], up_to: &[u32], counts: impl Fn(u16) -> bool, wanted: u32) -> Option<usize> {
    let row = up_to.partition_point(|&count| count <= wanted);
    let before = if row == 0 { 0 } else { up_to[row - 1] };
    let mut found = (row * ROW..labels.len()).filter(|&voxel| counts(labels[voxel]));
    found.nth(wanted.checked_sub(before)? as usize)
}

/// How often patches are centred on foreground, and on which.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Centring<'a> {
    /// Share of the patches.
    pub share: f64,
    /// The classes of each region, where regions are drawn; empty where classes are.
    pub regions: &'a [Vec<u16>],
}

impl From<f64> for Centring<'_> {
    /// A share of patches on the classes.
    fn from(share: f64) -> Self {
        Centring { share, regions: &[] }
    }
}

/// First voxel x, y, z of a random patch that lies within a volume.
///
/// With the probability of `centring` the patch is centred, as far as the volume allows, on a random voxel of a random foreground
/// class or region.
/// Otherwise all positions are equally likely; in a volume with voxels that are ignored it is centred on a random one of the
/// others, as in nnU-Net, so that a few annotated slices are met. `foreground` is the index of `labels`. A pure function of its
/// arguments.
pub fn patch_start<'a>(
    labels: &[u16],
    foreground: &Foreground,
    extents: [usize; 3],
    patch: [usize; 3],
    centring: impl Into<Centring<'a>>,
    seed: u64,
    sample: u64,
) -> [usize; 3] {
    let mut stream = Stream::new(seed, Purpose::Patch, sample);
    let Centring { share, regions } = centring.into();
    let room: [usize; 3] = std::array::from_fn(|axis| extents[axis] - patch[axis]);
    let wanted = stream.uniform() < share;
    let drawn = |stream: &mut Stream| match regions {
        [] => foreground.voxel(labels, stream),
        regions => foreground.voxel_of_regions(labels, regions, stream),
    };
    let voxel = if wanted { drawn(&mut stream) } else { None };
    match voxel.or_else(|| foreground.annotated_voxel(labels, &mut stream)) {
        Some(voxel) => {
            let at = super::volume::position_of(voxel, extents);
            std::array::from_fn(|axis| at[axis].saturating_sub(patch[axis] / 2).min(room[axis]))
        }
        None => room.map(|room| stream.below(room + 1)),
    }
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

/// As [`crop`] of voxels of several channels, `[.., channels]`: those of a voxel stay together.
pub fn crop_channels<T: Copy>(
    voxels: &[T],
    channels: usize,
    [x, y, z]: [usize; 3],
    start: [i64; 3],
    block: [usize; 3],
    fill: T,
) -> Vec<T> {
    let start = [start[0] * channels as i64, start[1], start[2]];
    crop(voxels, [x * channels, y, z], start, [block[0] * channels, block[1], block[2]], fill)
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

    /// Each channel as it is cut alone.
    #[test]
    fn channels_are_cut_together() {
        let (extents, channels) = ([3, 2, 4], 5);
        let voxels: Vec<u32> = (1..=3 * 2 * 4 * 5).collect();
        for (start, block) in
            [([1, 0, 2], [2, 2, 1]), ([-2, 1, -1], [4, 3, 6]), ([2, -1, 3], [1, 1, 1]), ([9, 9, 9], [2; 3])]
        {
            let all = crop_channels(&voxels, channels, extents, start, block, 7);
            for channel in 0..channels {
                let of = |voxels: &[u32]| voxels.iter().skip(channel).step_by(channels).copied().collect::<Vec<_>>();
                assert_eq!(of(&all), crop(&of(&voxels), extents, start, block, 7), "channel {channel} at {start:?}");
            }
        }
        assert_eq!(
            crop_channels(&voxels[..24], 1, extents, [1; 3], [2; 3], 0),
            crop(&voxels[..24], extents, [1; 3], [2; 3], 0)
        );
    }

    #[test]
    fn patches_stay_inside_and_reach_every_place() {
        let (extents, patch) = ([5, 4, 3], [3, 4, 2]);
        let mut seen = std::collections::HashSet::new();
        for sample in 0..200 {
            let start = patch_start(&[0; 60], &Foreground::of(&[0; 60]), extents, patch, 0.5, 3, sample);
            assert!((0..3).all(|axis| start[axis] + patch[axis] <= extents[axis]));
            assert_eq!(start, patch_start(&[0; 60], &Foreground::of(&[0; 60]), extents, patch, 0.5, 3, sample));
            seen.insert(start);
        }
        assert_eq!(seen.len(), 3 * 2);
    }

    /// The definition: a count of every class, and a pass over the labels.
    fn by_passes(labels: &[u16], stream: &mut Stream) -> Option<usize> {
        let counts = |label: &u16| (1..IGNORED).contains(label);
        let classes: std::collections::BTreeSet<u16> = labels.iter().copied().filter(counts).collect();
        let classes: Vec<u16> = classes.into_iter().collect();
        if classes.is_empty() {
            return None;
        }
        let class = classes[stream.below(classes.len())];
        let voxels: Vec<usize> = (0..labels.len()).filter(|&voxel| labels[voxel] == class).collect();
        Some(voxels[stream.below(voxels.len())])
    }

    /// Voxels at the ends of rows of counts, classes in one row only, and a last row that is not full.
    #[test]
    fn an_index_finds_the_voxels_that_passes_over_the_labels_find() {
        let mut labels = vec![0u16; 3 * ROW + 17];
        for (voxel, label) in labels.iter_mut().enumerate() {
            *label = if voxel % 7 == 3 { 1 } else { 0 };
        }
        for (voxel, label) in [(0, 9), (ROW - 1, 2), (ROW, 2), (2 * ROW - 1, 300), (3 * ROW + 16, 65_534)] {
            labels[voxel] = label;
        }
        let foreground = Foreground::of(&labels);
        assert_eq!(foreground.bytes(), 5 * 4 * size_of::<u32>());
        let mut seen = std::collections::HashSet::new();
        for sample in 0..500 {
            let draw = |find: &dyn Fn(&mut Stream) -> Option<usize>| find(&mut Stream::new(2, Purpose::Patch, sample));
            let found = draw(&|stream| foreground.voxel(&labels, stream));
            assert_eq!(found, draw(&|stream| by_passes(&labels, stream)));
            seen.extend(found.map(|voxel| labels[voxel]));
        }
        assert_eq!(seen.len(), 5);
        let [classes, up_to] = foreground.arrays().map(<[u8]>::to_vec);
        let (classes, up_to) =
            (bytemuck::pod_collect_to_vec(&classes), bytemuck::pod_collect_to_vec::<u8, u32>(&up_to));
        let stored = |count| Foreground::of_arrays(Vec::clone(&classes), up_to.clone().into(), count);
        assert!(stored(labels.len() - 17).is_err() && stored(0).is_err());
        let stored = stored(labels.len()).expect("as many counts");
        for sample in 0..100 {
            let draw = |index: &Foreground| index.voxel(&labels, &mut Stream::new(2, Purpose::Patch, sample));
            assert_eq!(draw(&stored), draw(&foreground));
        }
        // Counts of other labels find nothing, or something, and do no harm.
        let wrong = Foreground { classes: vec![1, 2], up_to: vec![5, 3, 9, 1, 0, 0, 0, 0].into() };
        for sample in 0..50 {
            let _ = wrong.voxel(&labels, &mut Stream::new(2, Purpose::Patch, sample));
        }
        assert_eq!(Foreground::of(&[0; 5000]).voxel(&[0; 5000], &mut Stream::new(2, Purpose::Patch, 0)), None);
    }

    /// Of 40 voxels 30 are ignored: these are never a centre, and the others are found wherever rows end.
    #[test]
    fn ignored_voxels_are_never_centred() {
        let extents = [2 * ROW + 40, 1, 1];
        let mut labels = vec![IGNORED; extents[0]];
        let annotated = [1, ROW - 1, ROW, 2 * ROW + 20, 2 * ROW + 38];
        annotated.iter().for_each(|&voxel| labels[voxel] = 0);
        labels[ROW] = 3;
        let foreground = Foreground::of(&labels);
        assert_eq!(foreground.bytes(), 2 * 3 * size_of::<u32>());
        for share in [0.0, 0.5] {
            let centre = |sample| patch_start(&labels, &foreground, extents, [3, 1, 1], share, 8, sample)[0] + 1;
            let seen: std::collections::BTreeSet<usize> = (0..500).map(centre).collect();
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), annotated);
        }
        // Nothing is annotated: every place is as good as the others.
        let labels = vec![IGNORED; 40];
        let foreground = Foreground::of(&labels);
        let starts: std::collections::BTreeSet<usize> = (0..500)
            .map(|sample| patch_start(&labels, &foreground, [40, 1, 1], [3, 1, 1], 0.5, 8, sample)[0])
            .collect();
        assert_eq!(starts.len(), 38);
    }

    /// A rare class is centred as often as a common one, and only when foreground is asked for.
    #[test]
    fn foreground_classes_are_centred_equally_often() {
        let (extents, patch) = ([40, 1, 1], [3, 1, 1]);
        let mut labels = vec![0u16; 40];
        labels[5..25].fill(1);
        labels[30] = 2;
        let foreground = Foreground::of(&labels);
        let centres = |share: f64| -> Vec<usize> {
            (0..1000).map(|s| patch_start(&labels, &foreground, extents, patch, share, 8, s)[0] + 1).collect()
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

    /// Three nested regions, of 1, 3 and 23 voxels: each is centred in a third of the patches, every voxel of a region alike.
    #[test]
    fn regions_are_centred_equally_often() {
        let (extents, patch) = ([2 * ROW, 1, 1], [1, 1, 1]);
        let mut labels = vec![0u16; extents[0]];
        labels[5..25].fill(1);
        labels[ROW + 30..ROW + 32].fill(2);
        labels[ROW + 40] = 3;
        let foreground = Foreground::of(&labels);
        let regions = [vec![1, 2, 3], vec![2, 3], vec![3], vec![9]];
        let count = |regions: &[Vec<u16>], of: u16| {
            let centring = Centring { share: 1.0, regions };
            let centre = |sample| patch_start(&labels, &foreground, extents, patch, centring, 8, sample)[0];
            (0..3000).filter(|&sample| labels[centre(sample)] == of).count() as f64
        };
        // Five standard errors of the shares: classes by 1/3, regions by 1/3 (20/23), 1/3 (2/23 + 2/3) and what is left.
        let near = |found: f64, share: f64| {
            let error = 5.0 * (3000.0 * share * (1.0 - share)).sqrt();
            assert!((found - 3000.0 * share).abs() < error, "{found} of 3000, expected {share}");
        };
        near(count(&regions, 1), 20.0 / 69.0);
        near(count(&regions, 2), (2.0 / 23.0 + 2.0 / 3.0) / 3.0);
        near(count(&regions, 3), (1.0 / 23.0 + 1.0 / 3.0 + 1.0) / 3.0);
        (1..4).for_each(|class| near(count(&[], class), 1.0 / 3.0));
        let mut stream = Stream::new(2, Purpose::Patch, 0);
        assert_eq!(foreground.voxel_of_regions(&labels, &[vec![7], vec![]], &mut stream), None);
        let wrong = Foreground { classes: vec![1, 2], up_to: vec![5, 3, 9, 1, 0, 0, 0, 0].into() };
        for _ in 0..50 {
            let _ = wrong.voxel_of_regions(&labels, &regions, &mut stream);
        }
    }
}
