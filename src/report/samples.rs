//! Samples of a training side by side: one axial slice each, with the outlines of its labels.

use std::collections::BTreeSet;
use std::path::Path;

use super::canvas::Canvas;
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
/// Tiles of a row.
const COLUMNS: usize = 4;

/// A picture of samples of the same extents, in canonical orientation (RAS+), x fastest.
#[derive(Debug, Clone, Copy)]
pub struct SampleGrid<'a> {
    /// Title above the picture.
    pub title: &'a str,
    /// The samples, row by row; grey values are windowed as the first one's.
    pub tiles: &'a [SampleTile],
    /// Extents x, y, z in voxels.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
}

/// A sample and its caption.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTile {
    /// Comma-separated; broken into lines at commas.
    pub caption: Vec<String>,
    /// Intensities.
    pub image: Vec<f32>,
    /// Labels.
    pub labels: Vec<u16>,
}

/// Draws samples to a PNG, replacing `path` in one step. Each slice goes through the centroid of its labels, else through the
/// middle.
///
/// # Errors
/// When an image or label map does not fill the extents, there is none, or the file cannot be written.
pub fn write_samples(path: &Path, grid: &SampleGrid<'_>) -> Result<(), ReportError> {
    check(grid)?;
    let rows = grid.tiles.len().div_ceil(COLUMNS);
    let row_height = TILE + CAPTION_LINES * CAPTION_LINE + MARGIN;
    let width = COLUMNS * (TILE + MARGIN) + MARGIN;
    let mut canvas = Canvas::new(width, HEADER + rows * row_height, BACKGROUND);
    let title_width = (width - 2 * MARGIN) as f32;
    canvas.text_within(grid.title, (MARGIN as f32, HEADER as f32 / 2.0), 28.0, title_width, LIGHT);
    let levels = window(&grid.tiles[0].image);
    for (number, tile) in grid.tiles.iter().enumerate() {
        let corner = (MARGIN + number % COLUMNS * (TILE + MARGIN), HEADER + number / COLUMNS * row_height);
        draw_tile(&mut canvas, grid, tile, corner, levels);
        for (line, text) in lines(&tile.caption).iter().enumerate() {
            let y = (corner.1 + TILE + line * CAPTION_LINE + CAPTION_LINE / 2 + 2) as f32;
            let ink = if number == 0 { LIGHT } else { DIM };
            canvas.text_within(text, (corner.0 as f32, y), 18.0, TILE as f32, ink);
        }
    }
    canvas.write_png(path)
}

fn check(grid: &SampleGrid<'_>) -> Result<(), ReportError> {
    let (extents, spacing) = (grid.extents, grid.spacing);
    if grid.tiles.is_empty() {
        return Err(ReportError::Grid { extents, spacing });
    }
    check_maps(
        extents,
        spacing,
        grid.tiles.iter().flat_map(|t| [("image", t.image.len()), ("reference", t.labels.len())]),
    )
}

fn draw_tile(
    canvas: &mut Canvas,
    grid: &SampleGrid<'_>,
    tile: &SampleTile,
    corner: (usize, usize),
    levels: (f32, f32),
) {
    let size = |axis: usize| grid.extents[axis] as f64 * grid.spacing[axis];
    let position = Spread::of(&tile.labels, grid.extents).map_or(grid.extents[2] / 2, |spread| spread.centroid[2]);
    let view = SliceView {
        plane: Plane::Axial,
        position,
        shown: std::array::from_fn(|axis| (0.0, size(axis))),
        scale: TILE as f64 / size(0).max(size(1)),
    };
    let (left, top) = draw_slice(canvas, &view, &tile.image, (grid.extents, grid.spacing), (corner, TILE), levels);
    let labels = view.labels(&tile.labels, grid.extents, grid.spacing);
    let classes: BTreeSet<u16> = labels.iter().copied().filter(|label| ![0, IGNORED].contains(label)).collect();
    for class in classes {
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
        let tile = SampleTile { caption: Vec::new(), image: vec![0.0; 8], labels: vec![0; 7] };
        let grid = SampleGrid { title: "", tiles: &[tile], extents: [2; 3], spacing: [1.0; 3] };
        assert!(matches!(
            check(&grid),
            Err(ReportError::Voxels(MetricError::VoxelCount { found: 7, expected: 8, .. }))
        ));
        assert!(matches!(check(&SampleGrid { tiles: &[], ..grid }), Err(ReportError::Grid { .. })));
    }
}
