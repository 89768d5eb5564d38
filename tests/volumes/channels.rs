//! Images with several channels, of every format that has them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vnet_engine::data::LabelMap;
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{
    check_channels, read_header, read_label_map, read_volume, read_volumes, write_label_map, write_volume_as,
};

use crate::crafted::{Crafted, EXTENTS, OBLIQUE, VOXELS, close, folder, stored};

/// The value of a voxel in a channel: no two channels are alike.
fn value(channel: usize, voxel: usize) -> f32 {
    f32::from(stored(channel * VOXELS + voxel))
}

/// The voxels of `channels` channels, one channel after the other.
fn planar(channels: usize) -> Vec<i16> {
    (0..channels * VOXELS).map(stored).collect()
}

fn bytes(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The same voxels, the channels of a voxel side by side.
fn interleaved(channels: usize) -> Vec<u8> {
    let at = |at: usize| stored(at % channels * VOXELS + at / channels);
    bytes(&(0..channels * VOXELS).map(at).collect::<Vec<_>>())
}

/// The values repeat: `stored` has a period of 211.
fn nifti(dir: &TempDir, name: &str, dim: [i64; 8]) -> PathBuf {
    let count = usize::try_from(dim[1..].iter().product::<i64>()).expect("a size");
    Crafted::new(false, true, 4, 16)
        .dim(&dim)
        .sform(1, OBLIQUE)
        .i16s((0..count).map(|v| stored(v % 844)))
        .write(dir, name)
}

fn metaimage(dir: &TempDir, name: &str, lines: &str, voxels: &[u8]) -> PathBuf {
    let text = format!("ObjectType = Image\n{lines}ElementType = MET_SHORT\nElementDataFile = LOCAL\n");
    let path = dir.path().join(name);
    std::fs::write(&path, [text.as_bytes(), voxels].concat()).expect("written");
    path
}

const THREE: &str = "NDims = 3\nDimSize = 5 3 7\nElementSpacing = 0.5 1.25 3\nTransformMatrix = 0 1 0 -1 0 0 0 0 1\n";

fn check(path: &Path, channels: usize, interleaved: bool) {
    let header = read_header(path).expect("a header");
    assert_eq!((header.channels(path).expect("channels"), header.interleaved), (channels, interleaved), "{path:?}");
    assert_eq!(header.shape[..3], EXTENTS);
    let volumes = read_volumes(path).expect("readable");
    assert_eq!(volumes.len(), channels);
    for (channel, volume) in volumes.iter().enumerate() {
        assert_eq!(volume.grid, header.grid_of_channels(path).expect("a grid"));
        let expected: Vec<f32> = (0..VOXELS).map(|voxel| value(channel, voxel)).collect();
        assert_eq!(volume.voxels, expected, "{path:?}, channel {channel}");
    }
    let ranges = check_channels(path, &header).expect("readable");
    let range =
        |voxels: &[f32]| voxels.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[l, h], v| [l.min(*v), h.max(*v)]);
    assert_eq!(ranges, volumes.iter().map(|volume| range(&volume.voxels)).collect::<Vec<_>>());
    let inspection = inspect(path).expect("readable");
    assert_eq!(inspection.warnings.iter().filter(|w| w.contains("not usable")).count(), 0, "{inspection:?}");
    if channels == 1 {
        assert!(inspection.channels.is_empty());
        return;
    }
    let mean = |voxels: &[f32]| voxels.iter().map(|v| f64::from(*v)).sum::<f64>() / VOXELS as f64;
    for (stated, volume) in inspection.channels.iter().zip(&volumes) {
        let [low, high] = range(&volume.voxels).map(f64::from);
        assert_eq!((stated.min, stated.max, stated.mean), (Some(low), Some(high), Some(mean(&volume.voxels))));
    }
    assert_eq!(inspection.channels.len(), channels);
    let error = read_volume(path).expect_err("several channels").to_string();
    assert!(error.contains("expected three axes"), "{error}");
}

#[test]
fn channels_of_nifti() {
    let dir = folder();
    check(&nifti(&dir, "three.nii", [3, 5, 3, 7, 1, 1, 1, 1]), 1, false);
    check(&nifti(&dir, "four.nii.gz", [4, 5, 3, 7, 3, 1, 1, 1]), 3, false);
    // A vector of NIfTI: the fifth axis, after a time of one.
    check(&nifti(&dir, "five.nii", [5, 5, 3, 7, 1, 2, 1, 1]), 2, false);
}

#[test]
fn channels_of_metaimage() {
    let dir = folder();
    check(&metaimage(&dir, "one.mha", THREE, &bytes(&planar(1))), 1, false);
    let side_by_side = format!("{THREE}ElementNumberOfChannels = 4\n");
    check(&metaimage(&dir, "vector.mha", &side_by_side, &interleaved(4)), 4, true);
    let four = "NDims = 4\nDimSize = 5 3 7 3\nElementSpacing = 0.5 1.25 3 1\n";
    check(&metaimage(&dir, "four.mha", four, &bytes(&planar(3))), 3, false);
    let inspection = inspect(&metaimage(
        &dir,
        "flat.mha",
        "NDims = 2\nDimSize = 5 21\nElementNumberOfChannels = 2\n",
        &interleaved(2),
    ));
    assert_eq!(inspection.expect("readable").shape, [5, 21, 1, 2]);
}

