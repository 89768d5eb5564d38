//! Volumes inside the page, for scrolling through the slices of a case in three planes.
//!
//! Intensities go in as 8 bits between the 1st and 99th percentile, as in [`super::write_overlay`], labels as 16 bits; both
//! are deflated (zlib, RFC 1950) and in base64, and the browser's `DecompressionStream` unpacks them. A case of more than
//! [`MAX_VOXELS`] voxels is coarsened by powers of two along its finest axes, so that the intensities of a case take at most
//! 5.6 MB of the page (of several channels 11.2 MB), however large the file; label maps deflate to a few per cent of that.

use std::io::Write;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use super::overlay::{Spread, check_case, window};
use super::svg::hex;
use super::{OverlayCase, ReportError, prediction_colour, reference_colour};
use crate::metrics::IGNORED;

/// Most voxels of a case in the page.
pub const MAX_VOXELS: usize = 1 << 22;

/// A case to scroll through.
#[derive(Debug, Clone)]
pub struct ViewerCase {
    /// Name in the choice of cases.
    pub(super) heading: String,
    /// What the page's script reads.
    pub(super) description: Value,
    /// Kind of each volume, and the volume in base64.
    pub(super) volumes: Vec<(String, String)>,
    /// Picture for browsers without scripts.
    pub(super) picture: Option<PathBuf>,
}

impl ViewerCase {
    /// Packs a case of one channel. `heading` is its name in the choice of cases; `picture` is shown where scripts are off.
    ///
    /// # Errors
    /// When a map does not fill the extents, or the volume is empty.
    pub fn new(heading: &str, case: &OverlayCase<'_>, picture: Option<PathBuf>) -> Result<Self, ReportError> {
        Self::of_channels(heading, case, (&[], &[]), picture)
    }

    /// As [`ViewerCase::new`], of an image with `further` channels after the one of the case. `names` in the choice of the
    /// channel are those of all channels; where there are none, numbers.
    ///
    /// # Errors
    /// As [`ViewerCase::new`]; also when a channel does not fill the extents.
    pub fn of_channels(
        heading: &str,
        case: &OverlayCase<'_>,
        (further, names): (&[Vec<f32>], &[String]),
        picture: Option<PathBuf>,
    ) -> Result<Self, ReportError> {
        check_case(case)?;
        let images: Vec<&[f32]> = std::iter::once(case.image).chain(further.iter().map(Vec::as_slice)).collect();
        for image in &images {
            check_case(&OverlayCase { image, ..*case })?;
        }
        let blocks = Blocks::new(case.extents, case.spacing, images.len());
        let (mut volumes, mut channels) = (Vec::new(), Vec::new());
        for (channel, image) in images.into_iter().enumerate() {
            let (low, high) = window(image);
            let grey = blocks.means(image).map(|v| ((v - low) / (high - low) * 255.0).round() as u8).collect();
            volumes.push((format!("image-{channel}"), packed(grey)));
            let name = names.get(channel).cloned().unwrap_or_else(|| format!("channel {}", channel + 1));
            channels.push(json!({ "name": name, "window": [low, high] }));
        }
        volumes.push(("prediction".to_owned(), packed(blocks.labels(case.prediction))));
        volumes.extend(case.reference.map(|labels| ("reference".to_owned(), packed(blocks.labels(labels)))));
        let spread = case.reference.and_then(|l| Spread::of(l, case.extents));
        let spread = spread.or_else(|| Spread::of(case.prediction, case.extents));
        let centre = spread.map_or_else(|| case.extents.map(|extent| extent / 2), |spread| spread.centroid);
        let description = json!({
            "case": case.title,
            "extents": blocks.extents(),
            "spacing": blocks.spacing(),
            "channels": channels,
            "ignored": IGNORED,
            "hasReference": case.reference.is_some(),
            "centre": std::array::from_fn::<usize, 3, _>(|axis| centre[axis] / blocks.size[axis]),
            "classes": classes(case),
            "note": blocks.note(),
        });
        Ok(Self { heading: heading.to_owned(), description, volumes, picture })
    }
}

