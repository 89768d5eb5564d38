// How losses read labels: the device side of ops/loss/labels.rs. Labels below `ignored` of the uniform have a say.

// Whether a voxel that has a say belongs to output k. With `masks` 1 a label is a mask of regions, with 0 the number of a class.
fn belongs(masks: u32, label: u32, k: u32) -> bool {
    return select(label == k, ((label >> (k & 31u)) & 1u) == 1u, masks == 1u);
}
