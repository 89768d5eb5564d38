// Batches of gemms (general matrix products): c[i, m, n] = sum over k of a[i, m, k] * b[i, k, n], added to what c holds where `add` is set.
// Rows m and the inner index k may lie in panels: index j is at j / length * panel + j % length * step.
struct Gemm {
    rows: u32,
    columns: u32,
    inner: u32,
    row_length: u32,
    inner_length: u32,
    a_first: u32,       // element at which a starts
    a_batch: u32,       // elements from one i to the next, and so on
    a_row: u32,
    a_row_panel: u32,
    a_inner: u32,
    a_inner_panel: u32,
    b_first: u32,
    b_batch: u32,
    b_inner: u32,
    b_inner_panel: u32,
    c_first: u32,
    c_batch: u32,
    c_row: u32,
    c_row_panel: u32,
    add: u32,
    with_bias: u32,     // c starts from bias[n]
}
