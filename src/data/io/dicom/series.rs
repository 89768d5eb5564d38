//! Which volume of a folder: series, and within a series of multi-frame files stacks, times and echoes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes;
use super::dataset::DataSet;
use super::geometry::{dot, normal_of};
use super::slice::Slice;
use crate::data::DataError;
use crate::data::io::SeriesChoice;

/// Series that a message lists, at most.
const MOST_LISTED: usize = 12;
/// Characters of a text of a file that a message shows.
const SHOWN: usize = 64;
/// Two frames of one direction are at one place that are less apart along their normal, mm; slices are never so thin.
const AT_ONE_PLACE: f64 = 1e-3;

/// What the files of a series say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) uid: String,
    number: String,
    description: String,
    modality: String,
}

/// One volume of a folder.
pub(super) struct Volume {
    info: Arc<Info>,
    /// What its frames have in common, where the files of the series hold several volumes.
    part: String,
    /// Its number among those, from 1; 0 for the only one.
    number: usize,
    pub(super) slices: Vec<Slice>,
    /// Names and problems of files of the series that could not be read.
    pub(super) unread: Vec<(String, DataError)>,
}

/// The characters that names are made of, as many as are shown: anything may stand in a file.
pub(super) fn plain(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

impl Info {
    pub(super) fn of(file: &DataSet<'_>) -> Info {
        let text = |(tag, _): attributes::Attribute| file.text(tag).map(|text| plain(&text)).unwrap_or_default();
        Info {
            uid: text(attributes::SERIES_INSTANCE_UID),
            number: text(attributes::SERIES_NUMBER),
            description: text(attributes::SERIES_DESCRIPTION),
            modality: text(attributes::MODALITY),
        }
    }

    /// True if a person means this series.
    fn is_called(&self, name: &str) -> bool {
        self.uid == name || self.number == name || self.description.to_lowercase() == name.to_lowercase()
    }
}

impl Volume {
    fn empty(info: Arc<Info>) -> Volume {
        Volume { info, part: String::new(), number: 0, slices: Vec::new(), unread: Vec::new() }
    }

    fn images(&self) -> usize {
        self.slices.len() + self.unread.len()
    }

    fn voxels(&self) -> usize {
        self.slices.iter().map(|slice| slice.extents[0] * slice.extents[1]).sum()
    }

    /// For a person: 1.2.3 (CT, number 2, "Abdomen", 40 images).
    fn describe(&self) -> String {
        let Info { uid, number, description, modality } = &*self.info;
        let mut said = vec![];
        said.extend((!modality.is_empty()).then(|| modality.clone()));
        said.extend((!number.is_empty()).then(|| format!("number {number}")));
        said.extend((!description.is_empty()).then(|| format!("{description:?}")));
        said.extend((!self.part.is_empty()).then(|| self.part.clone()));
        said.push(if self.images() == 1 { "1 image".to_owned() } else { format!("{} images", self.images()) });
        let part = if self.number > 0 { format!("#{}", self.number) } else { String::new() };
        format!("{uid}{part} ({})", said.join(", "))
    }
}

/// The volumes that slices make, by series.
pub(super) fn volumes(slices: Vec<Slice>, unread: Vec<(Arc<Info>, String, DataError)>) -> Vec<Volume> {
    let mut series: BTreeMap<String, Volume> = BTreeMap::new();
    for slice in slices {
        let uid = slice.series.uid.clone();
        series.entry(uid).or_insert_with(|| Volume::empty(slice.series.clone())).slices.push(slice);
    }
    for (info, name, error) in unread {
        series.entry(info.uid.clone()).or_insert_with(|| Volume::empty(info)).unread.push((name, error));
    }
    let mut volumes = Vec::new();
    for Volume { info, slices, mut unread, .. } in series.into_values() {
        let mut parts = Vec::new();
        divide(String::new(), slices, 0, &mut parts);
        let several = parts.len() > 1;
        for (index, (part, slices)) in parts.into_iter().enumerate() {
            let (number, unread) = (if several { index + 1 } else { 0 }, std::mem::take(&mut unread));
            volumes.push(Volume { info: info.clone(), part, number, slices, unread });
        }
    }
    volumes.sort_by_key(|volume| volume.info.number.parse::<u32>().unwrap_or(u32::MAX));
    volumes
}

/// Divides frames by their stack, and those at one place by the first facts in which they differ, until there are no two.
fn divide(part: String, slices: Vec<Slice>, fact: usize, parts: &mut Vec<(String, Vec<Slice>)>) {
    let facts = slices.first().map_or(0, |slice| slice.facts.len());
    if fact >= facts || fact > 0 && !has_doubles(&slices) {
        return parts.push((part, slices));
    }
    let name = slices[0].facts[fact].0.clone();
    let mut by_value: BTreeMap<String, Vec<Slice>> = BTreeMap::new();
    for slice in slices {
        let value = slice.facts.get(fact).map(|(_, value)| value.clone());
        by_value.entry(value.unwrap_or_default()).or_default().push(slice);
    }
    let mut by_value: Vec<_> = by_value.into_iter().collect();
    let several = by_value.len() > 1;
    by_value.sort_by(|(a, _), (b, _)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    });
    for (value, alike) in by_value {
        let comma = if part.is_empty() || !several { "" } else { ", " };
        let part = if several { format!("{part}{comma}{name} {value}") } else { part.clone() };
        divide(part, alike, fact + 1, parts);
    }
}

