//! Wrong NRRD files, as images and as labels of a data set.

use std::path::Path;

use crate::crafted::stored;
use crate::files::{DataSet, PutInto, bomb, gzipped};
use crate::{Case, dry_run};

const N: &str = "b.nrrd";

/// The voxels of the image.
fn voxels() -> Vec<u8> {
    (0..105).flat_map(|v| stored(v).to_le_bytes()).collect()
}

/// A header for the grid of the image with one line replaced or added, and voxels.
fn nrrd(line: &str, voxels: &[u8]) -> Vec<u8> {
    let mut lines = vec![
        "NRRD0004",
        "type: short",
        "dimension: 3",
        "space: RAS",
        "sizes: 5 3 7",
        "space directions: (-0.5,0,0) (0,1.25,0) (0,0,3)",
        "space origin: (1,-1.25,-9)",
        "endian: little",
        "encoding: raw",
    ];
    let key = |line: &str| line.split(':').next().map(str::to_owned);
    match lines.iter_mut().find(|known| key(known) == key(line)) {
        Some(known) => *known = line,
        None => lines.push(line),
    }
    [lines.join("\n").as_bytes(), b"\n\n", voxels].concat()
}

fn with_image(root: &Path, name: &str, bytes: &[u8]) -> Vec<String> {
    bytes.to_vec().put_into(&DataSet::new(root).replace_image(name));
    dry_run(&[])
}

fn with_label(root: &Path, name: &str, bytes: &[u8]) -> Vec<String> {
    bytes.to_vec().put_into(&DataSet::new(root).replace_label(name));
    dry_run(&[])
}

fn with_line(root: &Path, line: &str) -> Vec<String> {
    with_image(root, N, &nrrd(line, &voxels()))
}

