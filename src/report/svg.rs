//! Drawings made of four kinds of marks (rectangles, lines, discs, text), written as SVG.
//!
//! A plot's file is the same to the last byte wherever it is drawn: coordinates have one decimal, and nothing depends on
//! the fonts of the machine. Text and ground have no fixed colour: the page that a drawing stands in may set them
//! (`color`, and the class `ground`), so that it is readable in a dark page too. There are no ids that could clash.

use std::fmt::Write as _;
use std::path::Path;

use super::canvas::{Anchor, Canvas, Rect, text_width};
use super::{ReportError, Rgb, write};

/// How every drawing begins.
const OPENING: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\"";
/// Typefaces of nearly the same widths, most systems have one of them.
const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', 'Nimbus Sans', Roboto, sans-serif";
/// Height of capitals of these typefaces, in em.
const CAPITALS: f32 = 0.72;
/// Line height of the embedded typeface, in em: the canvas counts text sizes in lines.
const LINE: f32 = 1.12;
/// The embedded typeface is narrow; a wide one needs this much more room.
const ROOM: f32 = 1.2;
/// Colour of text where the page sets none.
const INK: Rgb = [38, 38, 38];

/// A colour of the page, or one of a mark's own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Colour {
    Ink,
    Ground,
    Own(Rgb),
}

/// Colour and opacity of a mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Paint {
    colour: Colour,
    alpha: f32,
}

impl Paint {
    /// Titles and labels.
    pub(super) const INK: Self = Self { colour: Colour::Ink, alpha: 1.0 };
    /// Secondary text, and frames.
    pub(super) const DIM: Self = Self { colour: Colour::Ink, alpha: 0.68 };
    /// Lines of a grid.
    pub(super) const GRID: Self = Self { colour: Colour::Ink, alpha: 0.13 };
    /// What is below all marks.
    pub(super) const GROUND: Self = Self { colour: Colour::Ground, alpha: 1.0 };

    pub(super) fn of(colour: Rgb) -> Self {
        Self { colour: Colour::Own(colour), alpha: 1.0 }
    }

    pub(super) fn faint(self, alpha: f32) -> Self {
        Self { alpha, ..self }
    }

    fn rgb(self) -> Rgb {
        match self.colour {
            Colour::Ink => INK,
            Colour::Ground => [255; 3],
            Colour::Own(rgb) => rgb,
        }
    }

    /// The attribute `fill` or `stroke` with its opacity.
    fn attribute(self, name: &str) -> String {
        let colour = match self.colour {
            Colour::Ink => "currentColor".to_owned(),
            Colour::Ground | Colour::Own(_) => hex(self.rgb()),
        };
        let opacity = if self.alpha < 1.0 { format!(" {name}-opacity=\"{}\"", self.alpha) } else { String::new() };
        let class = if self.colour == Colour::Ground { " class=\"ground\"" } else { "" };
        format!(" {name}=\"{colour}\"{opacity}{class}")
    }
}

enum Shape {
    Rect(Rect),
    Line { points: Vec<(f32, f32)>, width: f32 },
    Disc { centre: (f32, f32), radius: f32 },
    Text { text: String, at: (f32, f32), size: f32, anchor: Anchor },
}

struct Mark {
    shape: Shape,
    paint: Paint,
    /// What a pointer over the mark shows.
    note: String,
}

/// A picture that is being drawn, later marks over earlier ones. Lengths are pixels of a picture that is not scaled, from
/// the top left corner, y down.
pub(super) struct Drawing {
    width: u32,
    height: u32,
    title: String,
    description: String,
    marks: Vec<Mark>,
}

impl Drawing {
    /// An empty drawing. A screen reader reads title and description.
    pub(super) fn new((width, height): (u32, u32), title: &str, description: &str) -> Self {
        let marks = Vec::new();
        let mut drawing = Self { width, height, title: title.to_owned(), description: description.to_owned(), marks };
        drawing.rect(Rect::new(0.0, 0.0, width as f32, height as f32), Paint::GROUND);
        drawing
    }

