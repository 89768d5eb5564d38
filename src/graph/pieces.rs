//! Values that are larger than a binding may be: a dispatch over their rows is replaced by several, each bound to some of the
//! rows.

use super::Lowering;
use crate::kernel::{Access, Dispatch, Operand, Pieces};
use crate::tensor::ELEMENT_BYTES;
use std::ops::Range;

/// Bindings start at multiples of 256 bytes, the largest alignment that WebGPU allows a device to ask for.
const ALIGNED_ELEMENTS: usize = 256 / ELEMENT_BYTES as usize;

/// What an operand has for each row, or for each unit of rows.
#[derive(Debug, Clone, Copy)]
enum Stride {
    /// Elements of a row.
    Row(usize),
    /// Elements of a unit.
    Unit(usize),
    /// Bound whole.
    None,
}

impl Lowering<'_> {
    /// Whether an operand is larger than a binding may be.
    pub(crate) fn exceeds_binding(&self, operand: Operand) -> bool {
        self.elements(operand).is_some_and(|elements| elements > self.most_elements())
    }

    /// The dispatches that replace one with an operand that is larger than a binding may be. `None` where there is no such
    /// operand, or where rows cannot be told apart by whole bindings.
    pub(super) fn in_pieces(&self, dispatch: &Dispatch) -> Option<Vec<Dispatch>> {
        let pieces = dispatch.pieces?;
        if !dispatch.bindings.iter().any(|&(operand, _)| self.exceeds_binding(operand)) {
            return None;
        }
        let units = pieces.rows.div_ceil(pieces.unit);
        let most = self.units_of_a_piece(dispatch, pieces)?;
        let piece = |first: usize| self.piece(dispatch, pieces, first..(first + most).min(units));
        Some((0..units).step_by(most).map(piece).collect())
    }

    /// Ranges of rows of matrices with these row lengths that bindings can hold; each but the last is a multiple of `unit`.
    pub(crate) fn row_ranges(&self, rows: usize, unit: usize, lengths: &[usize]) -> Vec<Range<usize>> {
        let longest = lengths.iter().copied().max().unwrap_or(1);
        let unit = unit.next_multiple_of(ALIGNED_ELEMENTS);
        let most = (self.most_elements() / longest / unit * unit).max(unit);
        (0..rows).step_by(most).map(|first| first..(first + most).min(rows)).collect()
    }

    fn most_elements(&self) -> usize {
        (self.target().limits.max_binding_bytes / ELEMENT_BYTES) as usize
    }

    fn stride(&self, pieces: Pieces, operand: Operand, access: Access) -> Stride {
        let units = pieces.rows.div_ceil(pieces.unit);
        match (self.elements(operand), operand) {
            (Some(all), _) if all >= pieces.rows && all.is_multiple_of(pieces.rows) => Stride::Row(all / pieces.rows),
            (Some(all), Operand::Scratch(_)) if access == Access::Write && all.is_multiple_of(units) => {
                Stride::Unit(all / units)
            }
            _ => Stride::None,
        }
    }

    /// The most units that bindings can hold, so that each piece starts where a binding may.
    fn units_of_a_piece(&self, dispatch: &Dispatch, pieces: Pieces) -> Option<usize> {
        let per_unit = |&(operand, access): &(Operand, Access)| match self.stride(pieces, operand, access) {
            Stride::Row(elements) => Some(elements * pieces.unit),
            Stride::Unit(elements) => Some(elements),
            Stride::None => None,
        };
        let per_unit: Vec<usize> = dispatch.bindings.iter().filter_map(per_unit).collect();
        let aligned = |step: &usize| per_unit.iter().all(|elements| (elements * step).is_multiple_of(ALIGNED_ELEMENTS));
        let step = (0..=ALIGNED_ELEMENTS.ilog2()).map(|power| 1 << power).find(aligned)?;
        let most = self.most_elements() / per_unit.iter().max()? / step * step;
        (most > 0).then_some(most)
    }

    fn piece(&self, dispatch: &Dispatch, pieces: Pieces, units: Range<usize>) -> Dispatch {
        let rows = units.start * pieces.unit..(units.end * pieces.unit).min(pieces.rows);
        let part = |&(operand, access): &(Operand, Access)| {
            let (range, elements) = match self.stride(pieces, operand, access) {
                Stride::Row(elements) => (rows.clone(), elements),
                Stride::Unit(elements) => (units.clone(), elements),
                Stride::None => return (operand, access),
            };
            (operand.part(range.start * elements, range.len() * elements), access)
        };
        let mut piece = dispatch.clone().pieces(None).linear_grid(units.len() * pieces.workgroups, self.target());
        piece.bindings = dispatch.bindings.iter().map(part).collect();
        let word = |count: usize| u32::try_from(count).expect("fewer rows than the dispatch has");
        piece.params[pieces.rows_word] = word(rows.len());
        if let Some(units_word) = pieces.units_word {
            piece.params[units_word] = word(units.len());
        }
        piece.flops = (u128::from(dispatch.flops) * rows.len() as u128).div_ceil(pieces.rows as u128) as u64;
        piece
    }
}
