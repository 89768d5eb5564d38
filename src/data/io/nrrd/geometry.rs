//! From the axes of an NRRD file to three axes in the patient and one of channels.

use super::text::{Text, shown};
use crate::data::io::axes;
use crate::data::{DataError, Warning};

/// Axes of a file, at most (`NRRD_DIM_MAX` of the definition's own library).
const MOST_AXES: usize = 16;

/// How the axes of a file lie.
pub(super) struct Geometry {
    /// Extents x, y, z, then those of the other axes.
    pub(super) shape: Vec<usize>,
    /// True if the other axes are the first of the file.
    pub(super) interleaved: bool,
    /// Voxel indices to RAS+ mm.
    pub(super) affine: [[f64; 4]; 3],
    pub(super) spacing: [f64; 3],
    pub(super) warnings: Vec<Warning>,
}

/// Extents in the order of the file.
pub(super) fn sizes_of(text: &Text) -> Result<Vec<usize>, DataError> {
    let expected = "1 to 16 axes";
    let axes: usize = text.number("dimension", expected)?.ok_or_else(|| text.absent("dimension", expected))?;
    if !(1..=MOST_AXES).contains(&axes) {
        return Err(text.wrong("dimension", axes.to_string(), expected));
    }
    let expected = "one extent of 1 or more per axis";
    let sizes: Vec<usize> = text.numbers("sizes", axes, expected)?.ok_or_else(|| text.absent("sizes", expected))?;
    if sizes.contains(&0) {
        return Err(text.wrong("sizes", format!("{sizes:?}"), expected));
    }
    Ok(sizes)
}

impl Geometry {
    pub(super) fn of(text: &Text, sizes: &[usize]) -> Result<Geometry, DataError> {
        let expected = "for each axis a vector such as (0.5,0,0), or none";
        let directions = text.vectors("space directions", sizes.len(), expected)?;
        let is_space = spatial_axes(text, sizes, directions.as_deref())?;
        let spatial: Vec<usize> = (0..sizes.len()).filter(|&axis| is_space[axis]).collect();
        if spatial.is_empty() || spatial.len() > 3 {
            let found = format!("{:?}, of which {} are axes of space", sizes, spatial.len());
            return Err(text.wrong("sizes", found, "1 to 3 axes of space, and others"));
        }
        let (shape, interleaved) = shape_of(text, sizes, &spatial)?;
        let mut warnings = Vec::new();
        let affine = match &directions {
            Some(directions) => with_directions(text, directions, &spatial, &mut warnings)?,
            None => with_spacings(text, sizes.len(), &spatial, &mut warnings)?,
        };
        if !axes::is_regular(&affine) {
            let found = format!("{affine:?} (as an affine to RAS)");
            return Err(text.wrong("space directions", found, "three independent finite axes"));
        }
        let mut spacing = axes::column_lengths(&affine);
        spacing[spatial.len()..].fill(1.0);
        warnings.extend(axes::warnings_of(&affine, spacing, spatial.len()));
        Ok(Geometry { shape, interleaved, affine, spacing, warnings })
    }
}

/// Which axes of the file are axes of space: those with a direction; without directions those of kind `domain` or `space`, or
/// of no kind where there are no more than three.
fn spatial_axes(text: &Text, sizes: &[usize], directions: Option<&[Option<Vec<f64>>]>) -> Result<Vec<bool>, DataError> {
    if let Some(directions) = directions {
        // The fourth number of a vector is its time.
        let in_space = |vector: &Vec<f64>| vector.len() <= 3 || vector[..3].iter().any(|&number| number != 0.0);
        return Ok(directions.iter().map(|vector| vector.as_ref().is_some_and(in_space)).collect());
    }
    let kinds: Vec<String> = match text.field("kinds") {
        Some(value) => value.split_whitespace().map(str::to_ascii_lowercase).collect(),
        None => vec!["none".to_owned(); sizes.len()],
    };
    if kinds.len() != sizes.len() {
        let found = text.field("kinds").map(shown).unwrap_or_default();
        return Err(text.wrong("kinds", found, "one word per axis, such as domain, list or vector"));
    }
    let mut left = 3;
    let is_space = |kind: String| {
        let is_space = matches!(kind.as_str(), "domain" | "space" | "none" | "???") && left > 0;
        left -= usize::from(is_space);
        is_space
    };
    Ok(kinds.into_iter().map(is_space).collect())
}

