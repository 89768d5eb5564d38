//! Trains on arrays in memory and segments an array that the training has not seen.
//!
//! `tools/with-adapter cargo run --release --example train_on_arrays`

use std::error::Error;
use std::sync::Arc;
use vnet_engine::data::{Batch, Fit, Grid, LabelMap, Normalisation, Preparation, Prepared, Volume};
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::infer::{Predictor, segment_volume};
use vnet_engine::metrics::Overlap;
use vnet_engine::nn::Network;
use vnet_engine::nn::vnet::VNet;
use vnet_engine::train::{Trainer, TrainerSettings};

/// A number in -1 to 1 that looks random (the finaliser of MurmurHash3).
fn noise(i: usize) -> f32 {
    let mut bits = i as u32;
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    ((bits ^ (bits >> 16)) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// A bright ball in noise, and its labels: any arrays will do, x fastest.
fn ball(grid: &Grid, seed: usize) -> (Vec<f32>, Vec<u16>) {
    let [nx, ny, _] = grid.extents;
    let centre = [8 + seed % 7, 7 + seed % 5, 6 + seed % 4];
    let inside = |i: usize| {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        (0..3).map(|axis| at[axis].abs_diff(centre[axis]).pow(2)).sum::<usize>() < 25
    };
    let voxel = |i: usize| (noise(i + 100_003 * seed) + f32::from(inside(i)), u16::from(inside(i)));
    (0..grid.voxel_count()).map(voxel).unzip()
}

fn main() -> Result<(), Box<dyn Error>> {
    let grid = Grid::axis_aligned([24, 20, 16], [1.0, 1.0, 1.5]); // voxels along x, y, z, and their spacing in mm
    let preparation = Preparation { patch: grid.extents, ..Preparation::native(Normalisation::ZScoreAll) };
    let network = Network::new(1, 2, VNet { base: 4, encoder: vec![1, 1], decoder: vec![1] });
    let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
    let mut trainer = Trainer::new(&gpu, &network, &TrainerSettings::default(), grid.dhw())?;
    trainer.initialise(0, 0.05);
    let mut results = Vec::new();
    for step in 0..60 {
        let (image, label) = ball(&grid, step);
        let (image, label) = (Volume::new(grid.clone(), image)?, LabelMap::new(grid.clone(), label)?);
        let sample = Prepared::from_pair(image, &label, &preparation, Fit::Patch)?;
        results.extend(trainer.step(&[Batch::of(&[sample])?], 1e-2)?);
    }
    results.extend(trainer.finish()?);
    let predictor = Predictor::sharing(trainer.executor(), trainer.best_arena(), &network, grid.extents)?;
    let (image, label) = ball(&grid, 1000);
    let found = segment_volume(&predictor, &preparation, Volume::new(grid, image)?)?;
    let dice = Overlap::count(&found.voxels, &label, 1)?.dice().ok_or("no voxel is labelled")?;

    let (first, last) = (results[0].loss, results[results.len() - 1].loss);
    println!("{} steps: loss {first:.3} to {last:.3}; Dice of the unseen ball {dice:.3}", results.len());
    assert_eq!(results.len(), 60);
    assert!(last < 0.2 * first && dice > 0.8, "loss {first} to {last}, Dice {dice}");
    Ok(())
}
