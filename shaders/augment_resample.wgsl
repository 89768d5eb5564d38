// image'[p] = image(q) and label'[p] = label(q) at q = A p + b + d(p), where d is a cubic B-spline on a mesh of 2 x 2 x 2
// cells over the output. Each channel of the image is linear between voxels; a label is the one with the largest linear
// weight, the lowest of equals, as an unsigned number: whether labels number classes, are masks of regions or say that a
// voxel is ignored (0xffffffff), one of those around the point is taken as it is. Both are 0 outside the source.
//
// Layout   image: [N, source, C]; labels: [N, source]; parameters: [N, 387]: A (9), b (3), displacements along z, y, x (each
//          [5, 5, 5]); axes in the order z, y, x
// Grid     one workgroup of 64 per output row (n, z, y), folded; invocations stride over the row
// Shared   15 words: the displacements of the row's control points along x
// Traffic  4 + 4 C bytes read (from the cache 8 times as many) and written per voxel, and 960 bytes of numbers per row
// Bounds   points may lie anywhere; corners outside the source are not read
// Oracle   augment::Resample::reference
#import channels
#import grid
#import line

const CONTROL_POINTS: u32 = 5u;
const PARAMETERS: u32 = 387u;
// In place of the number of a voxel.
const OUTSIDE: u32 = 0xffffffffu;
// Centre of voxel 0 from the end of the mesh, which covers the voxels and an eighth of one beyond on either side.
const FIRST_VOXEL: f32 = 0.625;

