//! The table of shaders and their expansion.

use super::Kernel;

/// A shader name or import that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No shader of this name.
    #[error("no shader is named {0}")]
    UnknownShader(String),
    /// An `#import` of a file that is not there.
    #[error("shader {shader} imports {import}, which does not exist")]
    UnknownImport {
        /// The importing file.
        shader: String,
        /// The name after `#import`.
        import: String,
    },
}

macro_rules! table {
    ($directory:literal: $($name:ident)*) => {
        &[$((stringify!($name), include_str!(concat!("../../shaders/", $directory, stringify!($name), ".wgsl")))),*]
    };
}

/// Every shader of this crate: name (of the file and its entry point) and unexpanded source.
pub const SHADERS: &[(&str, &str)] = table!("":
    accumulate
    adam
    add
    augment_blur
    augment_intensity
    augment_low_resolution
    augment_match
    augment_resample
    bench_copy
    bench_fma
    channel_copy
    channel_sum
    copy
    cross_entropy_counts
    cross_entropy_grad
    cross_entropy_loss
    cross_entropy_weights
    conv3d_grad_input_naive
    conv3d_grad_weight_naive
    conv3d_naive
    conv3d_same5
    conv3d_same5_grad_weight
    conv3d_same5_lanes
    conv3d_same5_lanes_grad_weight
    conv3d_split_k_sum
    conv3d_window
    conv3d_window_grad_weight
    ema
    fill
    gemm_subgroup
    gemm_subgroup_tile
    gemm_subgroup_transposed
    gemm_subgroup_wide
    gemm_tiled
    pad_crop
    gradient_norm
    prelu
    prelu_grad
    sgd
    soft_dice_grad
    soft_dice_loss
    soft_dice_sums
    softmax
    softmax_grad
    squares
    tile_channels
    tile_channels_grad
    weight_transpose
    winograd_grad_depth
    winograd_grad_plane
    winograd_grad_plane_transposed
    winograd_grad_weight_depth
    winograd_grad_weight_plane
    winograd_output_depth
    winograd_output_plane
    winograd_input_depth
    winograd_input_plane
    winograd_weight_depth
    winograd_weight_plane
);

/// Files for `#import`.
const COMMON: &[(&str, &str)] = table!("common/":
    conv3d_geometry
    element
    element_pair
    grid
    lane_fours
    lane_pairs
    lane_tile
    lanes
    line
    gemm
    gemm_kept
    outer_product
    random
    reduce
    row_tile
    rows
    same5_lanes
    step
    tile_output
    window
    winograd
    winograd_load
    winograd_load_lines
    winograd_plane
    winograd_store
    winograd_store_lines
    winograd_tiles
);

/// Import that says what an invocation works on, and what stands for it where that is two channels.
const ELEMENT: [&str; 2] = ["element", "element_pair"];

impl Kernel {
    /// WGSL of the kernel's shader, with each `#import name` line replaced by `shaders/common/name.wgsl`, once per name.
    ///
    /// # Errors
    /// [`SourceError`] when the shader or an import does not exist.
    pub fn source(&self) -> Result<String, SourceError> {
        let of_table = || find(SHADERS, self.shader).ok_or_else(|| SourceError::UnknownShader(self.shader.to_owned()));
        let text = self.text.map_or_else(of_table, Ok)?;
        let mut expanded = String::new();
        expand(self.shader, text, self.pairs, &mut Vec::new(), &mut expanded)?;
        Ok(expanded)
    }
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

fn expand(shader: &str, text: &str, pairs: bool, seen: &mut Vec<String>, out: &mut String) -> Result<(), SourceError> {
    for line in text.lines() {
        let Some(import) = line.strip_prefix("#import ").map(str::trim) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        if seen.iter().any(|s| s == import) {
            continue;
        }
        let file = if import == ELEMENT[0] { ELEMENT[usize::from(pairs)] } else { import };
        let body = find(COMMON, file)
            .ok_or_else(|| SourceError::UnknownImport { shader: shader.to_owned(), import: import.to_owned() })?;
        seen.push(import.to_owned());
        expand(import, body, pairs, seen, out)?;
    }
    Ok(())
}