    fn push(&mut self, shape: Shape, paint: Paint) {
        self.marks.push(Mark { shape, paint, note: String::new() });
    }

    pub(super) fn rect(&mut self, area: Rect, paint: Paint) {
        self.push(Shape::Rect(area), paint);
    }

    /// Draws connected segments.
    pub(super) fn line(&mut self, points: &[(f32, f32)], width: f32, paint: Paint) {
        self.push(Shape::Line { points: points.to_vec(), width }, paint);
    }

    pub(super) fn disc(&mut self, centre: (f32, f32), radius: f32, paint: Paint) {
        self.push(Shape::Disc { centre, radius }, paint);
    }

    /// Draws a disc with a hole.
    pub(super) fn ring(&mut self, centre: (f32, f32), radius: f32, paint: Paint) {
        self.disc(centre, radius, paint);
        self.disc(centre, radius * 0.68, Paint::GROUND);
    }

    /// Draws a line of text, the middle of its capitals at `at`; `size` is the em.
    pub(super) fn text(&mut self, text: &str, at: (f32, f32), size: f32, anchor: Anchor, paint: Paint) {
        self.push(Shape::Text { text: text.to_owned(), at, size, anchor }, paint);
    }

    /// What a pointer over the last mark shows.
    pub(super) fn note(&mut self, note: String) {
        if let Some(mark) = self.marks.last_mut() {
            mark.note = note;
        }
    }

    /// Writes the drawing, replacing `path` in one step: as PNG where the path ends with `.png`, else as SVG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), ReportError> {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            return self.painted().write_png(path);
        }
        write(path, self.to_svg().as_bytes())
    }

    fn to_svg(&self) -> String {
        let Self { width, height, .. } = self;
        let mut svg = format!(
            "{OPENING} role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" color=\"{}\" \
             font-family=\"{FONTS}\" stroke-linejoin=\"round\">\n<title>{}</title>\n<desc>{}</desc>\n",
            hex(INK),
            escaped(&self.title),
            escaped(&self.description)
        );
        for mark in &self.marks {
            mark.write(&mut svg);
        }
        svg + "</svg>\n"
    }

    fn painted(&self) -> Canvas {
        let mut canvas = Canvas::new(self.width as usize, self.height as usize, [255; 3]);
        for Mark { shape, paint, .. } in &self.marks {
            let (rgb, alpha) = (paint.rgb(), paint.alpha);
            match shape {
                Shape::Rect(area) => canvas.fill(*area, rgb, alpha),
                Shape::Line { points, width } => canvas.polyline(points, *width, rgb, alpha),
                Shape::Disc { centre, radius } => canvas.disc(*centre, *radius, rgb, alpha),
                Shape::Text { text, at, size, anchor } => {
                    let mixed = rgb.map(|channel| (255.0 - (255.0 - f32::from(channel)) * alpha).round() as u8);
                    canvas.text(text, *at, size * LINE, *anchor, mixed);
                }
            }
        }
        canvas
    }
}

