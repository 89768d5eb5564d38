//! Headers whose statements about the geometry disagree, are in other units, or are not there. The expected numbers are
//! those of nibabel 5.4 (affines) and SimpleITK 2.5 (units, zero sforms, zero extents).

use std::path::Path;

use nifti::{NiftiHeader, NiftiObject, ReaderOptions};
use tempfile::TempDir;
use vnet_engine::data::io::{Header, read_header, read_label_map, write_label_map};
use vnet_engine::data::{LabelMap, Severity};

use crate::crafted::{Crafted, EXTENTS, VOXELS, close, folder, stored, write_bytes};
use crate::nrrd::gzip;

/// x to the right, y to the head, z to the front.
const SCANNER: [[f64; 4]; 3] = [[2.0, 0.0, 0.0, 5.0], [0.0, 0.0, 3.0, -7.0], [0.0, 2.5, 0.0, 11.0]];
/// The rotation of `SCANNER` (a quarter turn about x, z mirrored where qfac is -1), and its offset.
const TURN: [f64; 3] = [std::f64::consts::FRAC_1_SQRT_2, 0.0, 0.0];
const OFFSET: [f64; 3] = [5.0, -7.0, 11.0];

fn pixdim(qfac: f64, spacing: [f64; 3]) -> [f64; 8] {
    [qfac, spacing[0], spacing[1], spacing[2], 1.0, 1.0, 1.0, 1.0]
}

fn crafted() -> Crafted {
    Crafted::new(false, false, 4, 16).i16s((0..VOXELS).map(stored))
}

fn header(dir: &TempDir, file: &Crafted) -> Header {
    read_header(&file.write(dir, "image.nii")).expect("readable")
}

/// Kinds of the warnings that commands tell.
fn told(header: &Header) -> Vec<&'static str> {
    header.warnings.iter().filter(|w| w.severity == Severity::Fault).map(|w| w.kind).collect()
}

/// Writes a label map in the grid of an image and reads it: our reading, and the fields as they stand.
fn output(dir: &TempDir, image: &Header) -> (Header, NiftiHeader) {
    let grid = image.grid(Path::new("image.nii")).expect("three axes");
    let labels = LabelMap { grid, voxels: (0..VOXELS).map(|v| (v % 3) as u16).collect() };
    let path = dir.path().join("label.nii");
    write_label_map(&path, &labels, image).expect("written");
    assert_eq!(read_label_map(&path).expect("readable").voxels, labels.voxels);
    let fields = ReaderOptions::new().read_file(&path).expect("readable by the nifti crate").header().clone();
    (read_header(&path).expect("readable"), fields)
}

#[test]
fn lengths_are_those_of_the_sform() {
    let dir = folder();
    for stated in [[1.0, 1.0, 1.0], [2.0, 2.5, 0.0]] {
        let image = header(&dir, &crafted().sform(2, SCANNER).pixdim(&pixdim(1.0, stated)));
        assert_eq!((image.spacing, image.affine), ([2.0, 2.5, 3.0], SCANNER));
        let warning = image.warnings.iter().find(|w| w.kind.contains("disagrees with the affine")).expect("told");
        assert_eq!(warning.severity, Severity::Fault);
        assert!(warning.detail.ends_with("and [2.0, 2.5, 3.0] mm"), "{}", warning.detail);
        // ITK reads lengths from pixdim, nibabel from the sform: an output gives both the same.
        let (back, fields) = output(&dir, &image);
        assert_eq!((back.spacing, back.affine, told(&back)), (image.spacing, image.affine, vec![]));
        assert_eq!((fields.pixdim[1..4].to_vec(), fields.sform_code, fields.qform_code), (vec![2.0, 2.5, 3.0], 2, 0));
    }
    // What is only rounded stays as it is stated, bit for bit.
    let image = header(&dir, &crafted().sform(2, SCANNER).pixdim(&pixdim(1.0, [2.0001, 2.5, 3.0])));
    assert_eq!((image.spacing[0], told(&image)), (f64::from(2.0001f32), vec![]));
    assert_eq!(output(&dir, &image).1.pixdim[1], 2.0001);
}

