//! Parameters that are named by patterns: which are frozen, and which have a learning rate of their own.

use serde::{Deserialize, Serialize};

/// Parameters with a learning rate of their own: a parameter group of PyTorch's optimisers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Pattern of their names ([`matches_pattern`]), e.g. `encoder.*`. A parameter is in the first group that has it.
    pub parameters: String,
    /// Factor on the learning rate of every step, above 0.
    pub learning_rate_factor: f64,
}

/// Whether a name is one of those that a pattern means: `*` stands for any letters, dots included, `?` for one.
///
/// ```
/// use vnet_engine::optim::matches_pattern;
///
/// assert!(matches_pattern("encoder.*", "encoder.1.conv0.weight"));
/// assert!(matches_pattern("*.bias", "head.bias") && matches_pattern("encoder.?.down.*", "encoder.1.down.bias"));
/// assert!(!matches_pattern("encoder", "encoder.0.conv0.weight"));
/// ```
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // The place after the last star, and how many letters it stands for so far: only the last one needs another try.
    let (mut at, mut letter, mut star) = (0, 0, None);
    while letter < name.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                star = Some((at, letter));
            }
            Some(&c) if c == '?' || c == name[letter] => (at, letter) = (at + 1, letter + 1),
            _ => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                (at, letter) = (after, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// Whether one of the patterns means a name.
pub fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches_pattern(pattern, name))
}

/// The number of a parameter's group: 0 for those of no group, else its place among the groups, from 1.
pub fn group_of(groups: &[ParameterGroup], name: &str) -> usize {
    groups.iter().position(|group| matches_pattern(&group.parameters, name)).map_or(0, |at| at + 1)
}

/// A range of the arenas whose elements are stepped with one learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First element: that of a parameter.
    pub start: usize,
    /// Number of elements, gaps between parameters included.
    pub len: usize,
    /// 0, or the number of the group, from 1.
    pub group: usize,
}

impl Segment {
    /// All elements of the arenas, with the learning rate of the step.
    pub fn whole(elements: usize) -> Self {
        Self { start: 0, len: elements, group: 0 }
    }

    /// The segments of arenas of `elements` elements, in order: as few as possible. Each of the parameters starts at an element and is
    /// in a group, or frozen (none); elements of frozen ones are in no segment.
    pub fn of(mut parameters: Vec<(usize, Option<usize>)>, elements: usize) -> Vec<Self> {
        parameters.sort_unstable();
        let ends = parameters.iter().skip(1).map(|(start, _)| *start).chain([elements]);
        let mut segments: Vec<Self> = Vec::new();
        for (&(start, group), end) in parameters.iter().zip(ends) {
            let Some(group) = group else { continue };
            match segments.last_mut().filter(|last| last.group == group && last.start + last.len == start) {
                Some(last) => last.len = end - last.start,
                None => segments.push(Self { start, len: end - start, group }),
            }
        }
        segments
    }

    /// The ranges `(start, len)` of all segments: of neighbours one.
    pub(super) fn ranges(segments: &[Self]) -> Vec<(usize, usize)> {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for segment in segments {
            match ranges.last_mut().filter(|(start, len)| start + len == segment.start) {
                Some((_, len)) => *len += segment.len,
                None => ranges.push((segment.start, segment.len)),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_by_hand() {
        for (pattern, name, expected) in [
            ("head.weight", "head.weight", true),
            ("head.weight", "head.weights", false),
            ("*", "", true),
            ("*", "a.b", true),
            ("?", "", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("*.weight", "a.weight.weight", true),
            ("encoder.?.*", "encoder.12.bias", false),
            ("*ab", "aab", true),
            ("", "a", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn segments_are_as_few_as_frozen_parameters_and_groups_allow() {
        let of = |groups: &[Option<usize>]| -> Vec<(usize, usize, usize)> {
            // In another order than in the arenas.
            let parameters = groups.iter().enumerate().rev().map(|(at, group)| (64 * at, *group)).collect();
            Segment::of(parameters, 64 * groups.len()).iter().map(|s| (s.start, s.len, s.group)).collect()
        };
        assert_eq!(of(&[Some(0); 6]), [(0, 384, 0)]);
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[None, Some(0), Some(0), None]), [(64, 128, 0)]);
        assert_eq!(of(&[Some(1), Some(2), Some(2), None, Some(2)]), [(0, 64, 1), (64, 128, 2), (256, 64, 2)]);
        let two = [Segment { group: 1, ..Segment::whole(64) }, Segment { start: 64, len: 64, group: 0 }];
        assert_eq!(Segment::ranges(&two), [(0, 128)]);
        let apart = Segment::of(vec![(0, Some(0)), (64, None), (128, Some(0))], 192);
        assert_eq!(Segment::ranges(&apart), [(0, 64), (128, 64)]);
    }

    #[test]
    fn a_parameter_is_in_the_first_group_that_has_it() {
        let group = |of: &str| ParameterGroup { parameters: of.to_owned(), learning_rate_factor: 0.1 };
        let groups = [group("encoder.*"), group("*.bias")];
        let found = ["encoder.0.bias", "head.bias", "head.weight"].map(|name| group_of(&groups, name));
        assert_eq!(found, [1, 2, 0]);
    }
}