/// Extents x, y, z and those of the other axes, and whether these are the first of the file.
fn shape_of(text: &Text, sizes: &[usize], spatial: &[usize]) -> Result<(Vec<usize>, bool), DataError> {
    let others: Vec<usize> = (0..sizes.len()).filter(|axis| !spatial.contains(axis)).collect();
    let mut shape: Vec<usize> = spatial.iter().map(|&axis| sizes[axis]).collect();
    if !others.is_empty() {
        // They follow z, also where there is none.
        shape.resize(3, 1);
        shape.extend(others.iter().map(|&axis| sizes[axis]));
    }
    // An axis of one element may lie anywhere.
    let (first, last) = (spatial[0], spatial[spatial.len() - 1]);
    let mut large = others.into_iter().filter(|&axis| sizes[axis] > 1).peekable();
    let interleaved = large.peek().is_some_and(|&axis| axis < first);
    if large.all(|axis| if interleaved { axis < first } else { axis > last }) {
        return Ok((shape, interleaved));
    }
    let expected = "the axis of the channels before or after those of space";
    Err(text.wrong("sizes", format!("{sizes:?}, with an axis of another kind in between"), expected))
}

/// The affine of a file that says where its axes point.
fn with_directions(
    text: &Text,
    directions: &[Option<Vec<f64>>],
    spatial: &[usize],
    warnings: &mut Vec<Warning>,
) -> Result<[[f64; 4]; 3], DataError> {
    let expected = "vectors of as many numbers as the space has axes";
    let dimension = directions.iter().flatten().map(Vec::len).max().unwrap_or(3);
    let known = dimension_of_space(text)?.unwrap_or(dimension);
    if dimension != known || directions.iter().flatten().any(|vector| vector.len() != dimension) || dimension > 4 {
        let found = text.field("space directions").map(shown).unwrap_or_default();
        return Err(text.wrong("space directions", found, expected));
    }
    let expected = "a vector of as many numbers as the space has axes";
    let origin = text.vectors("space origin", 1, expected)?.and_then(|mut vectors| vectors.pop().flatten());
    let origin = origin.unwrap_or_else(|| vec![0.0; dimension]);
    if origin.len() != dimension {
        return Err(text.wrong("space origin", format!("{origin:?}"), expected));
    }
    let mut columns: Vec<Vec<f64>> = spatial.iter().map(|&axis| directions[axis].clone().unwrap_or_default()).collect();
    if let ([x, y], true) = (&columns[..], dimension >= 3) {
        // A slice: its third axis is its normal.
        let normal = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
        let length = normal.iter().map(|part| part * part).sum::<f64>().sqrt();
        columns.push(normal.iter().map(|part| part / length).collect());
    }
    let scale = units(text, "space units", 3, warnings);
    let entry = |row: usize, column: usize| match columns.get(column).filter(|_| column < 3) {
        _ if column == 3 => origin.get(row).copied().unwrap_or(0.0) * scale[row],
        Some(vector) => vector.get(row).copied().unwrap_or(0.0) * scale[row],
        None => f64::from(u8::from(row == column)),
    };
    let affine = std::array::from_fn(|row| std::array::from_fn(|column| entry(row, column)));
    Ok(to_ras(text, affine, warnings))
}