/// Name, labels, colours and Dice of each class or region.
fn classes(case: &OverlayCase<'_>) -> Vec<Value> {
    let class = |(class, name): (u16, &String)| {
        let overlap = case.overlap(case.prediction, class);
        let labels = case.members.get(usize::from(class) - 1).cloned().unwrap_or_else(|| vec![class]);
        json!({
            "name": name,
            "labels": labels,
            "reference": hex(reference_colour(class)),
            "prediction": hex(prediction_colour(class)),
            "dice": overlap.and_then(|overlap| overlap.dice()),
        })
    };
    (1..=u16::MAX).zip(case.class_names).map(class).collect()
}

fn packed(bytes: Vec<u8>) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(&bytes)
        .and_then(|()| encoder.finish())
        .map_or_else(|error| unreachable!("writing to memory failed: {error}"), |deflated| STANDARD.encode(deflated))
}

/// Blocks of voxels that become one voxel of the page.
struct Blocks {
    extents: [usize; 3],
    spacing: [f64; 3],
    /// Voxels of a block along x, y, z.
    size: [usize; 3],
}

impl Blocks {
    /// The smallest blocks that keep a volume below [`MAX_VOXELS`], and several channels together below twice that, doubled
    /// along the axis of the finest voxels each time.
    fn new(extents: [usize; 3], spacing: [f64; 3], channels: usize) -> Self {
        let most = MAX_VOXELS.min(2 * MAX_VOXELS / channels);
        let mut blocks = Self { extents, spacing, size: [1; 3] };
        while blocks.extents().iter().product::<usize>() > most {
            let divisible = (0..3).filter(|&axis| blocks.extents()[axis] > 1);
            let finest = divisible.min_by(|&a, &b| blocks.spacing()[a].total_cmp(&blocks.spacing()[b]));
            blocks.size[finest.expect("a volume of many voxels is long along some axis")] *= 2;
        }
        blocks
    }

    fn extents(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.extents[axis].div_ceil(self.size[axis]))
    }

    fn spacing(&self) -> [f64; 3] {
        std::array::from_fn(|axis| self.spacing[axis] * self.size[axis] as f64)
    }

    /// Ranges of voxels of every block, x fastest.
    fn ranges(&self) -> impl Iterator<Item = [std::ops::Range<usize>; 3]> {
        let [nx, ny, nz] = self.extents();
        let range = |axis: usize, block: usize| {
            let first = block * self.size[axis];
            first..(first + self.size[axis]).min(self.extents[axis])
        };
        (0..nx * ny * nz).map(move |at| [range(0, at % nx), range(1, at / nx % ny), range(2, at / (nx * ny))])
    }

    /// Mean of the finite intensities of every block; NaN where there is none.
    fn means(&self, image: &[f32]) -> impl Iterator<Item = f32> {
        let [nx, ny, _] = self.extents;
        self.ranges().map(move |[x, y, z]| {
            let rows = z.flat_map(|z| y.clone().map(move |y| (z * ny + y) * nx));
            let values = rows.flat_map(|row| image[row + x.start..row + x.end].iter().filter(|v| v.is_finite()));
            let (sum, count) = values.fold((0.0f32, 0u16), |(sum, count), value| (sum + value, count + 1));
            sum / f32::from(count)
        })
    }

    /// Label of the voxel in the middle of every block, little endian.
    fn labels(&self, labels: &[u16]) -> Vec<u8> {
        let [nx, ny, _] = self.extents;
        let middle = |range: &std::ops::Range<usize>| (range.start + range.end) / 2;
        self.ranges()
            .flat_map(|[x, y, z]| labels[(middle(&z) * ny + middle(&y)) * nx + middle(&x)].to_le_bytes())
            .collect()
    }

    /// What the page says about the volume's resolution.
    fn note(&self) -> String {
        let millimetres =
            |spacing: [f64; 3]| spacing.map(|mm| format!("{}", (mm * 1000.0).round() / 1000.0)).join(" × ");
        match self.size {
            [1, 1, 1] => format!("Every voxel of the volume, {} mm.", millimetres(self.spacing)),
            _ => {
                format!("Shown at {} mm, the volume has {} mm.", millimetres(self.spacing()), millimetres(self.spacing))
            }
        }
    }
}
