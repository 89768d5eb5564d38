// The transforms of whole planes: 8 x 8 frequencies (y, x) as two vec4 per line.
#import winograd

// One side of eight lines: the first or the last four elements of each.
struct Plane {
    left: Eight,
    right: Eight,
}

// Eight columns of four lines.
fn turned(left: mat4x4<f32>, right: mat4x4<f32>) -> Eight {
    let l = transpose(left);
    let r = transpose(right);
    return Eight(l[0], l[1], l[2], l[3], r[0], r[1], r[2], r[3]);
}

fn upper(p: Plane) -> Eight {
    return turned(
        mat4x4(p.left.a, p.left.b, p.left.c, p.left.d),
        mat4x4(p.right.a, p.right.b, p.right.c, p.right.d),
    );
}

fn lower(p: Plane) -> Eight {
    return turned(
        mat4x4(p.left.e, p.left.f, p.left.g, p.left.h),
        mat4x4(p.right.e, p.right.f, p.right.g, p.right.h),
    );
}
