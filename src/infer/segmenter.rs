//! Models with their preprocessing, ready to segment one volume after the other.

use super::predictor::by_network;
use super::segment::{labels_of, prepare_channels, segment_prepared, segments_of};
use super::{InferError, Predictor, Preprocessing, SegmentOptions};
use crate::data::io::Segment;
use crate::data::{Fit, ImageFiles, LabelMap, Preparation, Volume, prepare_image};
use crate::gpu::{Gpu, GpuError};
use crate::nn::Model;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Models that are ready to segment volumes: in windows of their patch, or as a whole if their preprocessing names no
/// patch.
///
/// A model without preprocessing is a state dictionary from PyTorch, where a volume is one input of the network: padded
/// with zeros to multiples of the network's divisor, half of them (rounded down) before the first voxel of each axis,
/// and cropped back. The network's graph does the same here. A volume that does not fit the device as a whole is
/// predicted in windows: the longest axis is halved until they fit.
#[derive(Debug)]
pub struct Segmenter {
    gpu: Arc<Gpu>,
    /// Models to make predictors of; empty if one predictor serves all volumes.
    models: Vec<Model>,
    preparation: Preparation,
    /// Names of the labels.
    segments: Vec<Segment>,
    mirror: bool,
    ready: Option<Ready>,
}

/// The newest predictor.
#[derive(Debug)]
struct Ready {
    predictor: Predictor,
    /// Extents of the volumes that it was made for; `None` if it serves all.
    made_for: Option<[usize; 3]>,
    patch: [usize; 3],
}

/// A volume that was segmented.
#[derive(Debug)]
pub struct Segmented {
    /// Its labels, on its grid.
    pub labels: LabelMap,
    /// Extents x, y, z of the windows, if the volume should have been predicted as a whole but does not fit the device.
    pub windows: Option<[usize; 3]>,
}

impl Segmenter {
    /// A segmenter that averages the probabilities of the models, on volumes prepared by `preprocessing`.
    ///
    /// # Errors
    /// [`InferError`] when the models do not fit the device, or cannot be averaged.
    pub fn new(gpu: &Arc<Gpu>, models: Vec<Model>, preprocessing: &Preprocessing) -> Result<Self, InferError> {
        let first = &models.first().ok_or(InferError::NoModel)?.network;
        let preparation = preprocessing.preparation(first.in_channels, first.classes);
        let segments = segments_of(&preprocessing.label_classes(first.classes));
        let mut segmenter = Self { gpu: Arc::clone(gpu), models, preparation, segments, mirror: false, ready: None };
        if let Some(patch) = preprocessing.patch {
            let predictor = Predictor::ensemble(gpu, &segmenter.models, patch)?;
            segmenter.ready = Some(Ready { predictor, made_for: None, patch });
            segmenter.models = Vec::new();
        }
        Ok(segmenter)
    }

    /// Averages over the eight mirror images of each window (test-time augmentation).
    #[must_use]
    pub fn with_mirroring(mut self, mirror: bool) -> Self {
        self.mirror = mirror;
        self.ready = self.ready.map(|ready| Ready { predictor: ready.predictor.with_mirroring(mirror), ..ready });
        self
    }