pub const NRRD: &[Case] = &[
    Case { name: "empty NRRD", make: |r| with_image(r, N, b""), words: &["b.nrrd", "the first line is \"\""] },
    Case {
        name: "NRRD of noise",
        make: |r| with_image(r, N, &(0..=255u8).cycle().take(9000).collect::<Vec<_>>()),
        words: &["b.nrrd", "the first line is"],
    },
    Case {
        name: "NRRD header without end",
        make: |r| with_image(r, N, &[b"NRRD0004\n".as_slice(), &b"# comment\n".repeat(600_000)].concat()),
        words: &["b.nrrd", "header is longer"],
    },
    Case { name: "NRRD of no axes", make: |r| with_line(r, "dimension: 0"), words: &["b.nrrd", "dimension is 0"] },
    Case { name: "NRRD of 17 axes", make: |r| with_line(r, "dimension: 17"), words: &["b.nrrd", "dimension is 17"] },
    Case { name: "negative sizes", make: |r| with_line(r, "sizes: 5 -3 7"), words: &["b.nrrd", "sizes is \"5 -3 7\""] },
    Case {
        name: "sizes of a million cubed",
        make: |r| with_line(r, "sizes: 1000000 1000000 1000000"),
        words: &["b.nrrd", "voxels, expected at most"],
    },
    Case {
        name: "sizes beyond 2^64",
        make: |r| with_line(r, "sizes: 18446744073709551615 18446744073709551615 2"),
        words: &["b.nrrd", "sizes is"],
    },
    Case { name: "NRRD of blocks", make: |r| with_line(r, "type: block"), words: &["b.nrrd", "type is \"block\""] },
    Case { name: "no such endian", make: |r| with_line(r, "endian: pdp"), words: &["b.nrrd", "endian is \"pdp\""] },
    Case { name: "bzip2", make: |r| with_line(r, "encoding: bzip2"), words: &["b.nrrd", "encoding is \"bzip2\""] },
    Case {
        name: "direction of zero",
        make: |r| with_line(r, "space directions: (0,0,0) (0,1.25,0) (0,0,3)"),
        words: &["b.nrrd", "independent"],
    },
    Case {
        name: "directions without end",
        make: |r| with_line(r, "space directions: (-0.5,0,0) (0,1.25,0) (0,0,3"),
        words: &["b.nrrd", "space directions is"],
    },
    Case {
        name: "NRRD voxels cut short",
        make: |r| with_image(r, N, &nrrd("# cut", &voxels()[..209])),
        words: &["b.nrrd", "cut short"],
    },
    Case { name: "NRRD that is no gzip", make: |r| with_line(r, "encoding: gzip"), words: &["b.nrrd", "damaged"] },
    Case {
        name: "NRRD gzip bomb",
        make: |r| with_image(r, N, &[&nrrd("encoding: gzip", b"")[..], &bomb(b"", 40)].concat()),
        words: &["every voxel has the value 0"],
    },
    Case {
        name: "NRRD of skipped gigabytes",
        make: |r| {
            let lines = nrrd("encoding: gzip\nbyte skip: 99999999999", b"");
            with_image(r, N, &[&lines[..], &bomb(b"", 40)].concat())
        },
        words: &["b.nrrd", "cut short"],
    },
    Case {
        name: "NRRD text of letters",
        make: |r| with_image(r, N, &nrrd("encoding: ascii", &b"1 2 three ".repeat(99))),
        words: &["b.nrrd", "number 2 of the text is \"three\""],
    },
    Case {
        name: "NRRD text without numbers",
        make: |r| with_image(r, N, &nrrd("encoding: ascii", &b" ".repeat(9_000_000))),
        words: &["b.nrrd", "ends after 0 numbers"],
    },
    Case {
        name: "NRRD text of one number",
        make: |r| with_image(r, N, &nrrd("encoding: ascii", &b"1".repeat(9_000_000))),
        words: &["b.nrrd", "number 0 of the text"],
    },
    Case {
        name: "data file that is absent",
        make: |r| with_line(r, "data file: none.raw"),
        words: &["none.raw", "cannot open"],
    },
    Case {
        name: "data file that is a device",
        make: |r| with_line(r, "data file: /dev/zero"),
        words: &["/dev/zero", "a pipe or a device"],
    },
    Case {
        name: "data file for each of a million numbers",
        make: |r| with_line(r, "data file: %d.raw 1 1000000 1"),
        words: &["b.nrrd", "data file is"],
    },
    Case {
        name: "data file of a pattern of strings",
        make: |r| with_line(r, "data file: %s%n.raw 1 3 1"),
        words: &["b.nrrd", "data file is"],
    },
    Case {
        name: "line skip beyond the file",
        make: |r| with_line(r, "line skip: 18446744073709551615"),
        words: &["b.nrrd", "cut short"],
    },
    Case {
        name: "byte skip beyond 2^64",
        make: |r| with_line(r, "byte skip: 18446744073709551615"),
        words: &["b.nrrd", "byte skip is"],
    },
    Case {
        name: "NRRD of a diffusion series",
        make: |r| with_line(r, "sizes: 5 3 7 90\ndimension: 4\nkinds: space space space list"),
        words: &["b.nrrd", "space directions is"],
    },
    Case {
        name: "segments that overlap",
        make: |r| {
            let keys = "Segment0_Name:=one\nSegment0_Layer:=0\nSegment1_Name:=two\nSegment1_Layer:=1\n";
            let head = "NRRD0004\ntype: uchar\ndimension: 4\nsizes: 2 5 3 7\nspace: RAS\nencoding: gzip\n\
                space directions: none (-0.5,0,0) (0,1.25,0) (0,0,3)\nspace origin: (1,-1.25,-9)\n";
            let label = [head.as_bytes(), keys.as_bytes(), b"\n", &gzipped(&[1; 210])].concat();
            with_label(r, "b.seg.nrrd", &label)
        },
        words: &["b.seg.nrrd", "\"one\" and \"two\" overlap"],
    },
    Case {
        name: "segment of no layer",
        make: |r| with_label(r, N, &nrrd("Segment0_Layer:=7", &voxels())),
        words: &["labels/b.nrrd", "Segment0_Layer is \"7\""],
    },
];
