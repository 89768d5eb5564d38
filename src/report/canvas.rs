//! A picture in memory: pixels, rectangles, anti-aliased lines and discs, text.
//!
//! Coordinates are pixels from the top left corner, x to the right and y down; pixel (0, 0) covers 0..1 x 0..1.
//! Everything is clipped to the picture.

use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use image::{ExtendedColorType, ImageFormat, write_buffer_with_format};

use super::{ReportError, Rgb, write};

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Rect {
    pub(crate) fn new(left: f32, top: f32, width: f32, height: f32) -> Self {
        Self { left, top, right: left + width, bottom: top + height }
    }

    pub(crate) fn width(&self) -> f32 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f32 {
        self.bottom - self.top
    }
}

/// Which end of a text its position names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Centre,
    Right,
}

/// Ubuntu Light, under the Ubuntu Font Licence 1.0.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).expect("the embedded typeface is valid")
});

/// An RGB picture.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize, background: Rgb) -> Self {
        Self { width, height, pixels: vec![background; width * height] }
    }

    /// Sets one pixel; outside the picture nothing happens.
    pub(crate) fn set(&mut self, x: usize, y: usize, colour: Rgb) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = colour;
        }
    }

    /// Mixes `colour` into one pixel with an opacity of 0 to 1.
    fn blend(&mut self, x: i64, y: i64, colour: Rgb, alpha: f32) {
        let inside = (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y);
        if inside && alpha > 0.0 {
            let pixel = &mut self.pixels[y as usize * self.width + x as usize];
            for (channel, new) in pixel.iter_mut().zip(colour) {
                let (old, new) = (f32::from(*channel), f32::from(new));
                *channel = (old + (new - old) * alpha.min(1.0)).round() as u8;
            }
        }
    }

    /// Fills a rectangle, rounded to whole pixels.
    pub(crate) fn fill(&mut self, rect: Rect, colour: Rgb, alpha: f32) {
        for y in rect.top.round() as i64..rect.bottom.round() as i64 {
            for x in rect.left.round() as i64..rect.right.round() as i64 {
                self.blend(x, y, colour, alpha);
            }
        }
    }

    /// Draws connected segments. Where the line meets itself it is not darker: one coverage for all.
    pub(crate) fn polyline(&mut self, points: &[(f32, f32)], width: f32, colour: Rgb, alpha: f32) {
        let reach = width / 2.0 + 0.5;
        // Pixels of the picture that these points and their neighbourhood lie in.
        let columns = |points: &[(f32, f32)]| covered(points.iter().map(|point| point.0), reach, self.width);
        let rows = |points: &[(f32, f32)]| covered(points.iter().map(|point| point.1), reach, self.height);
        let (box_x, box_y) = (columns(points), rows(points));
        let mut coverage = vec![0.0f32; box_x.len() * box_y.len()];
        for segment in points.windows(2) {
            for (y, x) in rows(segment).flat_map(|y| columns(segment).map(move |x| (y, x))) {
                let near = reach - distance_to_segment((x as f32 + 0.5, y as f32 + 0.5), segment[0], segment[1]);
                let cell = &mut coverage[(y - box_y.start) * box_x.len() + x - box_x.start];
                *cell = cell.max(near.clamp(0.0, 1.0));
            }
        }
        for (at, covered) in coverage.into_iter().enumerate() {
            let (x, y) = (at % box_x.len() + box_x.start, at / box_x.len() + box_y.start);
            self.blend(x as i64, y as i64, colour, covered * alpha);
        }
    }

    /// Draws a filled disc.
    pub(crate) fn disc(&mut self, (x, y): (f32, f32), radius: f32, colour: Rgb, alpha: f32) {
        let reach = radius + 1.0;
        for py in (y - reach).floor() as i64..=(y + reach).ceil() as i64 {
            for px in (x - reach).floor() as i64..=(x + reach).ceil() as i64 {
                let distance = (px as f32 + 0.5 - x).hypot(py as f32 + 0.5 - y);
                self.blend(px, py, colour, (radius + 0.5 - distance).clamp(0.0, 1.0) * alpha);
            }
        }
    }

    /// Draws a line of text around the vertical middle `y` of its capitals.
    pub(crate) fn text(&mut self, text: &str, (x, y): (f32, f32), size: f32, anchor: Anchor, colour: Rgb) {
        /// Height of capitals of the embedded typeface over its line height.
        const CAPITALS: f32 = 0.6;
        /// The typeface is light; its strokes are strengthened to read well at 16 to 24 pixels.
        const WEIGHT: f32 = 1.4;
        let (glyphs, advance) = glyphs(text, size);
        let left = match anchor {
            Anchor::Left => x,
            Anchor::Centre => x - advance / 2.0,
            Anchor::Right => x - advance,
        };
        let baseline = (y + size * CAPITALS / 2.0).round();
        for (glyph, offset) in glyphs {
            let positioned = glyph.with_scale_and_position(size, ab_glyph::point(left + offset, baseline));
            let Some(outline) = FONT.outline_glyph(positioned) else { continue };
            let origin = outline.px_bounds().min;
            let mut covered = Vec::new();
            outline.draw(|px, py, coverage| covered.push((px, py, coverage)));
            for (px, py, coverage) in covered {
                let at = (origin.x as i64 + i64::from(px), origin.y as i64 + i64::from(py));
                self.blend(at.0, at.1, colour, (coverage * WEIGHT).min(1.0));
            }
        }
    }

    /// Draws a text with a rim, to be read on any ground.
    pub(crate) fn text_rimmed(&mut self, text: &str, (x, y): (f32, f32), size: f32, anchor: Anchor, colours: [Rgb; 2]) {
        let [ink, rim] = colours;
        for (dx, dy) in
            [(-1.5, 0.0), (1.5, 0.0), (0.0, -1.5), (0.0, 1.5), (-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)]
        {
            self.text(text, (x + dx, y + dy), size, anchor, rim);
        }
        self.text(text, (x, y), size, anchor, ink);
    }

    /// Draws a text, shortened with an ellipsis where it would be wider than `width`.
    pub(crate) fn text_within(&mut self, text: &str, at: (f32, f32), size: f32, width: f32, colour: Rgb) {
        self.text(&shortened(text, size, width), at, size, Anchor::Left, colour);
    }

    /// Writes the picture as PNG, replacing `path` in one step.
    pub(crate) fn write_png(&self, path: &Path) -> Result<(), ReportError> {
        let failed =
            |error| ReportError::Io { path: path.to_owned(), action: "write", source: std::io::Error::other(error) };
        let mut png = std::io::Cursor::new(Vec::new());
        let (width, height) = (self.width as u32, self.height as u32);
        let rgb = self.pixels.as_flattened();
        write_buffer_with_format(&mut png, rgb, width, height, ExtendedColorType::Rgb8, ImageFormat::Png)
            .map_err(failed)?;
        write(path, png.get_ref())
    }
}