#[test]
fn a_qform_that_is_the_sform_but_for_pixdim_follows_it() {
    let dir = folder();
    let both = |stated| crafted().qform(1, TURN, OFFSET).sform(2, SCANNER).pixdim(&pixdim(-1.0, stated));
    let right = header(&dir, &both([2.0, 2.5, 3.0]));
    assert_eq!(told(&right), Vec::<&str>::new(), "the two agree");
    let (_, fields) = output(&dir, &header(&dir, &both([1.0, 1.0, 1.0])));
    assert_eq!((fields.pixdim[..4].to_vec(), fields.qform_code, fields.sform_code), (vec![-1.0, 2.0, 2.5, 3.0], 1, 2));
    // A qform elsewhere is another geometry with another pixdim: an output keeps both as they are in its image.
    let elsewhere = both([1.0, 1.0, 1.0]).qform(1, TURN, [50.0, 0.0, 0.0]);
    let image = header(&dir, &elsewhere);
    assert_eq!(image.spacing, [2.0, 2.5, 3.0]);
    let (_, fields) = output(&dir, &image);
    assert_eq!((fields.pixdim[1..4].to_vec(), fields.quatern_x), (vec![1.0; 3], 50.0));
}

#[test]
fn units_of_length_are_converted() {
    let dir = folder();
    for (unit, factor, word) in [(3u8, 1e-3, "micrometres"), (1, 1e3, "metres"), (5, 1.0, "code 5")] {
        let with_unit = |mut file: Crafted| {
            file.bytes[123] = unit | 8;
            header(&dir, &file.pixdim(&pixdim(-1.0, [2.0, 2.5, 3.0])))
        };
        for file in [crafted().sform(2, SCANNER), crafted().qform(1, TURN, OFFSET)] {
            let image = with_unit(file);
            close(&image.affine, &SCANNER.map(|row| row.map(|v| v * factor)), 1e-6 * factor);
            for (got, expected) in image.spacing.iter().zip([2.0, 2.5, 3.0]) {
                assert!((got / (expected * factor) - 1.0).abs() < 1e-6, "{got}");
            }
            assert!(image.warnings.iter().any(|w| w.to_string().contains(word)), "{:?}", image.warnings);
            // The output is in the unit of its image, byte for byte.
            let (back, fields) = output(&dir, &image);
            assert_eq!((back.affine, back.spacing), (image.affine, image.spacing));
            assert_eq!((fields.xyzt_units, fields.pixdim[1..4].to_vec()), (unit | 8, vec![2.0, 2.5, 3.0]));
        }
        // A format without units is in mm.
        let image = with_unit(crafted().sform(2, SCANNER));
        let grid = image.grid(Path::new("image.nii")).expect("three axes");
        let path = dir.path().join("label.mha");
        write_label_map(&path, &LabelMap { grid, voxels: vec![1; VOXELS] }, &image).expect("written");
        close(&read_header(&path).expect("readable").affine, &image.affine, 1e-12 * factor);
    }
}

#[test]
fn an_sform_of_zeros_does_not_count_beside_a_qform() {
    let dir = folder();
    let file = crafted().qform(1, TURN, OFFSET).sform(1, [[0.0; 4]; 3]).pixdim(&pixdim(-1.0, [2.0, 2.5, 3.0]));
    let image = header(&dir, &file);
    close(&image.affine, &SCANNER, 1e-6);
    assert!(told(&image)[0].contains("no three axes"), "{:?}", image.warnings);
    // nibabel would read zeros from an output that kept them.
    let (back, fields) = output(&dir, &image);
    assert_eq!(told(&back), Vec::<&str>::new());
    close(&back.affine, &SCANNER, 1e-6);
    assert_eq!((fields.sform_code, fields.qform_code), (1, 1));
    assert!((fields.srow_y[2] - 3.0).abs() < 1e-6, "{:?}", fields.srow_y);
    let alone = crafted().sform(1, [[0.0; 4]; 3]).write(&dir, "alone.nii");
    let message = read_header(&alone).expect_err("no geometry").to_string();
    assert!(message.contains("three independent finite axes"), "{message}");
}