/// The affine of a file that says at most the spacing of its axes.
fn with_spacings(
    text: &Text,
    axes: usize,
    spatial: &[usize],
    warnings: &mut Vec<Warning>,
) -> Result<[[f64; 4]; 3], DataError> {
    let kind = "space directions are absent: x is taken to the left, y to posterior, z to superior";
    warnings.push(Warning::new(kind));
    let expected = "one positive number per axis, or nan for an axis that is none of space";
    let stated = text.numbers::<f64>("spacings", axes, expected)?.unwrap_or_else(|| vec![f64::NAN; axes]);
    let scale = units(text, "units", axes, warnings);
    let mut spacing = [1.0; 3];
    for (to, &axis) in spacing.iter_mut().zip(spatial) {
        match stated[axis] {
            unknown if unknown.is_nan() => {
                let kind = "spacings are absent: taken as 1 mm";
                warnings.extend((!warnings.iter().any(|warning| warning.kind == kind)).then(|| Warning::new(kind)));
            }
            length if length.is_finite() && length > 0.0 => *to = length * scale[axis],
            _ => return Err(text.wrong("spacings", format!("{stated:?}"), expected)),
        }
    }
    let affine =
        std::array::from_fn(|row| std::array::from_fn(|column| if row == column { spacing[row] } else { 0.0 }));
    Ok(axes::ras_from_lps(affine))
}

/// The number of axes of the space that the file names.
fn dimension_of_space(text: &Text) -> Result<Option<usize>, DataError> {
    match text.field("space").map(str::to_ascii_lowercase) {
        Some(space) if space.ends_with("-time") || matches!(space.as_str(), "rast" | "last" | "lpst") => Ok(Some(4)),
        Some(_) => Ok(Some(3)),
        None => text.number("space dimension", "a number of axes"),
    }
}

/// From the space of the file to RAS.
fn to_ras(text: &Text, affine: [[f64; 4]; 3], warnings: &mut Vec<Warning>) -> [[f64; 4]; 3] {
    let space = text.field("space").unwrap_or_default().to_ascii_lowercase();
    let negative = match space.trim_end_matches("-time") {
        "right-anterior-superior" | "ras" | "rast" => return affine,
        "left-anterior-superior" | "las" | "last" => 1,
        "left-posterior-superior" | "lps" | "lpst" => 2,
        _ => {
            // Scanner coordinates, a bare handedness, or nothing: as ITK takes them.
            let kind = "space is none of the patient's: taken as left-posterior-superior, as ITK does";
            warnings.push(Warning::with(kind, if space.is_empty() { "absent".to_owned() } else { space }));
            2
        }
    };
    let mut affine = affine;
    // Zeros stay positive, for a person who reads them.
    affine[..negative].iter_mut().flatten().for_each(|value| *value = 0.0 - *value);
    affine
}

/// Millimetres of the unit of each axis.
fn units(text: &Text, field: &str, axes: usize, warnings: &mut Vec<Warning>) -> Vec<f64> {
    let value = text.field(field).unwrap_or_default();
    let words: Vec<&str> = if value.contains('"') {
        value.split('"').skip(1).step_by(2).collect()
    } else {
        value.split_whitespace().collect()
    };
    let mut scale: Vec<f64> = vec![1.0; axes];
    for (scale, unit) in scale.iter_mut().zip(words) {
        let (millimetres, kind) = match unit.trim().to_lowercase().as_str() {
            "mm" | "millimeter" | "millimeters" | "millimetre" | "millimetres" | "" | "???" | "none" => continue,
            "m" | "meter" | "meters" | "metre" | "metres" => (1e3, "lengths are in metres: converted to mm"),
            "cm" | "centimeter" | "centimeters" | "centimetre" | "centimetres" => {
                (1e1, "lengths are in centimetres: converted to mm")
            }
            "um" | "µm" | "μm" | "micron" | "microns" | "micrometer" | "micrometers" | "micrometre" | "micrometres" => {
                (1e-3, "lengths are in micrometres: converted to mm")
            }
            "nm" | "nanometer" | "nanometers" | "nanometre" | "nanometres" => {
                (1e-6, "lengths are in nanometres: converted to mm")
            }
            _ => (1.0, "a unit of length is unknown: taken as mm"),
        };
        *scale = millimetres;
        if !warnings.iter().any(|warning| warning.kind == kind) {
            warnings.push(Warning::with(kind, shown(unit)));
        }
    }
    scale
}
