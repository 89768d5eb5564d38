//! Samples of a training side by side: one axial slice each, with the outlines of its labels. Samples of several channels have
//! a row for each channel.

use std::collections::BTreeSet;
use std::path::Path;

use super::canvas::{Anchor, Canvas};
use super::overlay::{BACKGROUND, DIM, LIGHT, Spread, draw_slice, window};
use super::slice::{Plane, SliceView, outline};
use super::{HEADER, MARGIN, ReportError, check_maps, reference_colour};
use crate::metrics::IGNORED;

/// Side in pixels of the square that each slice is centred in.
const TILE: usize = 320;
/// Height in pixels of the caption below a tile, per line.
const CAPTION_LINE: usize = 22;
/// Lines of a caption.
const CAPTION_LINES: usize = 3;
/// Samples of a row.
const COLUMNS: usize = 4;

/// Slices, samples times channels, of a picture: 27 million pixels in full rows.
pub const MOST_SLICES: usize = 200;

/// A picture of samples of the same extents, in canonical orientation (RAS+), x fastest.
#[derive(Debug, Clone, Copy)]
pub struct SampleGrid<'a> {
    /// Title above the picture.
    pub title: &'a str,
    /// The samples, row by row; grey values of a channel are windowed as the first sample's.
    pub tiles: &'a [SampleTile],
    /// Names of the channels, written into their slices where there are several.
    pub channels: &'a [String],
    /// Extents x, y, z in voxels.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
}

/// A sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTile {
    /// Its channels, as many as names in [`SampleGrid::channels`].
    pub channels: Vec<ChannelTile>,
    /// Labels; 0 has no outline.
    pub labels: Vec<u16>,
}

/// A channel of a sample and its caption.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelTile {
    /// Comma-separated; broken into lines at commas.
    pub caption: Vec<String>,
    /// Intensities.
    pub image: Vec<f32>,
}

/// Draws samples to a PNG, replacing `path` in one step. Each slice goes through the centroid of its labels, else through the
/// middle. The channels of four samples lie below one another, then come those of the next four.
///
/// # Errors
/// When an image or label map does not fill the extents, there is none, or the file cannot be written.
pub fn write_samples(path: &Path, grid: &SampleGrid<'_>) -> Result<(), ReportError> {
    check(grid)?;
    let channels = grid.channels.len();
    let rows = grid.tiles.len().div_ceil(COLUMNS) * channels;
    let row_height = TILE + CAPTION_LINES * CAPTION_LINE + MARGIN;
    let width = COLUMNS * (TILE + MARGIN) + MARGIN;
    let mut canvas = Canvas::new(width, HEADER + rows * row_height, BACKGROUND);
    let title_width = (width - 2 * MARGIN) as f32;
    canvas.text_within(grid.title, (MARGIN as f32, HEADER as f32 / 2.0), 28.0, title_width, LIGHT);
    for (channel, name) in grid.channels.iter().enumerate() {
        let levels = window(&grid.tiles[0].channels[channel].image);
        for (number, tile) in grid.tiles.iter().enumerate() {
            let row = number / COLUMNS * channels + channel;
            let corner = (MARGIN + number % COLUMNS * (TILE + MARGIN), HEADER + row * row_height);
            draw_tile(&mut canvas, grid, (tile, channel), corner, levels);
            if channels > 1 {
                let at = ((corner.0 + TILE / 2) as f32, (corner.1 + 14) as f32);
                canvas.text_rimmed(name, at, 18.0, Anchor::Centre, [LIGHT, BACKGROUND]);
            }
            for (line, text) in lines(&tile.channels[channel].caption).iter().enumerate() {
                let y = (corner.1 + TILE + line * CAPTION_LINE + CAPTION_LINE / 2 + 2) as f32;
                let ink = if number == 0 { LIGHT } else { DIM };
                canvas.text_within(text, (corner.0 as f32, y), 18.0, TILE as f32, ink);
            }
        }
    }
    canvas.write_png(path)
}

fn check(grid: &SampleGrid<'_>) -> Result<(), ReportError> {
    let (extents, spacing) = (grid.extents, grid.spacing);
    let complete = |tile: &SampleTile| tile.channels.len() == grid.channels.len();
    if grid.tiles.is_empty() || grid.channels.is_empty() || !grid.tiles.iter().all(complete) {
        return Err(ReportError::Grid { extents, spacing });
    }
    let images = grid.tiles.iter().flat_map(|t| t.channels.iter().map(|c| ("image", c.image.len())));
    let labels = grid.tiles.iter().map(|t| ("reference", t.labels.len()));
    check_maps(extents, spacing, images.chain(labels))
}

