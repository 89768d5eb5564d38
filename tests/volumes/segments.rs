//! Segmentations of 3D Slicer: layers, names and what the engine writes for it.

use std::path::PathBuf;

use tempfile::TempDir;
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{Segment, read_header, read_label_map, read_volume, write_label_map, write_segmentation};
use vnet_engine::data::{Grid, LabelMap};

use crate::crafted::{EXTENTS, OBLIQUE, VOXELS, close, folder};
use crate::nrrd::{gzip, write};

/// A segmentation of layers with these keys; `voxel(layer, at)` is its number.
fn layers(dir: &TempDir, first: bool, count: usize, keys: &str, voxel: impl Fn(usize, usize) -> u8) -> PathBuf {
    let vectors = "(0,0.5,0) (-1.25,0,0) (0,0,3)";
    let (sizes, directions, kinds) = match first {
        true => (format!("{count} 5 3 7"), format!("none {vectors}"), "list domain domain domain"),
        false => (format!("5 3 7 {count}"), format!("{vectors} none"), "domain domain domain list"),
    };
    let text = format!(
        "NRRD0004\ntype: uchar\ndimension: 4\nsizes: {sizes}\nspace: LPS\nspace directions: {directions}\nkinds: {kinds}\n\
         encoding: gzip\nspace origin: (4,-5,6)\n{keys}"
    );
    let at = |at: usize| if first { (at % count, at / count) } else { (at / VOXELS, at % VOXELS) };
    let voxels: Vec<u8> = (0..count * VOXELS).map(at).map(|(layer, at)| voxel(layer, at)).collect();
    write(dir, "s.seg.nrrd", &text, &gzip(&voxels))
}

fn names(path: &std::path::Path) -> Vec<(u16, String)> {
    let header = read_header(path).expect("a header");
    header.segments().iter().map(|segment| (segment.value, segment.name.clone())).collect()
}

const THREE: &str = "Segment0_Name:=liver\nSegment0_LabelValue:=1\nSegment0_Layer:=0\n\
    Segment1_Name:=left kidney\nSegment1_LabelValue:=2\nSegment1_Layer:=0\n\
    Segment2_Name:=Großhirn\nSegment2_LabelValue:=1\nSegment2_Layer:=1\n";

/// Layers whose segments do not overlap are one label map, numbered by segment where layers use a value twice.
#[test]
fn layers_become_one_label_map() {
    let dir = folder();
    let voxel = |layer: usize, at: usize| match (layer, at % 10) {
        (0, 1) => 1,
        (0, 2) => 2,
        (1, 3) => 1,
        _ => 0,
    };
    let expected: Vec<u16> = (0..VOXELS).map(|at| [0, 1, 2, 3, 0, 0, 0, 0, 0, 0][at % 10]).collect();
    for first in [true, false] {
        let path = layers(&dir, first, 2, THREE, voxel);
        let labels = read_label_map(&path).expect("readable");
        assert_eq!((labels.grid.extents, &labels.voxels), (EXTENTS, &expected));
        assert_eq!(names(&path), [(1, "liver".into()), (2, "left kidney".into()), (3, "Großhirn".into())]);
        let inspection = inspect(&path).expect("readable");
        assert_eq!((inspection.shape, inspection.max), (EXTENTS.to_vec(), Some(3.0)));
        assert!(inspection.warnings.iter().any(|w| w.contains("one label map") && w.contains("2 layers")));
        assert_eq!(read_volume(&path).expect("as an image").voxels[3], 3.0);
        // Values that differ in all layers stay.
        let unique = THREE.replace("Segment2_LabelValue:=1", "Segment2_LabelValue:=9");
        let path = layers(&dir, first, 2, &unique, |layer, at| voxel(layer, at) * if layer == 1 { 9 } else { 1 });
        assert_eq!(read_label_map(&path).expect("readable").voxels[3], 9);
        assert_eq!(names(&path)[2].0, 9);
    }
    // As Slicer wrote before there were layers: a volume of ones for each segment, and no more than their names.
    let old = "Segment0_Name:=a\nSegment1_Name:=b\nSegment2_Name:=c\n";
    let path = layers(&dir, true, 3, old, |layer, at| u8::from(at % 10 == layer + 1));
    assert_eq!(read_label_map(&path).expect("readable").voxels, expected);
    // Without segments, layers are channels.
    let path = layers(&dir, true, 2, "", voxel);
    let error = read_label_map(&path).expect_err("two channels").to_string();
    assert!(error.contains("shape is 5 x 3 x 7 x 2, expected three axes"), "{error}");
}

