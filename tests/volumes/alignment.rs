//! Labels that lie on the grid of their image in another order of voxels, and reasons where they do not.

use tempfile::TempDir;
use vnet_engine::data::io::{Header, read_volume, write_label_map};
use vnet_engine::data::{
    Dataset, Fit, Grid, LabelMap, Normalisation, Preparation, Prepared, Reorientation, prepare_pair,
};
use vnet_engine::evaluate::{Scoring, evaluate_folders};

use crate::crafted::{Crafted, EXTENTS, OBLIQUE, VOXELS, folder, stored};

const SPACING: [f64; 3] = [0.5, 1.25, 3.0];

/// A data set of one case with this image.
fn data_set(image: &Crafted, label: &Grid, labels: Vec<u16>) -> (TempDir, Dataset) {
    let dir = folder();
    for name in ["images", "labels"] {
        std::fs::create_dir(dir.path().join(name)).expect("a folder");
    }
    image.clone().i16s((0..VOXELS).map(stored)).write(&dir, "images/a.nii");
    let labels = LabelMap { grid: label.clone(), voxels: labels };
    write_label_map(&dir.path().join("labels/a.nii.gz"), &labels, &Header::for_grid(label)).expect("written");
    let dataset = Dataset::open(dir.path()).expect("a data set");
    (dir, dataset)
}

fn image() -> Crafted {
    Crafted::new(false, false, 4, 16)
}

fn labels() -> Vec<u16> {
    (0..VOXELS).map(|v| ((v * 5) % 7 % 3) as u16).collect()
}

fn preparation() -> Preparation {
    Preparation { patch: EXTENTS, classes: 3, ..Preparation::native(Normalisation::None) }
}

fn message(dataset: &Dataset) -> String {
    let text = dataset.check().expect_err("two grids").to_string();
    let prepared = prepare_pair(&dataset.cases[0], &preparation(), Fit::Patch).expect_err("two grids").to_string();
    assert!(text.contains(&prepared) && !prepared.contains('\n'), "{text}, {prepared}");
    prepared
}

/// Every swap and mirroring of the axes, on an oblique grid: what is prepared are the labels of the image's voxels.
#[test]
fn labels_in_another_order_are_reordered() {
    let grid = Grid { extents: EXTENTS, spacing: [0.492_848, 1.240_967, 2.958_04], affine: OBLIQUE };
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (order, bits) in orders.into_iter().flat_map(|order| (0..8).map(move |bits| (order, bits))) {
        let mut there = Reorientation::identity(EXTENTS);
        for (axis, direction) in there.axes.iter_mut().enumerate() {
            (direction.world, direction.negative) = (order[axis], bits >> axis & 1 == 1);
        }
        let stored_there = there.apply(&labels());
        let (dir, dataset) = data_set(&image().sform(1, OBLIQUE), &there.apply_to_grid(&grid), stored_there);
        assert_eq!(dataset.check().expect("one grid").count(), 3);
        let prepared = prepare_pair(&dataset.cases[0], &preparation(), Fit::Patch).expect("one grid");
        assert_eq!(prepared.label, Some(labels()), "{order:?} {bits:03b}");
        if order == [1, 2, 0] {
            // Predictions lie on the grid of the image.
            let predicted = dir.path().join("predictions");
            std::fs::create_dir(&predicted).expect("a folder");
            let map = LabelMap { grid: grid.clone(), voxels: labels() };
            write_label_map(&predicted.join("a.nii"), &map, &Header::for_grid(&grid)).expect("written");
            let scores = evaluate_folders(&predicted, &dir.path().join("labels"), &Scoring::WHOLE);
            let scores = scores.expect("one grid").cases;
            assert_eq!(
                scores.iter().map(|s| (s.dice, s.hausdorff_mm)).collect::<Vec<_>>(),
                [(Some(1.0), Some(0.0)); 2]
            );
        }
        let volume = read_volume(dataset.cases[0].image.first()).expect("an image");
        let map = LabelMap { grid: there.apply_to_grid(&grid), voxels: there.apply(&labels()) };
        let prepared = Prepared::from_pair(volume, &map, &preparation(), Fit::Patch).expect("one grid");
        assert_eq!(prepared.label, Some(labels()), "in memory: {order:?} {bits:03b}");
    }
}

/// Half a voxel off is another lattice in any order.
#[test]
fn a_mirrored_label_on_another_lattice_is_refused() {
    let mut shifted = Grid::axis_aligned(EXTENTS, SPACING);
    (shifted.affine[0][0], shifted.affine[0][3]) = (-0.5, 2.25);
    let image = image().sform(1, [[0.5, 0.0, 0.0, 0.0], [0.0, 1.25, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]]);
    let text = message(&data_set(&image, &shifted, labels()).1);
    assert!(text.contains("(LAS instead of RAS)"), "{text}");
}

/// ITK puts an image without a place at the origin, x to the left and y to the back, and writes that with codes.
#[test]
fn a_label_that_itk_made_of_an_image_without_a_place_is_on_its_grid() {
    let mut itk = Grid::axis_aligned(EXTENTS, SPACING);
    (itk.affine[0][0], itk.affine[1][1]) = (-0.5, -1.25);
    let (_dir, dataset) = data_set(&image(), &itk, labels());
    let examined = dataset.examine_sound().expect("one grid");
    let kinds: Vec<_> = examined.warnings.notices().iter().map(|notice| notice.kind).collect();
    assert!(kinds.len() == 1 && kinds[0].contains("neither sform nor qform"), "{kinds:?}");
    assert_eq!(examined.warnings.notices()[0].files, [dataset.cases[0].image.first().to_path_buf()]);
    let prepared = prepare_pair(&dataset.cases[0], &preparation(), Fit::Patch).expect("one grid");
    assert_eq!(prepared.label, Some(labels()));
    itk.affine[2][3] = 40.0;
    let text = message(&data_set(&image(), &itk, labels()).1);
    assert!(text.contains("images/a.nii is a guess: neither sform nor qform is set"), "{text}");
}

#[test]
fn a_label_on_the_other_statement_of_its_image_is_named_so() {
    let label = Grid::axis_aligned(EXTENTS, SPACING);
    let sform = [[0.5, 0.0, 0.0, 31.0], [0.0, 1.25, 0.0, -12.0], [0.0, 0.0, 3.0, -7.0]];
    let (dir, dataset) = data_set(&image().qform(1, [0.0; 3], [0.0; 3]).sform(2, sform), &label, labels());
    let text = message(&dataset);
    let image = dir.path().join("images/a.nii");
    assert!(text.contains(&format!("it has the qform of {}, whose sform differs", image.display())), "{text}");
    // The other way round, as a label that FSL wrote beside an image that ITK wrote.
    let both = crafted_label(&dir, sform);
    std::fs::remove_file(dir.path().join("labels/a.nii.gz")).expect("removed");
    std::fs::rename(both, dir.path().join("labels/a.nii")).expect("moved");
    self::image().qform(1, [0.0; 3], [0.0; 3]).i16s((0..VOXELS).map(stored)).write(&dir, "images/a.nii");
    let text = message(&Dataset::open(dir.path()).expect("a data set"));
    assert!(text.contains("its qform agrees, but its sform"), "{text}");
}

fn crafted_label(dir: &TempDir, sform: [[f64; 4]; 3]) -> std::path::PathBuf {
    let label = Crafted::new(false, false, 4, 16).qform(1, [0.0; 3], [0.0; 3]).sform(2, sform);
    label.i16s(labels().into_iter().map(|v| v as i16)).write(dir, "label.nii")
}
