//! Segments of 3D Slicer: names, colours and label values in the keys of an NRRD header.
//!
//! <https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html>. Segments that overlap lie in several
//! *layers*, volumes of their own along an axis of kind `list`. A reader of label maps wants one number per voxel, so layers
//! become one map where no voxel is in two segments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::text::{Text, shown};
use crate::data::DataError;
use crate::data::io::bytes::ByteOrder;
use crate::data::io::scalar::{Encoding, Scalar};
use crate::data::io::{Pieces, Segment};
use crate::data::volume::position_of;

/// The segments of a file, and where they lie in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    /// With their values in the label map that is made of all layers.
    pub(super) list: Vec<Segment>,
    /// The value of the label map for a value in a layer of the file; empty for a file of one layer.
    values: BTreeMap<(usize, u16), u16>,
    /// Layers of the file.
    layers: usize,
}

impl Segments {
    /// The segments that the keys of a header name; none in a file of another program.
    pub(super) fn of(path: &Path, text: &Text, layers: usize) -> Result<Segments, DataError> {
        let mut found: BTreeMap<usize, BTreeMap<&str, &str>> = BTreeMap::new();
        for (key, value) in &text.pairs {
            if let Some((number, field)) = key.strip_prefix("Segment").and_then(|rest| rest.split_once('_'))
                && let Ok(number) = number.parse()
            {
                found.entry(number).or_default().insert(field, value);
            }
        }
        if found.len() > usize::from(u16::MAX) {
            return Err(DataError::unusable(path, format!("{} segments, expected at most 65535", found.len())));
        }
        let mut placed = Vec::new();
        for (at, (number, fields)) in found.into_iter().enumerate() {
            let field = |field: &'static str, default: usize, most: usize, expected: &str| {
                let value = fields.get(field).map_or(Some(default), |value| value.trim().parse().ok());
                value.filter(|&value| value <= most).ok_or_else(|| {
                    let found = fields.get(field).map_or_else(|| default.to_string(), |value| shown(value));
                    DataError::unusable(path, format!("Segment{number}_{field} is {found}, expected {expected}"))
                })
            };
            // Before there were layers, each segment had a volume of its own, of ones.
            let layer = field("Layer", if layers > 1 { at } else { 0 }, layers - 1, "a layer of the file")?;
            let value = field("LabelValue", 1, usize::from(u16::MAX), "a label value from 1 to 65535")?;
            let name = fields.get("Name").map_or_else(|| format!("Segment{number}"), |name| (*name).trim().to_owned());
            let color = fields.get("Color").and_then(|color| color_of(color));
            placed.push((layer, Segment { name, value: value as u16, color }));
        }
        Segments::placed(path, placed, layers)
    }

    /// Of segments with their layers.
    fn placed(path: &Path, mut placed: Vec<(usize, Segment)>, layers: usize) -> Result<Segments, DataError> {
        let mut values = BTreeMap::new();
        let different: BTreeSet<u16> = placed.iter().map(|(_, segment)| segment.value).collect();
        // Values that occur in two layers say nothing without the layer.
        let are_unique = different.len() == placed.len();
        for ((layer, segment), number) in placed.iter_mut().zip(1..=u16::MAX) {
            let value = if are_unique { segment.value } else { number };
            if segment.value == 0 {
                let problem = format!("segment {:?} has the label value 0, expected 1 to 65535", segment.name);
                return Err(DataError::unusable(path, problem));
            }
            if values.insert((*layer, segment.value), value).is_some() {
                let problem = format!(
                    "two segments have the label value {} (one is {:?}), expected one segment for each value of a layer",
                    segment.value, segment.name
                );
                return Err(DataError::unusable(path, problem));
            }
            if layers > 1 {
                segment.value = value;
            }
        }
        if layers == 1 {
            values.clear();
        }
        let list = placed.into_iter().map(|(_, segment)| segment).collect();
        Ok(Segments { list, values, layers })
    }

    /// True if the layers of the file are read as one label map.
    pub(super) fn are_merged(&self) -> bool {
        !self.values.is_empty()
    }

    fn name_of(&self, value: u16) -> &str {
        self.list.iter().find(|segment| segment.value == value).map_or("", |segment| segment.name.as_str())
    }
}

/// Three numbers from 0 to 1.
fn color_of(text: &str) -> Option<[f32; 3]> {
    let parts: Option<Vec<f32>> = text.split_whitespace().map(|part| part.parse().ok()).collect();
    let color = <[f32; 3]>::try_from(parts?).ok()?;
    color.iter().all(|part| (0.0..=1.0).contains(part)).then_some(color)
}

/// The label map that is made of layers.
pub(super) struct Merged<'a> {
    segments: &'a Segments,
    path: &'a Path,
    /// Extents x, y, z of a layer.
    extents: [usize; 3],
    interleaved: bool,
    voxels: Vec<u16>,
    /// Numbers taken.
    at: usize,
    wrong: Option<DataError>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(segments: &'a Segments, path: &'a Path, extents: [usize; 3], interleaved: bool) -> Merged<'a> {
        Merged { segments, path, extents, interleaved, voxels: Vec::new(), at: 0, wrong: None }
    }

    /// Takes the next numbers of the file, which is long enough for all.
    pub(super) fn take(&mut self, bytes: &[u8], encoding: Encoding) -> Result<(), DataError> {
        let count: usize = self.extents.iter().product();
        if self.voxels.is_empty() {
            self.voxels = crate::data::io::input::room_for(self.path, count)?;
            self.voxels.resize(count, 0);
        }
        let layers = self.segments.layers;
        encoding.visit(bytes, |value| {
            let (layer, voxel) = if self.interleaved {
                (self.at % layers, self.at / layers)
            } else {
                (self.at / count, self.at % count)
            };
            self.at += 1;
            if value != 0.0 && self.wrong.is_none() {
                self.wrong = self.put(layer, voxel, value).err();
            }
        });
        self.wrong.take().map_or(Ok(()), Err)
    }

    fn put(&mut self, layer: usize, voxel: usize, value: f64) -> Result<(), DataError> {
        let at = position_of(voxel, self.extents);
        let is_label = (1.0..=65535.0).contains(&value) && value.fract() == 0.0;
        let label = self.segments.values.get(&(layer, value as u16)).filter(|_| is_label);
        let Some(&label) = label else {
            let problem =
                format!("voxel x, y, z = {at:?} of layer {layer} is {value}, expected the label value of a segment");
            return Err(DataError::unusable(self.path, problem));
        };
        let before = std::mem::replace(&mut self.voxels[voxel], label);
        if before == 0 {
            return Ok(());
        }
        let [one, other] = [before, label].map(|label| self.segments.name_of(label));
        let problem = format!(
            "the segments {one:?} and {other:?} overlap at x, y, z = {at:?}; a label map has one class per voxel, so expected \
             segments that do not overlap"
        );
        Err(DataError::unusable(self.path, problem))
    }

    /// Hands over the label map.
    pub(super) fn finish(self, each: Pieces<'_>) -> Result<(), DataError> {
        let encoding = Encoding { scalar: Scalar::Uint16, order: ByteOrder::Little, scaling: None };
        for piece in self.voxels.chunks(1 << 16) {
            let bytes: Vec<u8> = piece.iter().flat_map(|label| label.to_le_bytes()).collect();
            each(&bytes, encoding)?;
        }
        Ok(())
    }
}
