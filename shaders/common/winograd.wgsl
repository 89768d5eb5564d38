// The one-dimensional transforms of Winograd's F(4, 5) on the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity: y = A^T [(G w) * (B^T x)] with x of eight, w of five and y of four elements. Nested over z, y and x
// they are those of F(4x4x4, 5x5x5) (Winograd 1980; Lavin and Gray 2016). Row i of G has the factor 1 / N_i and row i of
// B^T the factor N_i, where N_i is the product of the differences between point i and the other finite points.
#import element

struct Four {
    a: Element,
    b: Element,
    c: Element,
    d: Element,
}

struct Five {
    a: Element,
    b: Element,
    c: Element,
    d: Element,
    e: Element,
}

struct Eight {
    a: Element,
    b: Element,
    c: Element,
    d: Element,
    e: Element,
    f: Element,
    g: Element,
    h: Element,
}

// B^T x: eight neighbouring inputs to eight frequencies.
fn transform_input(x: Eight) -> Eight {
    let even_1 = x.c - 4.25 * x.e + x.g;
    let odd_1 = x.b - 4.25 * x.d + x.f;
    let even_2 = 0.25 * x.c - 1.25 * x.e + x.g;
    let odd_2 = 0.5 * x.b - 2.5 * x.d + 2.0 * x.f;
    let even_half = 4.0 * x.c - 5.0 * x.e + x.g;
    let odd_half = 2.0 * x.b - 2.5 * x.d + 0.5 * x.f;
    return Eight(
        5.25 * (x.c - x.e) + (x.g - x.a),
        even_1 + odd_1,
        even_1 - odd_1,
        even_2 + odd_2,
        even_2 - odd_2,
        even_half + odd_half,
        even_half - odd_half,
        5.25 * (x.d - x.f) + (x.h - x.b),
    );
}

// G w: five taps to eight frequencies.
fn transform_weight(w: Five) -> Eight {
    let even_1 = -2.0 / 9.0 * (w.a + w.c + w.e);
    let odd_1 = -2.0 / 9.0 * (w.b + w.d);
    let even_2 = 1.0 / 90.0 * w.a + 4.0 / 90.0 * w.c + 16.0 / 90.0 * w.e;
    let odd_2 = 2.0 / 90.0 * w.b + 8.0 / 90.0 * w.d;
    let even_half = 64.0 / 90.0 * w.a + 16.0 / 90.0 * w.c + 4.0 / 90.0 * w.e;
    let odd_half = 32.0 / 90.0 * w.b + 8.0 / 90.0 * w.d;
    return Eight(
        -w.a,
        even_1 + odd_1,
        even_1 - odd_1,
        even_2 + odd_2,
        even_2 - odd_2,
        even_half + odd_half,
        even_half - odd_half,
        w.e,
    );
}

// A^T m: eight frequencies to four neighbouring outputs.
fn transform_output(m: Eight) -> Four {
    let sum_1 = m.b + m.c;
    let difference_1 = m.b - m.c;
    let sum_2 = m.d + m.e;
    let difference_2 = m.d - m.e;
    let sum_half = m.f + m.g;
    let difference_half = m.f - m.g;
    return Four(
        m.a + sum_1 + sum_2 + sum_half,
        difference_1 + 2.0 * difference_2 + 0.5 * difference_half,
        sum_1 + 4.0 * sum_2 + 0.25 * sum_half,
        difference_1 + 8.0 * difference_2 + 0.125 * difference_half + m.h,
    );
}

// A y: the gradients of four outputs to eight frequencies.
fn transform_grad(y: Four) -> Eight {
    let even_1 = y.a + y.c;
    let odd_1 = y.b + y.d;
    let even_2 = y.a + 4.0 * y.c;
    let odd_2 = 2.0 * y.b + 8.0 * y.d;
    let even_half = y.a + 0.25 * y.c;
    let odd_half = 0.5 * y.b + 0.125 * y.d;
    return Eight(
        y.a,
        even_1 + odd_1,
        even_1 - odd_1,
        even_2 + odd_2,
        even_2 - odd_2,
        even_half + odd_half,
        even_half - odd_half,
        y.d,
    );
}

// G^T m: eight frequencies to the gradients of five taps.
fn transform_grad_weight(m: Eight) -> Five {
    let sum_1 = -2.0 / 9.0 * (m.b + m.c);
    let difference_1 = -2.0 / 9.0 * (m.b - m.c);
    let sum_2 = 1.0 / 90.0 * (m.d + m.e);
    let difference_2 = 1.0 / 90.0 * (m.d - m.e);
    let sum_half = 1.0 / 90.0 * (m.f + m.g);
    let difference_half = 1.0 / 90.0 * (m.f - m.g);
    return Five(
        sum_1 + sum_2 + 64.0 * sum_half - m.a,
        difference_1 + 2.0 * difference_2 + 32.0 * difference_half,
        sum_1 + 4.0 * sum_2 + 16.0 * sum_half,
        difference_1 + 8.0 * difference_2 + 8.0 * difference_half,
        sum_1 + 16.0 * sum_2 + 4.0 * sum_half + m.h,
    );
}