impl Mark {
    fn write(&self, svg: &mut String) {
        let (fill, stroke) = (self.paint.attribute("fill"), self.paint.attribute("stroke"));
        let (tag, attributes, content) = match &self.shape {
            Shape::Rect(area) => {
                let [x, y, width, height] = [area.left, area.top, area.width(), area.height()].map(number);
                ("rect", format!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{fill}"), String::new())
            }
            Shape::Line { points, width } => {
                let points: Vec<String> = points.iter().map(|&(x, y)| format!("{},{}", number(x), number(y))).collect();
                let points = points.join(" ");
                let width = number(*width);
                let attributes = format!("points=\"{points}\" fill=\"none\"{stroke} stroke-width=\"{width}\"");
                ("polyline", attributes, String::new())
            }
            Shape::Disc { centre, radius } => {
                let [x, y, radius] = [centre.0, centre.1, *radius].map(number);
                ("circle", format!("cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"{fill}"), String::new())
            }
            Shape::Text { text, at, size, anchor } => {
                let anchor = match anchor {
                    Anchor::Left => "",
                    Anchor::Centre => " text-anchor=\"middle\"",
                    Anchor::Right => " text-anchor=\"end\"",
                };
                let [x, y, size] = [at.0, at.1 + size * CAPITALS / 2.0, *size].map(number);
                ("text", format!("x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}{fill}"), escaped(text))
            }
        };
        let note = if self.note.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(&self.note)) };
        // Writing to a string does not fail.
        let _ = match content + &note {
            empty if empty.is_empty() => writeln!(svg, "<{tag} {attributes}/>"),
            content => writeln!(svg, "<{tag} {attributes}>{content}</{tag}>"),
        };
    }
}

/// Room that a text needs, in pixels.
pub(super) fn room(text: &str, size: f32) -> f32 {
    text_width(text, size * LINE) * ROOM
}

/// The text, shortened with an ellipsis where it needs more room than `width`.
pub(super) fn shortened(text: &str, size: f32, width: f32) -> String {
    super::canvas::shortened(text, size * LINE, width / ROOM)
}

/// A drawing's file as an element of an HTML page; `None` where the file is another program's.
pub(super) fn inline(file: &[u8]) -> Option<String> {
    let rest = std::str::from_utf8(file).ok()?.strip_prefix(OPENING)?;
    Some(format!("<svg class=\"plot\"{rest}"))
}

/// Text that is safe as content of XML or HTML, and in a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            '\t' | '\n' | '\r' => safe.push(character),
            // XML 1.0 has no such characters.
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => safe.push(char::REPLACEMENT_CHARACTER),
            _ => safe.push(character),
        }
    }
    safe
}

/// A colour as CSS writes it.
pub(super) fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// One decimal, or none where it is 0.
fn number(value: f32) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0").unwrap_or(&text) {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let expected = [(0.0, "0"), (-0.04, "0"), (12.0, "12"), (3.12, "3.1"), (-7.96, "-8"), (1e4, "10000")];
        expected.iter().for_each(|&(value, text)| assert_eq!(number(value), text));
    }

    #[test]
    fn a_drawing_is_these_bytes() {
        let mut drawing = Drawing::new((40, 30), "a < b", "c & d");
        drawing.line(&[(1.0, 2.0), (3.25, 4.0)], 1.5, Paint::GRID);
        drawing.disc((5.0, 6.0), 2.0, Paint::of([0, 114, 178]));
        drawing.note("\"x\" \u{1}".to_owned());
        drawing.text("<t>", (7.0, 8.0), 10.0, Anchor::Right, Paint::INK);
        let marks = "<title>a &lt; b</title>\n<desc>c &amp; d</desc>\n\
            <rect x=\"0\" y=\"0\" width=\"40\" height=\"30\" fill=\"#ffffff\" class=\"ground\"/>\n\
            <polyline points=\"1,2 3.2,4\" fill=\"none\" stroke=\"currentColor\" stroke-opacity=\"0.13\" stroke-width=\"1.5\"/>\n\
            <circle cx=\"5\" cy=\"6\" r=\"2\" fill=\"#0072b2\"><title>&quot;x&quot; \u{fffd}</title></circle>\n\
            <text x=\"7\" y=\"11.6\" font-size=\"10\" text-anchor=\"end\" fill=\"currentColor\">&lt;t&gt;</text>\n</svg>\n";
        let svg = drawing.to_svg();
        assert_eq!(svg.split_once(">\n").expect("an opening").1, marks);
        let inline = inline(svg.as_bytes()).expect("it is a drawing");
        assert!(inline.starts_with("<svg class=\"plot\" role=\"img\"") && inline.ends_with(marks));
        assert_eq!(super::inline(b"<?xml version=\"1.0\"?><svg/>"), None);
    }
}
