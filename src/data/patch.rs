//! Centred padding and cropping to the extents of a network's input, and back.

use serde::{Deserialize, Serialize};

use super::sampling::crop;

/// Extent of a patch along an axis, at most.
pub(crate) const LONGEST_PATCH: usize = 4096;

/// Brings a block of extents `from` to extents `to` about its centre, axis by axis: pads where `to`
/// is larger, crops where it is smaller. An odd difference leaves the surplus voxel at the upper
/// end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CenterFit {
    /// Extents before, x, y, z.
    pub from: [usize; 3],
    /// Extents after, x, y, z.
    pub to: [usize; 3],
}

impl CenterFit {
    /// Voxels (x fastest) of extents `from` to extents `to`; padding has the value `fill`.
    ///
    /// # Panics
    /// If the number of voxels is not the product of `from`.
    pub fn apply<T: Copy>(&self, voxels: &[T], fill: T) -> Vec<T> {
        assert_eq!(voxels.len(), self.from.iter().product::<usize>(), "voxels of extents {:?}", self.from);
        crop(voxels, self.from, self.origin(), self.to, fill)
    }

    /// Voxels of extents `to` back to extents `from`: exact where [`CenterFit::apply`] padded; what
    /// it cropped has the value `fill`.
    ///
    /// # Panics
    /// If the number of voxels is not the product of `to`.
    pub fn invert<T: Copy>(&self, voxels: &[T], fill: T) -> Vec<T> {
        CenterFit { from: self.to, to: self.from }.apply(voxels, fill)
    }

    /// Index in the input (negative in the padding) of the first voxel of the output, x, y, z.
    pub fn origin(&self) -> [i64; 3] {
        std::array::from_fn(|axis| (self.from[axis] as i64 - self.to[axis] as i64) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extents() -> impl Strategy<Value = [usize; 3]> {
        proptest::array::uniform3(1usize..9)
    }

    fn voxels(extents: [usize; 3]) -> Vec<u32> {
        (0..extents.iter().product::<usize>() as u32).map(|v| v * 7 + 1).collect()
    }

    proptest! {
        #[test]
        fn every_voxel_is_where_origin_says(from in extents(), to in extents()) {
            let fit = CenterFit { from, to };
            let (source, out, origin) = (voxels(from), fit.apply(&voxels(from), 0), fit.origin());
            for (index, value) in out.iter().enumerate() {
                let here = crate::data::volume::position_of(index, to);
                let at: [i64; 3] = std::array::from_fn(|axis| here[axis] as i64 + origin[axis]);
                let inside = (0..3).all(|axis| (0..from[axis] as i64).contains(&at[axis]));
                let [x, y, z] = at.map(|index| index.max(0) as usize);
                let expected = if inside { source[(z * from[1] + y) * from[0] + x] } else { 0 };
                prop_assert_eq!(*value, expected, "at {:?}", at);
            }
        }

        /// Everything where it was only padded.
        #[test]
        fn inverse_keeps_what_was_not_cropped(from in extents(), to in proptest::array::uniform3(1usize..16)) {
            let fit = CenterFit { from, to };
            let back = fit.invert(&fit.apply(&voxels(from), 0), 0);
            let kept = back.iter().zip(voxels(from)).filter(|(value, expected)| **value == *expected).count();
            let shared: usize = (0..3).map(|axis| from[axis].min(to[axis])).product();
            prop_assert_eq!(kept, shared);
            prop_assert_eq!(back.iter().filter(|value| **value == 0).count(), back.len() - shared);
        }
    }

    #[test]
    fn by_hand() {
        let fit = CenterFit { from: [5, 1, 2], to: [2, 2, 3] };
        let out = fit.apply(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0);
        assert_eq!(out, [2, 3, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fit.origin(), [1, 0, 0]);
    }
}
