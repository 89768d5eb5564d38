//! A synthetic data set that looks like axial T2-weighted MR of the prostate.
//!
//! Real volumes may not be redistributed, and a first run should not need a download. The phantom
//! has what makes the real task hard: an organ of two zones whose outline varies in size, shape and
//! pose, neighbours as bright (fat, seminal vesicles, bladder) and as dark (muscle) as its parts, a
//! coil's uneven sensitivity, Rician noise, slices thicker than the pixels, and another intensity scale
//! for every case. No threshold separates the organ.
//!
//! Every case is a pure function of (settings, case number). Label 1 is the prostate, 1 to 5 % of
//! the voxels with the default extents and spacing.

mod anatomy;
mod ellipsoid;
mod level;
mod prostate;
mod signal;
mod texture;

use std::path::Path;

use rayon::prelude::*;

use self::anatomy::Anatomy;
use self::signal::Scanner;
use super::io::{Header, Scalar, write_label_map, write_volume_as};
use super::volume::{Grid, LabelMap, Volume};
use super::{Case, DataError};
use crate::random::{Purpose, Stream};

/// Each voxel is the mean of this many samples along x, y, z: the partial volume effect at
/// boundaries.
const SAMPLES: [usize; 3] = [2, 2, 2];
/// Largest tilt of the slices against the patient's axes, radians: axial prostate scans are angled
/// to the rectum.
const LARGEST_TILT: f64 = 0.2;

/// What to make.
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomSettings {
    /// Number of cases.
    pub cases: usize,
    /// Seed of the data set.
    pub seed: u64,
    /// Voxels along x, y, z.
    pub extents: [usize; 3],
    /// Spacing along x, y, z in mm.
    pub spacing: [f64; 3],
}

impl Default for PhantomSettings {
    /// A field of view of 128 x 128 x 72 mm that trains on a CPU in minutes.
    fn default() -> PhantomSettings {
        PhantomSettings { cases: 20, seed: 0, extents: [64, 64, 24], spacing: [2.0, 2.0, 3.0] }
    }
}

/// Name of a case: `phantom_007`.
pub fn case_name(case: usize) -> String {
    format!("phantom_{case:03}")
}

/// Makes image and label of one case. Intensities are whole numbers that fit int16.
pub fn make_case(settings: &PhantomSettings, case: usize) -> (Volume, LabelMap) {
    let mut shape = Stream::new(settings.seed, Purpose::PhantomShape, case as u64);
    let anatomy = Anatomy::draw(&mut shape);
    let grid = draw_grid(settings, &mut shape);
    let scanner = Scanner::draw(&mut Stream::new(settings.seed, Purpose::PhantomSignal, case as u64), &anatomy);

    let [nx, ny, _] = settings.extents;
    let slices: Vec<(Vec<f64>, Vec<u16>)> =
        (0..settings.extents[2]).into_par_iter().map(|z| render_slice(settings, &anatomy, &scanner, z)).collect();
    let mut signal = Vec::with_capacity(grid.voxel_count());
    let mut label = Vec::with_capacity(grid.voxel_count());
    for (slice_signal, slice_label) in slices {
        signal.extend(slice_signal);
        label.extend(slice_label);
    }
    signal::blur_in_plane(&mut signal, nx, ny);
    let voxels = scanner.acquire(&signal);
    (Volume { grid: grid.clone(), voxels }, LabelMap { grid, voxels: label })
}

/// Mean signal of each voxel of slice z, and whether most of the voxel is prostate.
fn render_slice(settings: &PhantomSettings, anatomy: &Anatomy, scanner: &Scanner, z: usize) -> (Vec<f64>, Vec<u16>) {
    let [nx, ny, _] = settings.extents;
    // Position in mm from the centre of the field of view.
    let position = |axis: usize, index: usize, sample: usize| {
        let within = (sample as f64 + 0.5) / SAMPLES[axis] as f64;
        (index as f64 + within - settings.extents[axis] as f64 / 2.0) * settings.spacing[axis]
    };
    let count = SAMPLES.iter().product::<usize>();
    let (mut signal, mut label) = (Vec::with_capacity(nx * ny), Vec::with_capacity(nx * ny));
    for y in 0..ny {
        for x in 0..nx {
            let (mut sum, mut inside) = (0.0, 0);
            for sample in 0..count {
                let (i, j, k) =
                    (sample % SAMPLES[0], sample / SAMPLES[0] % SAMPLES[1], sample / (SAMPLES[0] * SAMPLES[1]));
                let place = [position(0, x, i), position(1, y, j), position(2, z, k)];
                let found = anatomy.at(place);
                sum += found.signal;
                inside += usize::from(found.prostate);
            }
            let centre = [position(0, x, 0), position(1, y, 0), position(2, z, 0)];
            signal.push(sum / count as f64 * scanner.sensitivity(centre));
            label.push(u16::from(2 * inside >= count));
        }
    }
    (signal, label)
}

/// A grid near RAS, tilted mostly about the left-right axis, as axial prostate scans are.
fn draw_grid(settings: &PhantomSettings, stream: &mut Stream) -> Grid {
    let tilts = [LARGEST_TILT, 0.2 * LARGEST_TILT, 0.2 * LARGEST_TILT].map(|largest| stream.between(-largest, largest));
    let rotation = ellipsoid::rotation(tilts);
    let centre = [stream.between(-15.0, 15.0), stream.between(-40.0, 10.0), stream.between(-60.0, 20.0)];
    let mut affine = [[0.0; 4]; 3];
    for row in 0..3 {
        affine[row][3] = centre[row];
        for axis in 0..3 {
            affine[row][axis] = rotation[row][axis] * settings.spacing[axis];
            affine[row][3] -= affine[row][axis] * (settings.extents[axis] as f64 - 1.0) / 2.0;
        }
    }
    Grid { extents: settings.extents, spacing: settings.spacing, affine }
}

/// Writes `images/phantom_000.nii.gz` … (int16) and `labels/phantom_000.nii.gz` … (uint8) into
/// `dir`, which is made if it is not there. `progress` is called after each case with the number of
/// cases done.
pub fn write_dataset(
    dir: &Path,
    settings: &PhantomSettings,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Case>, DataError> {
    check(settings)?;
    let (images, labels) = (dir.join("images"), dir.join("labels"));
    for folder in [&images, &labels] {
        std::fs::create_dir_all(folder).map_err(DataError::io(folder, "create"))?;
    }
    let mut cases = Vec::with_capacity(settings.cases);
    for number in 0..settings.cases {
        let name = case_name(number);
        let file = format!("{name}.nii.gz");
        let case = Case { image: images.join(&file).into(), label: labels.join(&file), name };
        let (volume, label) = make_case(settings, number);
        let header = Header::for_grid(&volume.grid);
        write_volume_as(case.image.first(), &volume, Scalar::Int16, &header)?;
        write_label_map(&case.label, &label, &header)?;
        cases.push(case);
        progress(number + 1);
    }
    Ok(cases)
}

fn check(settings: &PhantomSettings) -> Result<(), DataError> {
    let wrong = |key, found, expected| Err(DataError::Setting { key, found, expected });
    if settings.cases == 0 {
        return wrong("cases", "0".into(), "at least 1");
    }
    if settings.extents.contains(&0) {
        return wrong("extents", format!("{:?}", settings.extents), "at least 1 voxel along x, y and z");
    }
    if settings.spacing.iter().any(|spacing| !(0.01..=100.0).contains(spacing)) {
        return wrong("spacing", format!("{:?}", settings.spacing), "0.01 to 100 mm along x, y and z");
    }
    Ok(())
}
