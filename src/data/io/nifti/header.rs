//! The bytes of a NIfTI-1 or NIfTI-2 header, and the fields in them.
//!
//! The header is kept as it was read, in its byte order; a field is decoded where it is asked for.
//! A label map written for an image therefore keeps all of the image's header but what describes
//! the voxels. Definitions: nifti1.h and nifti2.h, <https://nifti.nimh.nih.gov>.

use std::ops::Range;

use crate::data::io::bytes::ByteOrder;

/// The two versions of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 348 bytes, extents up to 32767, float32 geometry.
    One,
    /// 540 bytes, 64-bit extents, float64 geometry.
    Two,
}

impl Version {
    /// Bytes of the header, which is also the value of its first field.
    pub(crate) fn size(self) -> usize {
        [348, 540][self as usize]
    }

    /// Where voxels of a `.nii` file begin at the earliest: after the header and four bytes that announce extensions.
    pub(crate) fn first_voxel(self) -> u64 {
        self.size() as u64 + 4
    }

    /// The magic bytes of a single `.nii` file and of a `.hdr`/`.img` pair.
    fn magic(self, single: bool) -> &'static [u8] {
        match (self, single) {
            (Version::One, true) => b"n+1\0",
            (Version::One, false) => b"ni1\0",
            (Version::Two, true) => b"n+2\0\r\n\x1a\n",
            (Version::Two, false) => b"ni2\0\r\n\x1a\n",
        }
    }

    /// Where the magic bytes lie.
    fn magic_place(self) -> Range<usize> {
        [344..348, 4..12][self as usize].clone()
    }

    /// Where `descrip` lies: 80 bytes of text.
    fn description_place(self) -> Range<usize> {
        [148..228, 240..320][self as usize].clone()
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    U8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Kind::U8 => 1,
            Kind::I16 => 2,
            Kind::I32 | Kind::F32 => 4,
            Kind::I64 | Kind::F64 => 8,
        }
    }
}

/// A field that is read or written: its offset and type in NIfTI-1 and in NIfTI-2. The names are those of nifti1.h.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field([(usize, Kind); 2]);

impl Field {
    pub(crate) const SIZEOF_HDR: Field = Field([(0, Kind::I32), (0, Kind::I32)]);
    pub(crate) const DIM: Field = Field([(40, Kind::I16), (16, Kind::I64)]);
    pub(crate) const INTENT_CODE: Field = Field([(68, Kind::I16), (504, Kind::I32)]);
    pub(crate) const DATATYPE: Field = Field([(70, Kind::I16), (12, Kind::I16)]);
    pub(crate) const BITPIX: Field = Field([(72, Kind::I16), (14, Kind::I16)]);
    pub(crate) const PIXDIM: Field = Field([(76, Kind::F32), (104, Kind::F64)]);
    pub(crate) const VOX_OFFSET: Field = Field([(108, Kind::F32), (168, Kind::I64)]);
    pub(crate) const SCL_SLOPE: Field = Field([(112, Kind::F32), (176, Kind::F64)]);
    pub(crate) const SCL_INTER: Field = Field([(116, Kind::F32), (184, Kind::F64)]);
    pub(crate) const CAL_MAX: Field = Field([(124, Kind::F32), (192, Kind::F64)]);
    pub(crate) const CAL_MIN: Field = Field([(128, Kind::F32), (200, Kind::F64)]);
    pub(crate) const XYZT_UNITS: Field = Field([(123, Kind::U8), (500, Kind::I32)]);
    pub(crate) const QFORM_CODE: Field = Field([(252, Kind::I16), (344, Kind::I32)]);
    pub(crate) const SFORM_CODE: Field = Field([(254, Kind::I16), (348, Kind::I32)]);
    pub(crate) const QUATERN: Field = Field([(256, Kind::F32), (352, Kind::F64)]);
    pub(crate) const QOFFSET: Field = Field([(268, Kind::F32), (376, Kind::F64)]);
    pub(crate) const SROW: Field = Field([(280, Kind::F32), (400, Kind::F64)]);

    /// Where element `index` lies, and its type.
    fn place(self, version: Version, index: usize) -> (Range<usize>, Kind) {
        let (offset, kind) = self.0[version as usize];
        let start = offset + index * kind.bytes();
        (start..start + kind.bytes(), kind)
    }
}

/// A header as it lies in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawHeader {
    pub(crate) version: Version,
    pub(crate) order: ByteOrder,
    bytes: Vec<u8>,
}

/// Why bytes are not a NIfTI header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NotNifti {
    /// The first field is neither 348 nor 540 in either byte order.
    Size(i32),
    /// The file is shorter than its header.
    Short(Version),
    /// The magic bytes are wrong (`[0; 4]` in ANALYZE 7.5, from which NIfTI-1 descends).
    Magic(Vec<u8>),
}