    /// How volumes are prepared.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// As [`super::segment_file`].
    ///
    /// # Errors
    /// [`InferError`] that names the file; [`InferError::Stopped`] when `progress` said so.
    pub fn segment_file(
        &mut self,
        input: &ImageFiles,
        output: &Path,
        options: SegmentOptions,
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Segmented, InferError> {
        let (prepared, header) = prepare_image(input, &self.preparation, Fit::Whole)?;
        let segments = self.segments.clone();
        let (ready, preparation) = self.ready_for(prepared.geometry.grid.extents)?;
        let (windows, output) = (ready.windows(), (output, &segments[..]));
        let labels = segment_prepared(&ready.predictor, preparation, (prepared, &header), output, options, progress)?;
        Ok(Segmented { labels, windows })
    }

    /// As [`super::segment_volume`].
    ///
    /// # Errors
    /// [`InferError::Data`] when the volume is too large, [`InferError::Gpu`] when the device failed.
    pub fn segment_volume(&mut self, volume: Volume) -> Result<Segmented, InferError> {
        self.segment_channels(vec![volume])
    }

    /// As [`Segmenter::segment_volume`], of the channels of an image, which lie on one grid.
    ///
    /// # Errors
    /// [`InferError::Data`] when they are not the network's channels or too large, [`InferError::Gpu`] when the device failed.
    pub fn segment_channels(&mut self, channels: Vec<Volume>) -> Result<Segmented, InferError> {
        let prepared = prepare_channels(channels, &self.preparation)?;
        let (ready, preparation) = self.ready_for(prepared.geometry.grid.extents)?;
        Ok(Segmented { labels: labels_of(&ready.predictor, preparation, &prepared)?, windows: ready.windows() })
    }

    /// The predictor for prepared volumes of these extents, and how they are prepared.
    fn ready_for(&mut self, extents: [usize; 3]) -> Result<(&Ready, &Preparation), InferError> {
        let serves = |ready: &Ready| ready.made_for.is_none_or(|known| known == extents);
        if !self.ready.as_ref().is_some_and(serves) {
            // Dropped first: two predictors may not fit the device's memory together.
            self.ready = None;
            let (predictor, patch) = self.largest(extents)?;
            let predictor = predictor.with_mirroring(self.mirror);
            self.ready = Some(Ready { predictor, made_for: Some(extents), patch });
        }
        Ok((self.ready.as_ref().expect("made above"), &self.preparation))
    }

    /// The predictor with the largest windows that fit the device, and their extents.
    fn largest(&self, extents: [usize; 3]) -> Result<(Predictor, [usize; 3]), InferError> {
        let of_models = self.models.iter().map(|model| model.network.divisor());
        let [d, h, w] = of_models.fold([1; 3], |most, of| std::array::from_fn(|axis| most[axis].max(of[axis])));
        let mut patch = extents;
        loop {
            let made = self.check_memory(patch).and_then(|()| Predictor::ensemble(&self.gpu, &self.models, patch));
            match made {
                Ok(predictor) => return Ok((predictor, patch)),
                Err(error) => patch = smaller(patch, [w, h, d]).filter(|_| is_too_large(&error)).ok_or(error)?,
            }
        }
    }

    fn check_memory(&self, patch: [usize; 3]) -> Result<(), InferError> {
        let Some(budget) = self.gpu.memory_budget() else { return Ok(()) };
        let [x, y, z] = patch;
        let mut needed = 0;
        for (network, _) in by_network(&self.models) {
            needed += Predictor::plan_for(network, 1, [z, y, x], self.gpu.target())?.1.memory.total();
        }
        if needed > budget { Err(InferError::Memory { patch, needed, budget }) } else { Ok(()) }
    }
}

impl Ready {
    fn windows(&self) -> Option<[usize; 3]> {
        self.made_for.filter(|extents| *extents != self.patch).map(|_| self.patch)
    }
}

/// Half of the longest axis, in whole multiples of the network's divisor; `None` where no axis is longer than that.
fn smaller(mut patch: [usize; 3], divisor: [usize; 3]) -> Option<[usize; 3]> {
    let axis = (0..3).filter(|&axis| patch[axis] > divisor[axis]).max_by_key(|&axis| (patch[axis], axis))?;
    patch[axis] = patch[axis].div_ceil(2).next_multiple_of(divisor[axis]);
    Some(patch)
}

fn is_too_large(error: &InferError) -> bool {
    matches!(error, InferError::Plan(_) | InferError::Memory { .. } | InferError::Gpu(GpuError::OutOfMemory { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_halve_the_longest_axis_down_to_the_divisor() {
        let mut all = vec![[19, 13, 6]];
        while let Some(next) = smaller(all[all.len() - 1], [4; 3]) {
            all.push(next);
        }
        assert_eq!(all[1..], [[12, 13, 6], [12, 8, 6], [8, 8, 6], [8, 4, 6], [4, 4, 6], [4, 4, 4]]);
    }
}
