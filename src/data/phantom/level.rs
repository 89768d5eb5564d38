//! Signals of tissues in T2-weighted images, relative to urine.

pub(super) const AIR: f64 = 0.01;
pub(super) const FAT: f64 = 0.74;
pub(super) const MUSCLE: f64 = 0.22;
pub(super) const CORTEX: f64 = 0.07;
pub(super) const MARROW: f64 = 0.52;
pub(super) const URINE: f64 = 1.0;
pub(super) const WALL: f64 = 0.28;
pub(super) const STOOL: f64 = 0.42;
pub(super) const VESICLE: f64 = 0.82;
pub(super) const PERIPHERAL: f64 = 0.80;
pub(super) const CENTRAL: f64 = 0.45;
pub(super) const CAPSULE: f64 = 0.24;
pub(super) const STROMA: f64 = 0.20;
pub(super) const URETHRA: f64 = 0.70;
pub(super) const LESION: f64 = 0.40;
pub(super) const VEIN: f64 = 0.95;
