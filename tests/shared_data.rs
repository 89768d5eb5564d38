//! Files of other programs, which lie outside the project: the environment variable VNET_DATA names a folder with
//! `expected.csv` (what nibabel makes of each file), `reader_robustness/`, `promise12_mhd_fullres/` and
//! `promise12_half/`. Ignored, and said to be, where the variable is not set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{read_label_map, read_volume};
use vnet_engine::data::{DataError, Dataset};

fn root() -> Option<PathBuf> {
    std::env::var_os("VNET_DATA").map(PathBuf::from)
}

fn folder() -> PathBuf {
    root().expect("ignored without VNET_DATA")
}

/// The fields of a line, where quotes keep commas together.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("never empty").push(other),
        }
    }
    fields
}

fn expected() -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(folder().join("expected.csv")).expect("expected.csv");
    let mut lines = text.lines();
    let names = fields(lines.next().expect("a header"));
    lines.map(|line| names.iter().cloned().zip(fields(line)).collect()).collect()
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

/// numpy's name without the byte order.
fn dtype(text: &str) -> String {
    match text.trim_start_matches(['<', '>', '|']) {
        "u1" => "uint8".into(),
        "i2" => "int16".into(),
        "f4" => "float32".into(),
        colour if colour.contains("'R'") => "rgb24".into(),
        name => name.into(),
    }
}

/// The CSV has 7 significant digits of geometry.
fn close(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= 1e-6 * scale.max(expected.abs())
}