struct Params {
    source_depth: u32,
    source_height: u32,
    source_width: u32,
    depth: u32,
    height: u32,
    width: u32,
    rows: u32,
    cells_per_voxel_z: f32,
    cells_per_voxel_y: f32,
    cells_per_voxel_x: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> image_out: array<f32>;
@group(0) @binding(5) var<storage, read_write> labels_out: array<u32>;

// Displacement along component c of the row's control point i along x at 5 c + i.
var<workgroup> row_points: array<f32, 15>;

// A cell of the mesh and the position in it.
struct Cell {
    first: u32,
    weights: vec4<f32>,
}

fn cell(at: u32, cells_per_voxel: f32) -> Cell {
    let u = (f32(at) + FIRST_VOXEL) * cells_per_voxel;
    let first = min(u32(u), CONTROL_POINTS - 4u);
    let t = u - f32(first);
    let s = 1.0 - t;
    let inner = vec2<f32>(t * t * (3.0 * t - 6.0) + 4.0, s * s * (3.0 * s - 6.0) + 4.0);
    return Cell(first, vec4<f32>(s * s * s, inner, t * t * t) / 6.0);
}

// Sums the control points over z and y for one component and one position along x.
fn row_point(numbers: u32, z: u32, y: u32, component: u32, x: u32) -> f32 {
    let along_z = cell(z, params.cells_per_voxel_z);
    let along_y = cell(y, params.cells_per_voxel_y);
    var sum = 0.0;
    for (var i = 0u; i < 4u; i++) {
        let plane = (component * CONTROL_POINTS + along_z.first + i) * CONTROL_POINTS + along_y.first;
        let first = numbers + 12u + plane * CONTROL_POINTS + x;
        let points = vec4<f32>(
            parameters[first],
            parameters[first + CONTROL_POINTS],
            parameters[first + 2u * CONTROL_POINTS],
            parameters[first + 3u * CONTROL_POINTS],
        );
        sum += along_z.weights[i] * dot(along_y.weights, points);
    }
    return sum;
}

fn weight_of(label: u32, near: vec4<u32>, far: vec4<u32>, near_weights: vec4<f32>, far_weights: vec4<f32>) -> f32 {
    let a = select(vec4<f32>(), near_weights, near == vec4<u32>(label));
    let b = select(vec4<f32>(), far_weights, far == vec4<u32>(label));
    return a.x + a.y + a.z + a.w + b.x + b.y + b.z + b.w;
}

fn heaviest(near: vec4<u32>, far: vec4<u32>, near_weights: vec4<f32>, far_weights: vec4<f32>) -> u32 {
    var best = near.x;
    if all(near == vec4<u32>(best)) && all(far == vec4<u32>(best)) {
        return best;
    }
    var most = weight_of(best, near, far, near_weights, far_weights);
    for (var corner = 1u; corner < 8u; corner++) {
        let label = select(far[corner & 3u], near[corner & 3u], corner < 4u);
        let weight = weight_of(label, near, far, near_weights, far_weights);
        if weight > most || (weight == most && label < best) {
            best = label;
            most = weight;
        }
    }
    return best;
}

fn values_at(voxels: vec4<u32>, channel: u32) -> vec4<f32> {
    var values: vec4<f32>;
    for (var corner = 0u; corner < 4u; corner++) {
        if voxels[corner] != OUTSIDE {
            values[corner] = image[voxels[corner] * CHANNELS + channel];
        }
    }
    return values;
}

@compute @workgroup_size(64)
fn augment_resample(invocation: Invocation) {
    let row = workgroup_number(invocation);
    if row >= params.rows {
        return;
    }
    let line = line_of(row, params.depth, params.height);
    let numbers = line.sample * PARAMETERS;
    if invocation.local < 15u {
        let component = invocation.local / CONTROL_POINTS;
        row_points[invocation.local] = row_point(numbers, line.z, line.y, component, invocation.local - component * CONTROL_POINTS);
    }
    workgroupBarrier();
    var start: vec3<f32>;
    var step: vec3<f32>;
    for (var axis = 0u; axis < 3u; axis++) {
        let first = numbers + 3u * axis;
        start[axis] = parameters[first] * f32(line.z) + parameters[first + 1u] * f32(line.y) + parameters[numbers + 9u + axis];
        step[axis] = parameters[first + 2u];
    }
    let source = vec3<i32>(i32(params.source_depth), i32(params.source_height), i32(params.source_width));
    let first_voxel = line.sample * params.source_depth * params.source_height * params.source_width;
    for (var x = invocation.local; x < params.width; x += 64u) {
        let along = cell(x, params.cells_per_voxel_x);
        var displacement: vec3<f32>;
        for (var c = 0u; c < 3u; c++) {
            let i = c * CONTROL_POINTS + along.first;
            let points = vec4<f32>(row_points[i], row_points[i + 1u], row_points[i + 2u], row_points[i + 3u]);
            displacement[c] = dot(along.weights, points);
        }
        // Beyond this every corner is outside; the conversion to integers is defined within.
        let point = clamp(start + step * f32(x) + displacement, vec3<f32>(-2.0), vec3<f32>(source) + 1.0);
        let low = floor(point);
        let f = point - low;
        let at = vec3<i32>(low);
        var near_values: vec4<f32>;
        var far_values: vec4<f32>;
        var near_at = vec4<u32>(OUTSIDE);
        var far_at = vec4<u32>(OUTSIDE);
        var near: vec4<u32>;
        var far: vec4<u32>;
        for (var corner = 0u; corner < 4u; corner++) {
            let v = at.yz + vec2<i32>(i32(corner >> 1u), i32(corner & 1u));
            let inside = all(v >= vec2<i32>(0)) && all(v < source.yz);
            let offset = v.x * source.z + v.y;
            if inside && at.x >= 0 && at.x < source.x {
                let i = first_voxel + u32(at.x * source.y * source.z + offset);
                near_values[corner] = image[i * CHANNELS];
                near_at[corner] = i;
                near[corner] = labels[i];
            }
            if inside && at.x >= -1 && at.x + 1 < source.x {
                let i = first_voxel + u32((at.x + 1) * source.y * source.z + offset);
                far_values[corner] = image[i * CHANNELS];
                far_at[corner] = i;
                far[corner] = labels[i];
            }
        }
        let g = 1.0 - f;
        let weights = vec4<f32>(g.y * g.z, g.y * f.z, f.y * g.z, f.y * f.z);
        let voxel = row * params.width + x;
        image_out[voxel * CHANNELS] = g.x * dot(weights, near_values) + f.x * dot(weights, far_values);
        for (var channel = 1u; channel < CHANNELS; channel++) {
            near_values = values_at(near_at, channel);
            far_values = values_at(far_at, channel);
            image_out[voxel * CHANNELS + channel] = g.x * dot(weights, near_values) + f.x * dot(weights, far_values);
        }
        labels_out[voxel] = heaviest(near, far, g.x * weights, f.x * weights);
    }
}
