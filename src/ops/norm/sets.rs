use super::Moments;
use crate::ops::rows::has_channels;
use crate::tensor::TensorSpec;

/// Invocations of a workgroup.
pub(super) const WORKGROUP: usize = 256;

/// Least items of one invocation of a sum over tiles, where there are that many.
const LANE_ITEMS: usize = 16;

/// How an activation is divided into the elements that share a mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sets {
    pub(super) samples: usize,
    /// Of one sample.
    pub(super) rows: usize,
    pub(super) channels: usize,
    /// Groups of channels of one set of samples.
    pub(super) groups: usize,
    /// All samples are one set; else each is one.
    pub(super) together: bool,
}

impl Sets {
    /// `None` where the moments are not defined on such a tensor.
    pub(super) fn new(moments: Moments, input: &TensorSpec) -> Option<Self> {
        let [samples, ref extents @ .., channels] = input.shape[..] else { return None };
        let groups = if let Moments::Group(groups) = moments { groups } else { channels };
        let rows = extents.iter().product();
        let is_whole = groups > 0 && channels.is_multiple_of(groups);
        let sets = Self { samples, rows, channels, groups, together: moments == Moments::Batch };
        (has_channels(input) && is_whole).then_some(sets)
    }

    /// Sets of samples.
    pub(super) fn count(&self) -> usize {
        if self.together { 1 } else { self.samples }
    }

    /// Samples of a set.
    pub(super) fn set_samples(&self) -> usize {
        if self.together { self.samples } else { 1 }
    }

    /// Channels of a group.
    pub(super) fn group_channels(&self) -> usize {
        self.channels / self.groups.max(1)
    }

    /// Whether a group is a channel.
    pub(super) fn alone(&self) -> bool {
        self.groups == self.channels
    }

    /// Elements that share a mean.
    pub(super) fn elements(&self) -> usize {
        self.set_samples() * self.rows * self.group_channels()
    }

    /// Set and group of an element of the tensor, as one number.
    pub(super) fn of(&self, element: usize) -> usize {
        let set = if self.together { 0 } else { element / (self.rows * self.channels) };
        set * self.groups + element % self.channels / self.group_channels()
    }

    /// Where the first statistic of an element is, in `[sets, 2, C]`; the second is C further on.
    pub(super) fn statistic(&self, element: usize) -> usize {
        let set = if self.together { 0 } else { element / (self.rows * self.channels) };
        2 * set * self.channels + element % self.channels
    }

    /// Invocations that sum the tiles of one set and group, where a sample has so many: a power of two.
    pub(super) fn lanes(&self, tiles: usize) -> usize {
        let items = self.set_samples() * tiles * self.group_channels();
        items.div_ceil(LANE_ITEMS).next_power_of_two().min(WORKGROUP)
    }
}
