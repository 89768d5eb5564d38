//! The confusion matrix as a picture: each row, a class of the reference, by the part of its voxels in each predicted class.

use std::path::Path;

use super::axes::SMALL;
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint, shortened};
use super::{OKABE_ITO, ReportError};
use crate::metrics::Confusion;

/// Classes that are drawn; the others are in the table.
const MOST: usize = 24;
/// Room for names to the left and above.
const NAMES: (f32, f32) = (230.0, 120.0);

/// Draws a confusion matrix, replacing `path` in one step; the format is as in [`super::write_curves`]. A cell is the darker the
/// larger its part of the row; a number stands in it where there is room. Of more than 24 classes the first 24 are drawn.
///
/// # Errors
/// When the file cannot be written.
pub fn write_confusion_plot(path: &Path, confusion: &Confusion) -> Result<(), ReportError> {
    let count = confusion.values.len().min(MOST);
    let cell = (760.0 / count.max(1) as f32).clamp(34.0, 110.0);
    let side = cell * count as f32;
    let size = ((NAMES.0 + side).max(520.0) as u32 + 40, (NAMES.1 + side) as u32 + 50);
    let description = "Rows: classes of the reference; columns: classes of the prediction; parts of a row's voxels.";
    let mut drawing = Drawing::new(size, "Confusion between classes", description);
    drawing.text("Confusion between classes", (24.0, 26.0), 21.0, Anchor::Left, Paint::INK);
    let key = "rows: reference, columns: prediction, parts of a row in %";
    drawing.text(key, (24.0, 52.0), SMALL, Anchor::Left, Paint::DIM);
    for (row, name) in confusion.names.iter().take(count).enumerate() {
        let middle = NAMES.1 + cell * (row as f32 + 0.5);
        named(&mut drawing, name, (NAMES.0 - 12.0, middle), NAMES.0 - 36.0, Anchor::Right);
        // Names of narrow columns would run into each other: every other one is a line higher.
        let (column, lift) =
            (NAMES.0 + cell * (row as f32 + 0.5), if row % 2 == 0 || cell > 100.0 { 14.0 } else { 34.0 });
        named(
            &mut drawing,
            name,
            (column, NAMES.1 - lift),
            if cell > 100.0 { cell } else { 2.0 * cell } - 8.0,
            Anchor::Centre,
        );
        draw_row(&mut drawing, confusion, row, (count, cell));
    }
    if count < confusion.values.len() {
        let rest = format!("and {} more classes, in confusion.csv", confusion.values.len() - count);
        drawing.text(&rest, (NAMES.0, NAMES.1 + side + 30.0), SMALL, Anchor::Left, Paint::DIM);
    }
    drawing.write(path)
}

fn draw_row(drawing: &mut Drawing, confusion: &Confusion, row: usize, (count, cell): (usize, f32)) {
    let shares = confusion.shares(row);
    for column in 0..count {
        let (left, top) = (NAMES.0 + cell * column as f32, NAMES.1 + cell * row as f32);
        let area = Rect::new(left + 1.0, top + 1.0, cell - 2.0, cell - 2.0);
        let share = shares.as_ref().map_or(0.0, |shares| shares[column]);
        let colour = if row == column { OKABE_ITO[0] } else { OKABE_ITO[1] };
        drawing.rect(area, Paint::GRID);
        // Two decimals of opacity are enough for an eye.
        drawing.rect(area, Paint::of(colour).faint((share * 80.0).round() as f32 / 100.0));
        let (from, to) = (&confusion.names[row], &confusion.names[column]);
        drawing.note(format!("{from} taken for {to}: {} voxels", confusion.voxels[row][column]));
        let text = match 100.0 * share {
            _ if shares.is_none() => "–".to_owned(),
            0.0 => "0".to_owned(),
            percent if percent < 0.1 => "<0.1".to_owned(),
            percent => format!("{percent:.1}"),
        };
        let size = if cell < 50.0 { 12.0 } else { SMALL };
        drawing.text(&text, (left + cell / 2.0, top + cell / 2.0), size, Anchor::Centre, Paint::INK);
    }
}

fn named(drawing: &mut Drawing, name: &str, at: (f32, f32), width: f32, anchor: Anchor) {
    let shown = shortened(name, SMALL, width);
    drawing.text(&shown, at, SMALL, anchor, Paint::INK);
    if shown != name {
        drawing.note(name.to_owned());
    }
}
