//! Images of several channels, and the numbers that an operation reads for each channel of each sample.

use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// The shape `[N, D, H, W, C]` of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageShape {
    pub(super) samples: usize,
    /// D, H, W.
    pub(super) extents: [usize; 3],
    pub(super) channels: usize,
}

/// The place of an element of an image.
pub(super) struct Place {
    pub(super) sample: usize,
    /// z, y, x.
    pub(super) at: [usize; 3],
    pub(super) channel: usize,
}

impl ImageShape {
    /// The shape of what an operation's shape rule takes for an image.
    pub(super) fn of(spec: &TensorSpec) -> Self {
        let [samples, d, h, w, channels] = spec.shape[..] else { unreachable!("checked by the shape rule") };
        Self { samples, extents: [d, h, w], channels }
    }

    /// Rows along x of all samples.
    pub(super) fn rows(self) -> usize {
        self.samples * self.extents[0] * self.extents[1]
    }

    /// Voxels of one sample.
    pub(super) fn voxels(self) -> usize {
        self.extents.iter().product()
    }

    /// Where element `number` lies.
    fn place(self, number: usize) -> Place {
        let [_, h, w] = self.extents;
        let (voxel, channel) = (number / self.channels, number % self.channels);
        let (sample, voxel) = (voxel / self.voxels(), voxel % self.voxels());
        Place { sample, at: [voxel / (h * w), voxel / w % h, voxel % w], channel }
    }

    /// The number of an element.
    pub(super) fn element(self, place: &Place) -> usize {
        let ([d, h, w], [z, y, x]) = (self.extents, place.at);
        (((place.sample * d + z) * h + y) * w + x) * self.channels + place.channel
    }

    /// A dispatch of a shader that imports `channels`.
    pub(super) fn dispatch(self, shader: &'static str) -> Dispatch {
        let channels = u32::try_from(self.channels).expect("extents of device tensors fit in 32 bits");
        Dispatch::new(shader).constant("CHANNELS", channels)
    }

    /// A dispatch of a shader that imports `image_rows`, with the extents that this declares.
    pub(super) fn dispatch_rows(self, shader: &'static str) -> Dispatch {
        self.dispatch(shader).params(&self.extents).param(self.rows())
    }

    /// An image whose elements are a function of their place and of the numbers `[N, C, …]` of their channel.
    pub(super) fn map(self, numbers: &HostTensor, of: impl Fn(&Place, &[f64]) -> f64) -> HostTensor {
        let count = numbers.shape()[2];
        let ([d, h, w], channels) = (self.extents, self.channels);
        HostTensor::from_fn([self.samples, d, h, w, channels], |number| {
            let place = self.place(number);
            of(&place, &numbers.data[(place.sample * channels + place.channel) * count..][..count])
        })
    }
}

/// The shape rule of operations on an image `[N, D, H, W, C]` and `count` numbers for each channel of each sample.
pub(super) fn image_and_numbers(
    op: &'static str,
    inputs: &[&TensorSpec],
    count: usize,
) -> Result<Vec<TensorSpec>, ShapeError> {
    if let [image, numbers] = inputs
        && let [n, d, h, w, c] = image.shape[..]
        && **image == TensorSpec::f32([n, d, h, w, c])
        && **numbers == TensorSpec::f32([n, c, count])
    {
        return Ok(vec![(*image).clone()]);
    }
    Err(ShapeError::new(op, format!("image f32 [N, D, H, W, C] and f32 [N, C, {count}]"), inputs))
}