#[test]
fn what_cannot_be_channels_is_refused() {
    let dir = folder();
    let refused = |path: &Path, expected: &str| {
        let error = read_volumes(path).expect_err(expected).to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    };
    let many = nifti(&dir, "many.nii", [4, 5, 3, 7, 65, 1, 1, 1]);
    refused(&many, "shape is 5 x 3 x 7 x 65, expected at most 64 channels");
    assert!(inspect(&many).expect("readable").warnings.iter().any(|w| w.contains("not usable as an image")));
    let two = nifti(&dir, "two.nii", [5, 5, 3, 7, 2, 3, 1, 1]);
    refused(&two, "shape is 5 x 3 x 7 x 2 x 3, expected x, y, z and one axis of channels");
    refused(&nifti(&dir, "flat.nii", [2, 35, 3, 1, 1, 1, 1, 1]), "shape is 35 x 3, expected three axes");
    let lines = format!("{THREE}ElementNumberOfChannels = ");
    refused(&metaimage(&dir, "none.mha", &format!("{lines}0\n"), &[]), "ElementNumberOfChannels is 0");
    let vast = metaimage(&dir, "vast.mha", &format!("{lines}18446744073709551615\n"), &[]);
    assert!(read_volumes(&vast).is_err() && inspect(&vast).is_err());
    let path = metaimage(&dir, "cut.mha", &format!("{lines}4\n"), &interleaved(4)[..839]);
    refused(&path, "the file is cut short");
}

#[test]
fn a_channel_with_voxels_that_are_no_numbers_is_named() {
    let dir = folder();
    let values = |odd: usize| (0..4 * VOXELS).map(move |v| if v == odd { f32::NAN } else { v as f32 });
    let four = Crafted::new(false, false, 16, 32).dim(&[4, 5, 3, 7, 4, 1, 1, 1]);
    let after = four.f32s(values(2 * VOXELS + 17)).write(&dir, "after.nii");
    let text = format!("{THREE}ElementNumberOfChannels = 4\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n");
    let voxels: Vec<u8> = values(4 * 17 + 2).flat_map(f32::to_le_bytes).collect();
    let beside = dir.path().join("beside.mha");
    std::fs::write(&beside, [text.as_bytes(), &voxels].concat()).expect("written");
    for path in [after, beside] {
        let header = read_header(&path).expect("a header");
        let errors = [read_volumes(&path).map(|_| ()), check_channels(&path, &header).map(|_| ())];
        for error in errors.map(|result| result.expect_err("not a number").to_string()) {
            let expected = "1 of 105 voxels of channel 2 are NaN or infinite (first at x, y, z = [2, 0, 1])";
            assert!(error.contains(expected), "{error}");
        }
    }
}

/// A segmentation of an image with channels has none.
#[test]
fn outputs_have_the_grid_without_the_channels() {
    let dir = folder();
    let mut images =
        vec![nifti(&dir, "i.nii", [4, 5, 3, 7, 3, 1, 1, 1]), nifti(&dir, "j.nii", [5, 5, 3, 7, 1, 3, 1, 1])];
    // The intent of a vector, NIFTI_INTENT_VECTOR.
    let mut vector = std::fs::read(&images[1]).expect("there");
    vector[68..70].copy_from_slice(&1007i16.to_be_bytes());
    std::fs::write(&images[1], vector).expect("written");
    images.push(metaimage(&dir, "k.mha", &format!("{THREE}ElementNumberOfChannels = 3\n"), &interleaved(3)));
    for image in images {
        let like = read_header(&image).expect("a header");
        let grid = like.grid_of_channels(&image).expect("a grid");
        let labels = LabelMap::new(grid.clone(), (0..VOXELS).map(|v| (v % 5) as u16).collect()).expect("a label map");
        for name in ["out.nii", "out.mha"] {
            let path = dir.path().join(name);
            write_label_map(&path, &labels, &like).expect("written");
            let again = read_label_map(&path).expect("readable");
            assert_eq!(again.voxels, labels.voxels);
            close(&again.grid.affine, &grid.affine, 1e-5);
            assert_eq!(read_header(&path).expect("a header").shape, EXTENTS);
            if name == "out.nii" {
                assert_eq!(std::fs::read(&path).expect("there")[68..70], [0, 0], "no intent");
            }
        }
        let channel = &read_volumes(&image).expect("readable")[1];
        write_volume_as(&dir.path().join("one.mha"), channel, like.scalar, &like).expect("written");
        assert_eq!(read_volume(&dir.path().join("one.mha")).expect("readable").voxels, channel.voxels);
    }
}