/// Width in pixels of a text of `size` pixels per line.
pub(crate) fn text_width(text: &str, size: f32) -> f32 {
    glyphs(text, size).1
}

/// The text, shortened with an ellipsis where it would be wider than `width`.
pub(crate) fn shortened(text: &str, size: f32, width: f32) -> String {
    let mut shown = text.to_owned();
    while text_width(&shown, size) > width && shown.chars().count() > 1 {
        shown = shown.trim_end_matches('…').to_owned();
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Glyph positions along the baseline, and the total advance.
fn glyphs(text: &str, size: f32) -> (Vec<(ab_glyph::GlyphId, f32)>, f32) {
    let font = FONT.as_scaled(PxScale::from(size));
    let (mut glyphs, mut x) = (Vec::new(), 0.0);
    for character in text.chars() {
        let glyph = font.glyph_id(character);
        if let Some(&(before, _)) = glyphs.last() {
            x += font.kern(before, glyph);
        }
        glyphs.push((glyph, x));
        x += font.h_advance(glyph);
    }
    (glyphs, x)
}

/// Pixels from `reach` before the first coordinate to `reach` after the last one, of those that there are.
fn covered(coordinates: impl Iterator<Item = f32> + Clone, reach: f32, pixels: usize) -> Range<usize> {
    let within = |value: f32| value.clamp(0.0, pixels as f32) as usize;
    let first = within((coordinates.clone().fold(f32::INFINITY, f32::min) - reach).floor());
    first..within((coordinates.fold(f32::NEG_INFINITY, f32::max) + reach).ceil()).max(first)
}

fn distance_to_segment(p: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (abx, aby) = (b.0 - a.0, b.1 - a.1);
    let (apx, apy) = (p.0 - a.0, p.1 - a.1);
    let squared = abx * abx + aby * aby;
    let along = if squared > 0.0 { ((apx * abx + apy * aby) / squared).clamp(0.0, 1.0) } else { 0.0 };
    (apx - along * abx).hypot(apy - along * aby)
}