impl RawHeader {
    /// An empty header of a version.
    pub(crate) fn new(version: Version, order: ByteOrder) -> RawHeader {
        let mut header = RawHeader { version, order, bytes: vec![0; version.size()] };
        header.set_integer(Field::SIZEOF_HDR, 0, version.size() as i64);
        header
    }

    /// Recognises version and byte order by the first field, and checks the magic bytes.
    pub(crate) fn parse(start: &[u8]) -> Result<RawHeader, NotNifti> {
        let first: [u8; 4] = start.get(..4).and_then(|b| b.try_into().ok()).ok_or(NotNifti::Short(Version::One))?;
        let (version, order) = match (i32::from_le_bytes(first), i32::from_be_bytes(first)) {
            (348, _) => (Version::One, ByteOrder::Little),
            (_, 348) => (Version::One, ByteOrder::Big),
            (540, _) => (Version::Two, ByteOrder::Little),
            (_, 540) => (Version::Two, ByteOrder::Big),
            (other, _) => return Err(NotNifti::Size(other)),
        };
        let bytes = start.get(..version.size()).ok_or(NotNifti::Short(version))?.to_vec();
        let header = RawHeader { version, order, bytes };
        let magic = header.magic();
        if magic != version.magic(true) && magic != version.magic(false) {
            return Err(NotNifti::Magic(magic.to_vec()));
        }
        Ok(header)
    }

    fn magic(&self) -> &[u8] {
        &self.bytes[self.version.magic_place()]
    }

    /// True if the voxels follow in the same file.
    pub(crate) fn is_single(&self) -> bool {
        self.magic() == self.version.magic(true)
    }

    pub(crate) fn set_magic(&mut self, single: bool) {
        self.bytes[self.version.magic_place()].copy_from_slice(self.version.magic(single));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `descrip` up to its first zero byte.
    pub(crate) fn description(&self) -> &[u8] {
        let text = &self.bytes[self.version.description_place()];
        text.split(|&byte| byte == 0).next().unwrap_or(text)
    }

    /// Sets `descrip`, of at most 80 bytes.
    pub(crate) fn set_description(&mut self, text: &[u8]) {
        let field = &mut self.bytes[self.version.description_place()];
        field.fill(0);
        field[..text.len()].copy_from_slice(text);
    }

    /// The bytes of element `index` of a field, least significant first, padded with zeros.
    fn element(&self, field: Field, index: usize) -> ([u8; 8], Kind) {
        let (place, kind) = field.place(self.version, index);
        let mut element = [0; 8];
        element[..kind.bytes()].copy_from_slice(&self.bytes[place]);
        if self.order == ByteOrder::Big {
            element[..kind.bytes()].reverse();
        }
        (element, kind)
    }

    fn set_element(&mut self, field: Field, index: usize, little: &[u8]) {
        let target = &mut self.bytes[field.place(self.version, index).0];
        target.copy_from_slice(little);
        if self.order == ByteOrder::Big {
            target.reverse();
        }
    }

    /// Element `index` of an integer field.
    pub(crate) fn integer(&self, field: Field, index: usize) -> i64 {
        let (b, kind) = self.element(field, index);
        match kind {
            Kind::U8 => i64::from(b[0]),
            Kind::I16 => i64::from(i16::from_le_bytes([b[0], b[1]])),
            Kind::I32 => i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Kind::I64 => i64::from_le_bytes(b),
            Kind::F32 | Kind::F64 => unreachable!("{field:?} is not an integer field"),
        }
    }

    /// Element `index` of a field as a float; integers (the offset of the voxels in NIfTI-2) are converted.
    pub(crate) fn float(&self, field: Field, index: usize) -> f64 {
        let (b, kind) = self.element(field, index);
        match kind {
            Kind::F32 => f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Kind::F64 => f64::from_le_bytes(b),
            _ => self.integer(field, index) as f64,
        }
    }

    /// Sets an integer (or, for the offset of the voxels in NIfTI-1, a float) that the field can hold.
    pub(crate) fn set_integer(&mut self, field: Field, index: usize, value: i64) {
        let fits = "the caller chose the version so that the value fits";
        match field.place(self.version, index).1 {
            Kind::U8 => self.set_element(field, index, &u8::try_from(value).expect(fits).to_le_bytes()),
            Kind::I16 => self.set_element(field, index, &i16::try_from(value).expect(fits).to_le_bytes()),
            Kind::I32 => self.set_element(field, index, &i32::try_from(value).expect(fits).to_le_bytes()),
            Kind::I64 => self.set_element(field, index, &value.to_le_bytes()),
            Kind::F32 | Kind::F64 => self.set_float(field, index, value as f64),
        }
    }

    /// Sets a float, rounded to float32 in NIfTI-1.
    pub(crate) fn set_float(&mut self, field: Field, index: usize, value: f64) {
        match field.place(self.version, index).1 {
            Kind::F32 => self.set_element(field, index, &(value as f32).to_le_bytes()),
            Kind::F64 => self.set_element(field, index, &value.to_le_bytes()),
            _ => unreachable!("{field:?} is not a float field"),
        }
    }
}