fn draw_tile(
    canvas: &mut Canvas,
    grid: &SampleGrid<'_>,
    (tile, channel): (&SampleTile, usize),
    corner: (usize, usize),
    levels: (f32, f32),
) {
    let image = &tile.channels[channel].image;
    let size = |axis: usize| grid.extents[axis] as f64 * grid.spacing[axis];
    let position = Spread::of(&tile.labels, grid.extents).map_or(grid.extents[2] / 2, |spread| spread.centroid[2]);
    let view = SliceView {
        plane: Plane::Axial,
        position,
        shown: std::array::from_fn(|axis| (0.0, size(axis))),
        scale: TILE as f64 / size(0).max(size(1)),
    };
    let (left, top) = draw_slice(canvas, &view, image, (grid.extents, grid.spacing), (corner, TILE), levels);
    let labels = view.labels(&tile.labels, grid.extents, grid.spacing);
    let present: BTreeSet<u16> = labels.iter().copied().filter(|label| ![0, IGNORED].contains(label)).collect();
    for class in present {
        for (x, y) in outline(&labels, view.size().0, |label| label == class, 1) {
            canvas.set(left + x, top + y, reference_colour(class));
        }
    }
}

/// Breaks a caption into lines of a tile's width; lines that do not fit are dropped.
fn lines(caption: &[String]) -> Vec<String> {
    const MOST: usize = 38;
    let mut lines: Vec<String> = Vec::new();
    for part in caption {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() + 2 <= MOST => {
                line.push_str(", ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines.truncate(CAPTION_LINES);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MetricError;

    #[test]
    fn captions_break_between_transformations() {
        let parts = ["rotation 12° -3° 25°", "scale 0.83", "flip x", "blur 0.71", "noise 0.11"].map(str::to_owned);
        assert_eq!(lines(&parts), ["rotation 12° -3° 25°, scale 0.83", "flip x, blur 0.71, noise 0.11"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn maps_that_do_not_fill_the_extents_are_refused() {
        let channel = |voxels: usize| ChannelTile { caption: Vec::new(), image: vec![0.0; voxels] };
        let tile = SampleTile { channels: vec![channel(8)], labels: vec![0; 7] };
        let one = ["t1".to_owned()];
        let grid = SampleGrid { title: "", tiles: &[tile], channels: &one, extents: [2; 3], spacing: [1.0; 3] };
        let refused = |grid: &SampleGrid<'_>, voxels: usize| {
            let error = check(grid).expect_err("a map does not fill the extents");
            let is_it = matches!(error, ReportError::Voxels(MetricError::VoxelCount { found, expected: 8, .. }) if found == voxels);
            assert!(is_it, "{error}");
        };
        refused(&grid, 7);
        let both = [one[0].clone(), "t2".to_owned()];
        let short = [SampleTile { channels: vec![channel(8), channel(6)], labels: vec![0; 8] }];
        refused(&SampleGrid { tiles: &short, channels: &both, ..grid }, 6);
        for wrong in [
            SampleGrid { tiles: &[], ..grid },
            SampleGrid { channels: &[], ..grid },
            SampleGrid { channels: &both, ..grid },
        ] {
            assert!(matches!(check(&wrong), Err(ReportError::Grid { .. })));
        }
    }

    /// Two channels of five samples: four rows, of which the second and the fourth show the second channel.
    #[test]
    fn channels_lie_below_one_another() {
        let tile = |grey: f32| {
            let channel = |image: Vec<f32>| ChannelTile { caption: vec!["as loaded".to_owned()], image };
            // A ramp for the window, and a slice without one.
            let mut bright = vec![0.0, 1.0];
            bright.resize(16, grey);
            SampleTile { channels: vec![channel(vec![0.0; 16]), channel(bright)], labels: vec![0; 16] }
        };
        let tiles: Vec<SampleTile> = (0..5).map(|_| tile(1.0)).collect();
        let channels = ["t1".to_owned(), "t2".to_owned()];
        let grid =
            SampleGrid { title: "two", tiles: &tiles, channels: &channels, extents: [2, 2, 4], spacing: [1.0; 3] };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("samples.png");
        write_samples(&path, &grid).expect("written");
        let picture = image::open(&path).expect("a picture").to_rgb8();
        let row = (TILE + CAPTION_LINES * CAPTION_LINE + MARGIN) as u32;
        assert_eq!(picture.height(), HEADER as u32 + 4 * row);
        let middle = |column: u32, line: u32| {
            let x = MARGIN as u32 + column * (TILE + MARGIN) as u32 + TILE as u32 / 2;
            picture.get_pixel(x, HEADER as u32 + line * row + TILE as u32 / 2).0
        };
        for column in 0..4 {
            assert_eq!((middle(column, 0), middle(column, 1)), ([0; 3], [255; 3]), "column {column}");
        }
        assert_eq!((middle(0, 2), middle(0, 3)), ([0; 3], [255; 3]));
        assert_eq!((middle(1, 2), middle(1, 3)), (BACKGROUND, BACKGROUND));
    }
}
