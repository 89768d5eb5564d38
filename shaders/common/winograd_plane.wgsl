// The transforms of whole planes of 8 x 8 elements.
#import winograd

// Eight lines.
struct Plane {
    a: Eight,
    b: Eight,
    c: Eight,
    d: Eight,
    e: Eight,
    f: Eight,
    g: Eight,
    h: Eight,
}

// Lines become columns.
fn transposed(p: Plane) -> Plane {
    return Plane(
        Eight(p.a.a, p.b.a, p.c.a, p.d.a, p.e.a, p.f.a, p.g.a, p.h.a),
        Eight(p.a.b, p.b.b, p.c.b, p.d.b, p.e.b, p.f.b, p.g.b, p.h.b),
        Eight(p.a.c, p.b.c, p.c.c, p.d.c, p.e.c, p.f.c, p.g.c, p.h.c),
        Eight(p.a.d, p.b.d, p.c.d, p.d.d, p.e.d, p.f.d, p.g.d, p.h.d),
        Eight(p.a.e, p.b.e, p.c.e, p.d.e, p.e.e, p.f.e, p.g.e, p.h.e),
        Eight(p.a.f, p.b.f, p.c.f, p.d.f, p.e.f, p.f.f, p.g.f, p.h.f),
        Eight(p.a.g, p.b.g, p.c.g, p.d.g, p.e.g, p.f.g, p.g.g, p.h.g),
        Eight(p.a.h, p.b.h, p.c.h, p.d.h, p.e.h, p.f.h, p.g.h, p.h.h),
    );
}
