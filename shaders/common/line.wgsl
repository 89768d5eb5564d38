// Where a line of voxels lies: lines are counted over y, then z, then samples.
struct Line {
    sample: u32,
    z: u32,
    y: u32,
}

fn line_of(number: u32, depth: u32, height: u32) -> Line {
    let plane = number / height;
    let sample = plane / depth;
    return Line(sample, plane - sample * depth, number - plane * height);
}
