// Batches of matrix products: c[i, m, n] = sum over k of a[i, m, k] * b[i, k, n], added to what c holds where `add` is set.
// Rows and the inner index may lie in panels of 16: index j is at j / 16 * panel + j % 16 * step.
struct Products {
    rows: u32,
    columns: u32,
    inner: u32,
    a_batch: u32,
    a_row: u32,
    a_row_panel: u32,
    a_inner: u32,
    a_inner_panel: u32,
    b_first: u32,       // element at which b starts
    b_batch: u32,
    b_inner: u32,
    b_inner_panel: u32,
    c_first: u32,
    c_batch: u32,
    c_row: u32,
    c_row_panel: u32,
    add: u32,
}

fn in_panels(index: u32, step: u32, panel: u32) -> u32 {
    return index / 16u * panel + index % 16u * step;
}
