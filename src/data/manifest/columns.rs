//! The first line of a table: which column is what.

use std::fmt;

use crate::data::io::MOST_CHANNELS;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// The file of all channels.
    Image,
    /// The file of one channel.
    Channel(usize),
    Label,
    Split,
    Name,
}

/// The columns that have one name.
const NAMED: [(&str, Column); 4] =
    [("image", Column::Image), ("label", Column::Label), ("split", Column::Split), ("name", Column::Name)];

/// What other programs call them.
const OTHER_NAMES: [(Column, &[&str]); 4] = [
    (
        Column::Image,
        &["img", "images", "scan", "volume", "file", "filename", "path", "filepath", "image_path", "input"],
    ),
    (
        Column::Label,
        &[
            "mask",
            "seg",
            "labels",
            "segmentation",
            "annotation",
            "ground_truth",
            "groundtruth",
            "gt",
            "target",
            "reference",
            "label_path",
            "mask_path",
        ],
    ),
    (Column::Split, &["fold", "set", "subset", "partition", "phase", "mode", "group"]),
    (Column::Name, &["id", "case", "case_id", "patient", "patient_id", "subject", "subject_id", "identifier"]),
];

/// Letters of a name that a message shows.
const SHOWN: usize = 40;

impl Column {
    /// The channel of its file; 0 for all.
    pub(super) fn channel(self) -> usize {
        if let Column::Channel(channel) = self { channel } else { 0 }
    }

    /// Whether it holds image files.
    pub(super) fn is_image(self) -> bool {
        matches!(self, Column::Image | Column::Channel(_))
    }

    fn of_name(name: &str) -> Option<Column> {
        let named = NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, column)| column);
        named.or_else(|| {
            let digits = name.strip_prefix("image_").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse().ok().map(Column::Channel)
        })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Channel(channel) => write!(f, "image_{channel}"),
            column => f.write_str(NAMED.into_iter().find(|(_, named)| named == column).expect("a named column").0),
        }
    }
}

/// The columns by the cells of the first line, or what is wrong with them.
pub(super) fn columns_of(cells: &[String]) -> Result<Vec<Column>, String> {
    if let ([only], Some((_, separator))) = (cells, separator_in(cells)) {
        let only: String = only.chars().take(SHOWN).collect();
        return Err(format!(
            "{only:?} is one column; expected columns that are separated by commas, not by {separator}"
        ));
    }
    let mut columns: Vec<Column> = Vec::new();
    for (number, cell) in (1..).zip(cells) {
        let lower = cell.to_lowercase();
        let column = Column::of_name(&lower).ok_or_else(|| unknown(number, cell, &lower))?;
        if columns.contains(&column) {
            return Err(format!("column {column} is there twice, expected once"));
        }
        columns.push(column);
    }
    check_images(&columns)?;
    Ok(columns)
}

/// The separator of a table that was written with another one, as spreadsheets do in some countries.
fn separator_in(cells: &[String]) -> Option<(char, &'static str)> {
    [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")].into_iter().find(|(mark, _)| cells[0].contains(*mark))
}

fn unknown(number: usize, cell: &str, lower: &str) -> String {
    let nearest = || {
        let known = NAMED.into_iter().map(|(name, column)| (strsim::osa_distance(name, lower), column));
        known.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= 2).map(|(_, column)| column)
    };
    let other = OTHER_NAMES.iter().find(|(_, names)| names.contains(&lower)).map(|(column, _)| *column);
    let hint = other.or_else(nearest).map(|column| format!("; is {column} meant?")).unwrap_or_default();
    let shown: String = cell.chars().take(SHOWN).collect();
    format!("column {number} is {shown:?}, expected image (or image_0, image_1, …), label, split or name{hint}")
}

/// Either one column of images, or one for each channel.
fn check_images(columns: &[Column]) -> Result<(), String> {
    let mut channels: Vec<usize> =
        columns.iter().filter(|column| matches!(column, Column::Channel(_))).map(|column| column.channel()).collect();
    channels.sort_unstable();
    match (columns.contains(&Column::Image), channels.last()) {
        (false, None) => {
            Err("no column image, expected it, or image_0, image_1, … for channels in files of their own".into())
        }
        (true, Some(_)) => Err(format!("columns image and image_{}, expected one or the other", channels[0])),
        (false, Some(&last)) if last >= MOST_CHANNELS => {
            Err(format!("column image_{last}, expected at most {MOST_CHANNELS} channels, from image_0 on"))
        }
        _ => match (0..).zip(&channels).find(|(expected, channel)| expected != *channel) {
            Some((missing, channel)) => {
                Err(format!("column image_{channel} and no image_{missing}, expected every channel from 0 on"))
            }
            None => Ok(()),
        },
    }
}
