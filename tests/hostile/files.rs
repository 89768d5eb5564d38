//! Inputs that are wrong in one way each, in a folder of their own.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::crafted::{Crafted, VOXELS, stored, write_bytes};

/// Where the case `b` of a data set goes: its image and its label may be replaced.
pub struct DataSet {
    pub root: PathBuf,
}

impl DataSet {
    /// Two cases, `a` and `b`, on one grid, with labels 0 and 1.
    pub fn new(root: &Path) -> DataSet {
        let set = DataSet { root: root.to_owned() };
        for folder in ["images", "labels"] {
            std::fs::create_dir_all(root.join("data").join(folder)).expect("created");
        }
        for name in ["a", "b"] {
            image().put_into(&set.image(&format!("{name}.nii")));
            label().put_into(&set.label(&format!("{name}.nii")));
        }
        set
    }

    pub fn image(&self, name: &str) -> PathBuf {
        self.root.join("data/images").join(name)
    }

    pub fn label(&self, name: &str) -> PathBuf {
        self.root.join("data/labels").join(name)
    }

    /// The image of case `b` under another name, which ends differently.
    pub fn replace_image(&self, name: &str) -> PathBuf {
        std::fs::remove_file(self.image("b.nii")).expect("removed");
        self.image(name)
    }

    pub fn replace_label(&self, name: &str) -> PathBuf {
        std::fs::remove_file(self.label("b.nii")).expect("removed");
        self.label(name)
    }
}

pub trait PutInto {
    fn put_into(&self, path: &Path);
}

impl PutInto for Crafted {
    fn put_into(&self, path: &Path) {
        write_bytes(path, &self.bytes);
    }
}

impl PutInto for Vec<u8> {
    fn put_into(&self, path: &Path) {
        std::fs::write(path, self).expect("written");
    }
}

/// An int16 image.
pub fn image() -> Crafted {
    header().i16s((0..VOXELS).map(stored))
}

/// A header of an int16 image.
pub fn header() -> Crafted {
    Crafted::new(false, false, 4, 16)
}

/// A header of a type, by its code and bits.
pub fn typed(code: i16, bits: i16) -> Crafted {
    Crafted::new(false, false, code, bits)
}

/// An int16 label map of 0 and 1.
pub fn label() -> Crafted {
    header().i16s((0..VOXELS).map(|v| i16::from(v % 4 == 0)))
}

pub fn changed(mut file: Crafted, at: usize, value: &[u8]) -> Crafted {
    file.put(at, value);
    file
}

pub fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("written")
}

/// A gzip file of `start` and many times 8 MiB of zeros.
pub fn bomb(start: &[u8], times: usize) -> Vec<u8> {
    let member = gzipped(&vec![0; 8 << 20]);
    [gzipped(start), member.repeat(times)].concat()
}

/// The text of a MetaImage header for the grid of [`image`], with one line replaced or added; voxels follow.
pub fn metaimage(line: &str) -> Vec<u8> {
    let mut lines = vec![
        "ObjectType = Image".to_owned(),
        "NDims = 3".to_owned(),
        "BinaryData = True".to_owned(),
        "TransformMatrix = 1 0 0 0 -1 0 0 0 1".to_owned(),
        "Offset = -1 1.25 -9".to_owned(),
        "ElementSpacing = 0.5 1.25 3".to_owned(),
        "DimSize = 5 3 7".to_owned(),
        "ElementType = MET_SHORT".to_owned(),
        "ElementDataFile = LOCAL".to_owned(),
    ];
    let key = |line: &str| line.split(" =").next().map(str::to_owned);
    match lines.iter_mut().find(|known| key(known) == key(line)) {
        Some(known) => line.clone_into(known),
        None => lines.insert(0, line.to_owned()),
    }
    let mut bytes = (lines.join("\n") + "\n").into_bytes();
    bytes.extend((0..VOXELS).flat_map(|v| stored(v).to_le_bytes()));
    bytes
}
