//! Where the windows of a sliding-window prediction lie and how they are weighted.

/// First voxels of the windows of extent `window` that cover an axis of `extent` voxels with an overlap of at least
/// half, evenly spaced.
///
/// # Panics
/// When the window is larger than the axis.
pub fn window_starts(extent: usize, window: usize) -> Vec<usize> {
    assert!((1..=extent).contains(&window), "a window of {window} on {extent} voxels");
    let room = extent - window;
    let steps = room.div_ceil((window / 2).max(1));
    match steps {
        0 => vec![0],
        _ => (0..=steps).map(|i| (i * room + steps / 2) / steps).collect(),
    }
}

/// Weights of a window's voxels: a Gaussian with a standard deviation of 1/8 of the extent along each axis, so that the
/// ill-informed border counts least (Isensee et al. 2021, *nnU-Net*, Online Methods, "Inference"). `extents` and the
/// result are x, y, z with x fastest.
pub fn gaussian_weights(extents: [usize; 3]) -> Vec<f32> {
    let axis = |extent: usize| -> Vec<f64> {
        let (centre, deviation) = ((extent as f64 - 1.0) / 2.0, extent as f64 / 8.0);
        (0..extent).map(|i| (-0.5 * ((i as f64 - centre) / deviation).powi(2)).exp()).collect()
    };
    let [x, y, z] = extents.map(axis);
    let mut weights = Vec::with_capacity(extents.iter().product());
    for wz in &z {
        for wy in &y {
            weights.extend(x.iter().map(|wx| (wx * wy * wz) as f32));
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_axis_with_half_overlap() {
        for window in 1..20 {
            for extent in window..70 {
                let starts = window_starts(extent, window);
                assert_eq!((starts[0], starts[starts.len() - 1]), (0, extent - window));
                for pair in starts.windows(2) {
                    assert!(
                        pair[0] < pair[1] && pair[1] - pair[0] <= (window / 2).max(1),
                        "{extent} {window} {starts:?}"
                    );
                }
            }
        }
        assert_eq!(window_starts(40, 40), [0]);
        assert_eq!(window_starts(41, 40), [0, 1]);
    }

    #[test]
    fn weights_peak_in_the_middle_and_stay_positive() {
        let weights = gaussian_weights([5, 4, 3]);
        assert!(weights.iter().all(|w| *w > 0.0 && *w <= 1.0));
        assert_eq!(weights.len(), 60);
        // Mirror symmetry along every axis.
        let at = |x: usize, y: usize, z: usize| weights[(z * 4 + y) * 5 + x];
        for (x, y, z) in [(0, 0, 0), (1, 2, 1), (3, 1, 2)] {
            assert_eq!(at(x, y, z), at(4 - x, 3 - y, 2 - z));
        }
        assert!(at(2, 1, 1) > at(1, 1, 1) && at(1, 1, 1) > at(1, 0, 1) && at(1, 0, 1) > at(1, 0, 0));
    }
}
