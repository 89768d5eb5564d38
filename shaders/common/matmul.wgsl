// Batches of matrix products: c[i, m, n] = sum over k of a[i, m, k] * b[i, k, n], added to what c holds where `add` is set.
struct Products {
    rows: u32,
    columns: u32,
    inner: u32,
    a_batch: u32,      // steps between elements: of one batch to the next, one row, one k
    a_row: u32,
    a_inner: u32,
    b_batch: u32,      // n is contiguous
    b_inner: u32,
    c_batch: u32,
    c_row: u32,
    add: u32,
}