#[test]
fn what_makes_no_label_map_is_refused() {
    let dir = folder();
    let refused = |keys: &str, voxel: fn(usize, usize) -> u8, expected: &str| {
        for first in [true, false] {
            let error = read_label_map(&layers(&dir, first, 2, keys, voxel)).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains("s.seg.nrrd: ") && !error.contains('\n'), "{error}");
        }
    };
    refused(
        THREE,
        |layer, at| if at == 22 { 2 - layer as u8 } else { 0 },
        "\"Großhirn\" overlap at x, y, z = [2, 1, 1]",
    );
    refused(THREE, |_, at| u8::from(at == 22), "the segments \"");
    let stranger = "voxel x, y, z = [2, 1, 1] of layer 1 is 7, expected the label value of a segment";
    refused(THREE, |layer, at| if layer == 1 && at == 22 { 7 } else { 0 }, stranger);
    let none = |_: usize, _: usize| 0;
    refused(&THREE.replace("Layer:=1", "Layer:=2"), none, "Segment2_Layer is \"2\", expected a layer of the file");
    refused(&THREE.replace("Value:=2", "Value:=70000"), none, "Segment1_LabelValue is \"70000\"");
    refused(&THREE.replace("Value:=2", "Value:=0"), none, "\"left kidney\" has the label value 0");
    refused(&THREE.replace("Value:=2", "Value:=1"), none, "two segments have the label value 1");
}

#[test]
fn segmentations_are_written_for_slicer() {
    let dir = folder();
    let grid = Grid { extents: EXTENTS, spacing: [0.492_848, 1.240_967, 2.958_04], affine: OBLIQUE };
    let at = |x: usize, y: usize, z: usize| (z * 3 + y) * 5 + x;
    let mut voxels = vec![0; VOXELS];
    for (place, label) in [(at(1, 0, 2), 300), (at(3, 2, 4), 300), (at(0, 1, 6), 2), (at(4, 1, 0), 9)] {
        voxels[place] = label;
    }
    let labels = LabelMap::new(grid, voxels).expect("a label map");
    let segment = |value, name: &str, color| Segment { name: name.into(), value, color };
    let segments = [
        segment(300, "Großhirn\\links\nrechts", Some([1.0, 0.5, 0.25])),
        segment(2, "cyst: left", None),
        segment(5, "absent", None),
    ];
    let path = dir.path().join("out.seg.nrrd");
    let like = vnet_engine::data::io::Header::for_grid(&labels.grid);
    write_segmentation(&path, &labels, &like, &segments).expect("written");
    let back = read_label_map(&path).expect("readable");
    assert_eq!(back.voxels, labels.voxels);
    close(&back.grid.affine, &OBLIQUE, 1e-6);
    let header = read_header(&path).expect("a header");
    let read: Vec<_> = header.segments().iter().map(|s| (s.value, s.name.as_str())).collect();
    assert_eq!(read, [(300, segments[0].name.as_str()), (2, "cyst: left"), (5, "absent"), (9, "label 9")]);
    assert_eq!(header.segments()[0].color, Some([1.0, 0.5, 0.25]));
    assert!(header.segments().iter().all(|segment| segment.color.is_some()), "colours for those without one");
    let bytes = std::fs::read(&path).expect("there");
    let text = String::from_utf8_lossy(&bytes);
    for line in [
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segment0_Extent:=1 3 0 2 2 4",
        "Segment0_Layer:=0",
        "Segment0_ID:=Segment_300",
        "Segment0_Name:=Großhirn\\\\links\\nrechts",
        "Segment1_Extent:=0 0 1 1 6 6",
        "Segment2_Extent:=0 -1 0 -1 0 -1",
        "Segment3_LabelValue:=9",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {}", text.split("\n\n").next().unwrap_or_default());
    }
    // Other formats have no place for names, and a plain .nrrd is no segmentation.
    write_segmentation(&dir.path().join("out.nrrd"), &labels, &like, &segments).expect("written");
    assert!(read_header(&dir.path().join("out.nrrd")).expect("a header").segments().is_empty());
    let zero = [segment(0, "organ", None)];
    let error = write_segmentation(&path, &labels, &like, &zero).expect_err("no background").to_string();
    assert!(error.contains("\"organ\" has the label value 0"), "{error}");
    write_label_map(&path, &labels, &like).expect("written");
    assert_eq!(names(&path).len(), 3, "labels without names have segments too");
}