#[test]
fn extents_of_zero_after_the_third_axis_are_none() {
    let dir = folder();
    let shape = |dim: &[i64; 8]| header(&dir, &crafted().dim(dim)).shape;
    assert_eq!(shape(&[4, 5, 3, 7, 0, 1, 1, 1]), EXTENTS);
    assert_eq!(shape(&[7, 5, 3, 7, 0, 0, 0, 0]), EXTENTS);
    assert_eq!(shape(&[5, 5, 3, 7, 0, 1, 1, 1]), [5, 3, 7, 1, 1]);
    let negative = crafted().dim(&[4, 5, 3, 7, -1, 1, 1, 1]).write(&dir, "negative.nii");
    assert!(read_header(&negative).expect_err("no extent").to_string().contains("dim is [4, 5, 3, 7, -1"));
}

/// The lengths of a MetaImage too are those of its affine.
#[test]
fn directions_that_are_no_unit_vectors_count() {
    let dir = folder();
    let path = dir.path().join("long.mha");
    let mut bytes = b"NDims = 3\nDimSize = 5 3 7\nElementSpacing = 1 1 2\nTransformMatrix = 2 0 0 0 1 0 0 0 1\n\
        Offset = 0 0 0\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
        .to_vec();
    bytes.extend([0; VOXELS]);
    write_bytes(&path, &bytes);
    let image = read_header(&path).expect("readable");
    assert_eq!((image.spacing, told(&image).len()), ([2.0, 1.0, 2.0], 1));
}

fn sum(path: &Path) -> Result<f64, String> {
    let volume = vnet_engine::data::io::read_volume(path).map_err(|error| error.to_string())?;
    Ok(volume.voxels.iter().copied().map(f64::from).sum())
}

#[test]
fn bytes_after_a_gzip_stream_are_no_damage() {
    let dir = folder();
    let (path, file) = (dir.path().join("a.nii.gz"), crafted().bytes);
    let expected: f64 = (0..VOXELS).map(|v| f64::from(stored(v))).sum();
    let whole = gzip(&file);
    let cut = &gzip(&[7; 300])[..20];
    for (after, what) in [
        (&[0; 512][..], "zeros of a tape"),
        (b"\r\n", "a line end"),
        (b"\x1f", "half a beginning"),
        (b"\n--3f1c boundary--\r\n", "a form"),
        (&gzip(b""), "an empty member"),
        (&gzip(&[9; 100]), "another member"),
        (cut, "a member that is cut short, but holds no voxel"),
    ] {
        std::fs::write(&path, [&whole, after].concat()).expect("written");
        assert_eq!(sum(&path), Ok(expected), "{what}");
    }
    // Members go on where the one before ended, empty ones too.
    let members = [gzip(&file[..400]), gzip(b""), gzip(&file[400..])];
    std::fs::write(&path, members.concat()).expect("written");
    assert_eq!(sum(&path), Ok(expected));
    // But voxels are missing where a later member is, or is damaged.
    for (bytes, word) in [
        (members[0].clone(), "cut short"),
        ([members[0].clone(), b"\r\n".to_vec(), members[2].clone()].concat(), "cut short"),
        ([&members[0][..], &members[2][..members[2].len() - 9]].concat(), "damaged or cut short"),
    ] {
        std::fs::write(&path, bytes).expect("written");
        let message = sum(&path).expect_err("voxels are missing");
        assert!(message.contains(word), "{message}");
    }
    let mut damaged = whole.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    std::fs::write(&path, [&damaged[..], b"\r\n"].concat()).expect("written");
    assert!(sum(&path).expect_err("the checksum is wrong").contains("damaged"));
}