/// True if two frames lie at one place.
fn has_doubles(slices: &[Slice]) -> bool {
    let normal = normal_of(&slices[0]);
    let mut places: Vec<f64> = slices.iter().map(|slice| dot(slice.position, normal)).collect();
    places.sort_by(f64::total_cmp);
    places.windows(2).any(|pair| pair[1] - pair[0] < AT_ONE_PLACE)
}

/// The volume that is meant, or what there is instead, for a message. At least one volume is there.
pub(super) fn choose(mut volumes: Vec<Volume>, choice: &SeriesChoice) -> Result<Volume, String> {
    let meant: Vec<usize> = match choice {
        SeriesChoice::Only => (0..volumes.len()).collect(),
        SeriesChoice::Largest => {
            let size = |volume: &Volume| (volume.slices.len(), volume.voxels());
            let most = volumes.iter().map(size).max();
            (0..volumes.len()).filter(|&index| Some(size(&volumes[index])) == most).collect()
        }
        SeriesChoice::Named(name) => {
            let is_meant = |volume: &Volume| {
                let part = name.rsplit_once('#').and_then(|(of, number)| Some((of, number.parse::<usize>().ok()?)));
                let named = volume.info.is_called(name);
                named || part.is_some_and(|(of, number)| number == volume.number && volume.info.is_called(of))
            };
            (0..volumes.len()).filter(|&index| is_meant(&volumes[index])).collect()
        }
    };
    match meant.as_slice() {
        [one] => Ok(volumes.swap_remove(*one)),
        _ => Err(listed(&volumes, &meant, choice)),
    }
}

/// What a message says where not just one volume is meant.
fn listed(volumes: &[Volume], meant: &[usize], choice: &SeriesChoice) -> String {
    let shown = |indices: &[usize]| {
        let first: Vec<String> = indices.iter().take(MOST_LISTED).map(|&index| volumes[index].describe()).collect();
        let more = indices.len().saturating_sub(MOST_LISTED);
        format!("{}{}", first.join("; "), if more > 0 { format!("; and {more} more") } else { String::new() })
    };
    let count = meant.len();
    match choice {
        SeriesChoice::Only => {
            let of_one = volumes.iter().all(|volume| volume.info == volumes[0].info);
            format!("holds {count} {}: {}", if of_one { "volumes of one series" } else { "series" }, shown(meant))
        }
        SeriesChoice::Largest => format!("{count} series are the largest: {}", shown(meant)),
        SeriesChoice::Named(name) if meant.is_empty() => {
            let all: Vec<usize> = (0..volumes.len()).collect();
            format!("no series is {name:?}, there are {}", shown(&all))
        }
        SeriesChoice::Named(name) => format!("{count} series are {name:?}: {}", shown(meant)),
    }
}
