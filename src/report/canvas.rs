//! A picture in memory with what plots need: rectangles, anti-aliased lines and discs, text.
//!
//! Coordinates are pixels from the top left corner, x to the right and y down; pixel (0, 0) covers 0..1 x 0..1.
//! Everything is clipped to the picture.

use std::path::Path;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

use super::{ReportError, Rgb};
use crate::files::replace_file;

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

/// How a line or a mark is painted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    pub colour: Rgb,
    /// Opacity, 0 to 1.
    pub alpha: f32,
    /// Line width in pixels.
    pub width: f32,
}

impl Paint {
    pub(crate) fn line(colour: Rgb, width: f32) -> Self {
        Self { colour, alpha: 1.0, width }
    }

    pub(crate) fn faint(self, alpha: f32) -> Self {
        Self { alpha, ..self }
    }
}

/// An RGB picture.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
    font: FontRef<'static>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize, background: Rgb) -> Self {
        // Ubuntu Light, under the Ubuntu Font Licence 1.0.
        let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).expect("the embedded typeface is valid");
        Self { width, height, pixels: vec![background; width * height], font }
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

    /// Draws connected segments inside `clip`. Where the line meets itself it is not darker: one coverage for all.
    pub(crate) fn polyline(&mut self, points: &[(f32, f32)], paint: Paint, clip: Rect) {
        let (left, top) = (clip.left.floor().max(0.0), clip.top.floor().max(0.0));
        let right = clip.right.ceil().min(self.width as f32);
        let bottom = clip.bottom.ceil().min(self.height as f32);
        if right <= left || bottom <= top {
            return;
        }
        let columns = (right - left) as usize;
        let mut coverage = vec![0.0f32; columns * (bottom - top) as usize];
        let reach = paint.width / 2.0 + 0.5;
        for pair in points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let y_from = (a.1.min(b.1) - reach).floor().max(top);
            let y_to = (a.1.max(b.1) + reach).ceil().min(bottom);
            let x_from = (a.0.min(b.0) - reach).floor().max(left);
            let x_to = (a.0.max(b.0) + reach).ceil().min(right);
            for y in y_from as usize..y_to as usize {
                for x in x_from as usize..x_to as usize {
                    let covered = reach - distance_to_segment((x as f32 + 0.5, y as f32 + 0.5), a, b);
                    let cell = &mut coverage[(y - top as usize) * columns + x - left as usize];
                    *cell = cell.max(covered.clamp(0.0, 1.0));
                }
            }
        }
        for (at, covered) in coverage.into_iter().enumerate() {
            let (x, y) = (at % columns + left as usize, at / columns + top as usize);
            self.blend(x as i64, y as i64, paint.colour, covered * paint.alpha);
        }
    }

    /// Draws one straight line.
    pub(crate) fn line(&mut self, a: (f32, f32), b: (f32, f32), paint: Paint) {
        let reach = paint.width;
        let clip = Rect {
            left: a.0.min(b.0) - reach,
            top: a.1.min(b.1) - reach,
            right: a.0.max(b.0) + reach,
            bottom: a.1.max(b.1) + reach,
        };
        self.polyline(&[a, b], paint, clip);
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

    /// Width in pixels of a text of `size` pixels per line.
    pub(crate) fn text_width(&self, text: &str, size: f32) -> f32 {
        self.glyphs(text, size).1
    }

    /// Glyph positions along the baseline, and the total advance.
    fn glyphs(&self, text: &str, size: f32) -> (Vec<(ab_glyph::GlyphId, f32)>, f32) {
        let font = self.font.as_scaled(PxScale::from(size));
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

    /// Draws a line of text around the vertical middle `y` of its capitals.
    pub(crate) fn text(&mut self, text: &str, (x, y): (f32, f32), size: f32, anchor: Anchor, colour: Rgb) {
        /// Height of capitals of the embedded typeface over its line height.
        const CAPITALS: f32 = 0.6;
        /// The typeface is light; its strokes are strengthened to read well at 16 to 24 pixels.
        const WEIGHT: f32 = 1.4;
        let (glyphs, advance) = self.glyphs(text, size);
        let left = match anchor {
            Anchor::Left => x,
            Anchor::Centre => x - advance / 2.0,
            Anchor::Right => x - advance,
        };
        let baseline = (y + size * CAPITALS / 2.0).round();
        for (glyph, offset) in glyphs {
            let positioned = glyph.with_scale_and_position(size, ab_glyph::point(left + offset, baseline));
            let Some(outline) = self.font.outline_glyph(positioned) else { continue };
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
        self.text(&self.shortened(text, size, width), at, size, Anchor::Left, colour);
    }

    /// As [`Self::text_within`], centred at `at`.
    pub(crate) fn text_centred(&mut self, text: &str, at: (f32, f32), size: f32, width: f32, colour: Rgb) {
        self.text(&self.shortened(text, size, width), at, size, Anchor::Centre, colour);
    }

    fn shortened(&self, text: &str, size: f32, width: f32) -> String {
        let mut shown = text.to_owned();
        while self.text_width(&shown, size) > width && shown.chars().count() > 1 {
            shown = shown.trim_end_matches('…').to_owned();
            shown.pop();
            shown.push('…');
        }
        shown
    }

    /// Writes the picture as PNG, replacing `path` in one step.
    pub(crate) fn write_png(&self, path: &Path) -> Result<(), ReportError> {
        let failed = |source| ReportError::Write { path: path.to_owned(), source };
        let mut png = std::io::Cursor::new(Vec::new());
        let (width, height) = (self.width as u32, self.height as u32);
        let rgb = self.pixels.as_flattened();
        image::write_buffer_with_format(
            &mut png,
            rgb,
            width,
            height,
            image::ExtendedColorType::Rgb8,
            image::ImageFormat::Png,
        )
        .map_err(|error| failed(std::io::Error::other(error)))?;
        replace_file(path, png.get_ref()).map_err(failed)
    }
}

fn distance_to_segment(p: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (abx, aby) = (b.0 - a.0, b.1 - a.1);
    let (apx, apy) = (p.0 - a.0, p.1 - a.1);
    let squared = abx * abx + aby * aby;
    let along = if squared > 0.0 { ((apx * abx + apy * aby) / squared).clamp(0.0, 1.0) } else { 0.0 };
    (apx - along * abx).hypot(apy - along * aby)
}
