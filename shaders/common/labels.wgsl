// How losses read labels: the device side of ops/loss/labels.rs.

struct Labelling {
    regions: u32, // 1: a label is a mask of regions, 0: it is the number of a class
    ignored: u32, // labels from here on say that the voxel has no say
}

fn counts(labelling: Labelling, label: u32) -> bool {
    return label < labelling.ignored;
}

// Whether a voxel that counts belongs to output k.
fn belongs(labelling: Labelling, label: u32, k: u32) -> bool {
    return select(label == k, ((label >> (k & 31u)) & 1u) == 1u, labelling.regions == 1u);
}
