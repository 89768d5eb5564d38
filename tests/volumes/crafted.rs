//! NIfTI files written byte by byte, so that the reader is not only compared with the writer.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A NIfTI file in the making; offsets are those of nifti1.h and nifti2.h.
#[derive(Clone)]
pub struct Crafted {
    two: bool,
    big: bool,
    pub bytes: Vec<u8>,
}

/// Extents of most test volumes: no two equal, none a power of two.
pub const EXTENTS: [usize; 3] = [5, 3, 7];
pub const VOXELS: usize = 105;

impl Crafted {
    /// A header for `EXTENTS` and a type, without geometry and scaling.
    pub fn new(two: bool, big: bool, code: i16, bits: i16) -> Crafted {
        let mut file = Crafted { two, big, bytes: vec![0; if two { 544 } else { 352 }] };
        if two {
            file.put(0, &540i32.to_be_bytes());
            file.bytes[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
            file.put(12, &code.to_be_bytes()).put(14, &bits.to_be_bytes());
            file.put(168, &544i64.to_be_bytes());
        } else {
            file.put(0, &348i32.to_be_bytes());
            file.bytes[344..348].copy_from_slice(b"n+1\0");
            file.put(70, &code.to_be_bytes()).put(72, &bits.to_be_bytes());
            file.put(108, &352f32.to_be_bytes());
        }
        file.dim(&[3, 5, 3, 7, 1, 1, 1, 1]).pixdim(&[1.0, 0.5, 1.25, 3.0, 1.0, 1.0, 1.0, 1.0])
    }

    /// Puts bytes given in big-endian order.
    pub fn put(&mut self, at: usize, value: &[u8]) -> &mut Crafted {
        let mut value = value.to_vec();
        if !self.big {
            value.reverse();
        }
        self.bytes[at..at + value.len()].copy_from_slice(&value);
        self
    }

    fn float(&mut self, one: usize, two: usize, value: f64) {
        if self.two {
            self.put(two, &value.to_be_bytes());
        } else {
            self.put(one, &(value as f32).to_be_bytes());
        }
    }

    pub fn dim(mut self, dim: &[i64; 8]) -> Crafted {
        for (index, value) in dim.iter().enumerate() {
            if self.two {
                self.put(16 + 8 * index, &value.to_be_bytes());
            } else {
                self.put(40 + 2 * index, &(*value as i16).to_be_bytes());
            }
        }
        self
    }

    pub fn pixdim(mut self, pixdim: &[f64; 8]) -> Crafted {
        for (index, value) in pixdim.iter().enumerate() {
            self.float(76 + 4 * index, 104 + 8 * index, *value);
        }
        self
    }

    pub fn scaling(mut self, slope: f64, intercept: f64) -> Crafted {
        self.float(112, 176, slope);
        self.float(116, 184, intercept);
        self
    }

    pub fn sform(mut self, code: i16, rows: [[f64; 4]; 3]) -> Crafted {
        if self.two {
            self.put(348, &i32::from(code).to_be_bytes());
        } else {
            self.put(254, &code.to_be_bytes());
        }
        for (index, value) in rows.iter().flatten().enumerate() {
            self.float(280 + 4 * index, 400 + 8 * index, *value);
        }
        self
    }

    pub fn qform(mut self, code: i16, quaternion: [f64; 3], offset: [f64; 3]) -> Crafted {
        if self.two {
            self.put(344, &i32::from(code).to_be_bytes());
        } else {
            self.put(252, &code.to_be_bytes());
        }
        for index in 0..3 {
            self.float(256 + 4 * index, 352 + 8 * index, quaternion[index]);
            self.float(268 + 4 * index, 376 + 8 * index, offset[index]);
        }
        self
    }

    pub fn i16s(mut self, values: impl IntoIterator<Item = i16>) -> Crafted {
        for value in values {
            self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        }
        self
    }

    pub fn f32s(mut self, values: impl IntoIterator<Item = f32>) -> Crafted {
        for value in values {
            self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        }
        self
    }

    pub fn write(&self, dir: &TempDir, name: &str) -> PathBuf {
        let path = dir.path().join(name);
        write_bytes(&path, &self.bytes);
        path
    }
}

/// Writes bytes, through gzip if the name ends in .gz.
pub fn write_bytes(path: &Path, bytes: &[u8]) {
    let file = std::fs::File::create(path).expect("a file");
    if path.extension().is_some_and(|e| e == "gz") {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("written");
    } else {
        (&file).write_all(bytes).expect("written");
    }
}

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Different everywhere, negative in places.
pub fn stored(index: usize) -> i16 {
    (index as i16 * 37) % 211 - 60
}

pub fn close(got: &[[f64; 4]; 3], expected: &[[f64; 4]; 3], tolerance: f64) {
    for (row, (a, b)) in got.iter().flatten().zip(expected.iter().flatten()).enumerate() {
        assert!((a - b).abs() <= tolerance, "element {row}: {a} instead of {b} in {got:?}");
    }
}

pub const OBLIQUE: [[f64; 4]; 3] = [[-0.48, 0.1, 0.3, 20.5], [0.1, 1.2, -0.5, -31.0], [0.05, 0.3, 2.9, 7.25]];