/// What differs between a file and its line of the CSV.
fn differences(row: &HashMap<String, String>) -> Vec<String> {
    let path = folder().join(&row["path"]);
    let inspection = match inspect(&path) {
        Err(error) if !row["error"].is_empty() => {
            let text = error.to_string();
            let clear = !text.contains('\n') && text.contains(&folder().display().to_string());
            return if clear { Vec::new() } else { vec![format!("unclear: {text}")] };
        }
        Err(error) => return vec![error.to_string()],
        Ok(_) if !row["error"].is_empty() => return vec![format!("readable, but nibabel says {}", row["error"])],
        Ok(inspection) => inspection,
    };
    let mut wrong = Vec::new();
    let mut check = |what: &str, good: bool, found: String, expected: &str| {
        if !good {
            wrong.push(format!("{what} is {found}, expected {expected}"));
        }
    };
    let shape = inspection.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    check("shape", shape == row["shape"], shape.clone(), &row["shape"]);
    check("dtype", inspection.dtype == dtype(&row["dtype"]), inspection.dtype.into(), &row["dtype"]);
    let zooms = numbers(&row["zooms"]);
    let same = zooms.len() >= inspection.spacing.len()
        && inspection.spacing.iter().zip(&zooms).all(|(found, expected)| close(*found, *expected, 0.0));
    check("spacing", same, format!("{:?}", inspection.spacing), &row["zooms"]);
    let affine = numbers(&row["affine_rowmajor_3x4"]);
    let all: Vec<f64> = inspection.affine.concat();
    // Entries that are 0 but for rounding are so against the spacing.
    let same = affine.len() == 12 && all.iter().zip(&affine).all(|(found, expected)| close(*found, *expected, 1.0));
    check("affine", same, format!("{all:?}"), &row["affine_rowmajor_3x4"]);
    check("orientation", inspection.orientation == row["axcodes"], inspection.orientation.clone(), &row["axcodes"]);
    if row["min"].is_empty() {
        check("min", inspection.min.is_none(), format!("{:?}", inspection.min), "none");
        return wrong;
    }
    let nonfinite = inspection.nonfinite.to_string();
    check("nonfinite", nonfinite == row["n_nonfinite"], nonfinite.clone(), &row["n_nonfinite"]);
    for (what, found) in [("min", inspection.min), ("max", inspection.max), ("mean", inspection.mean)] {
        let (found, expected): (f64, f64) = (found.expect("finite voxels"), row[what].parse().expect("a number"));
        // Both scale and sum in float64, in different orders.
        let same = (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
        check(what, same, found.to_string(), &row[what]);
    }
    wrong
}

fn files_decode_as_with_nibabel() {
    let rows = expected();
    assert!(rows.len() > 100, "{} lines", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        wrong.extend(differences(row).into_iter().map(|difference| format!("{}: {difference}", row["path"])));
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

fn all_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { all_files(&path, found) } else { found.push(path) }
    }
}

/// Every file of the folder, named by the CSV or not, ends in finite voxels or in one line.
fn no_file_panics_or_gives_odd_values() {
    let mut files = Vec::new();
    all_files(&folder().join("reader_robustness"), &mut files);
    let mut readable = 0;
    for path in &files {
        match read_volume(path) {
            Ok(volume) => {
                readable += 1;
                assert_eq!(volume.voxels.len(), volume.grid.voxel_count());
                assert!(volume.voxels.iter().all(|voxel| voxel.is_finite()));
            }
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
        let _ = read_label_map(path);
    }
    assert!(readable > 10, "{readable} of {} files", files.len());
}

/// The values are SimpleITK 2.5's (`tools/golden_volumes.py read`).
fn metaimage_as_with_simpleitk() {
    let root = folder().join("promise12_mhd_fullres");
    let image = inspect(&root.join("Infer/Case00.mhd")).expect("readable");
    assert_eq!((image.shape, image.dtype), (vec![320, 320, 20], "int16"));
    assert_eq!(image.spacing, [0.625, 0.625, 3.60001]);
    assert_eq!((image.min, image.max, image.mean), (Some(0.0), Some(1831.0), Some(313.5421787109375)));
    assert_eq!(image.affine, [[-0.625, 0.0, 0.0, 112.807], [0.0, -0.625, 0.0, 114.013], [0.0, 0.0, 3.60001, -86.4137]]);
    let label = inspect(&root.join("Test/Case45_segmentation.mhd")).expect("readable");
    assert_eq!((label.shape, label.dtype, label.max), (vec![320, 320, 24], "int8", Some(1.0)));
    assert!((label.mean.expect("finite") - 0.006944580078125).abs() < 1e-15);
    let affine = [
        [-0.623385, 5.4912e-9, 0.25865352, 88.6291],
        [0.0094365625, -0.61104375, 0.7545636, 98.6093],
        [0.043902375, 0.13134, 3.5105184, -31.3938],
    ];
    for (found, expected) in label.affine.concat().iter().zip(affine.concat()) {
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }
    // Every second voxel along x and y is the NIfTI file that others made of it.
    let full = read_label_map(&root.join("Test/Case45_segmentation.mhd")).expect("readable");
    let half = read_label_map(&folder().join("promise12_half/labels/Case45.nii.gz")).expect("readable");
    let [nx, ny, _] = full.grid.extents;
    for (index, voxel) in half.voxels.iter().enumerate() {
        let (x, y, z) = (index % 160, index / 160 % 160, index / (160 * 160));
        assert_eq!(*voxel, full.voxels[(z * ny + 2 * y) * nx + 2 * x], "voxel {x}, {y}, {z}");
    }
    for absent in ["Test/Case45.mhd", "Train/Case00.mhd", "Train/Case00_segmentation.mhd"] {
        let error = inspect(&root.join(absent)).expect_err("without voxels");
        assert!(matches!(&error, DataError::Io { .. }) && error.to_string().contains(".raw"), "{error}");
    }
    let dataset = Dataset::open(&root.join("Train")).expect("PROMISE12's layout");
    assert_eq!(dataset.names(), ["Case00"]);
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let tests: [(&str, fn()); 3] = [
        ("files_decode_as_with_nibabel", files_decode_as_with_nibabel),
        ("no_file_panics_or_gives_odd_values", no_file_panics_or_gives_odd_values),
        ("metaimage_as_with_simpleitk", metaimage_as_with_simpleitk),
    ];
    let trial = |(name, test): (&str, fn())| {
        let run = move || {
            test();
            Ok(())
        };
        libtest_mimic::Trial::test(name, run).with_ignored_flag(root().is_none())
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit()
}
