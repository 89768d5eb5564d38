// How losses read labels: the device side of ops/loss/labels.rs. A voxel has a say where its first word is below `ignored` of the
// uniform. The shader declares `labels: array<u32>`.

// 1: a voxel has a share for each output, f32 as bits; the sign of the first says that it is ignored. 0: it has one word.
override SOFT: u32 = 0u;

// Where the words of a voxel begin.
fn label_word(voxel: u32, outputs: u32) -> u32 {
    return voxel * select(1u, outputs, SOFT == 1u);
}

// Whether a voxel that has a say belongs to output k. With `masks` 1 a label is a mask of regions, with 0 the number of a class.
fn belongs(masks: u32, label: u32, k: u32) -> bool {
    return select(label == k, ((label >> (k & 31u)) & 1u) == 1u, masks == 1u);
}

// `factor` times the share of output k in a voxel that has a say, whose words begin with `label` at `word`.
fn times_share(factor: f32, masks: u32, label: u32, word: u32, k: u32) -> f32 {
    if SOFT == 1u {
        return factor * bitcast<f32>(labels[word + k]);
    }
    return select(0.0, factor, belongs(masks, label, k));
}
