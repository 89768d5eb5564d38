//! Segmentation as a service: one predictor behind a queue of bounded length, requests over TCP.
//!
//! A request is a line `x y z dx dy dz` (voxels, and their spacing in mm), then x * y * z little-endian f32, x fastest. The
//! answer is a line `ok N`, then N little-endian u16, one label per voxel; or a line `error` with what was wrong.
//!
//! `tools/with-adapter cargo run --release --example service -- MODEL.safetensors 127.0.0.1:7000` serves a model;
//! without arguments the example trains a small one, serves it, sends itself requests, of which some are broken, and ends.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use vnet_engine::data::{Batch, Fit, Grid, LabelMap, Normalisation, Preparation, Prepared, Volume};
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::infer::{Preprocessing, Segmenter};
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Model, Network};
use vnet_engine::train::{Trainer, TrainerSettings};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Requests that wait; one more is turned away.
const QUEUED: usize = 8;
/// Voxels of a request, at most: 64 MiB.
const MOST_VOXELS: usize = 1 << 24;
/// Bytes of the first line of a request, at most.
const LONGEST_LINE: u64 = 200;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A volume, and where its labels or the error go.
struct Job {
    volume: Volume,
    answer: SyncSender<Result<LabelMap, String>>,
}

fn open(gpu: &Arc<Gpu>, path: &Path) -> Outcome<Segmenter> {
    let model = Model::read(path)?;
    let preprocessing = Preprocessing::of(&model)?;
    Ok(Segmenter::new(gpu, vec![model], &preprocessing)?)
}

fn segment(segmenter: &mut Segmenter, volume: Volume) -> Result<LabelMap, String> {
    segmenter.segment_volume(volume).map(|found| found.labels).map_err(|error| error.to_string())
}

/// Answers jobs, one after the other, until nobody can send any more.
fn work(segmenter: &mut Segmenter, jobs: Receiver<Job>) {
    for job in jobs {
        // Whoever asked may have gone.
        let _ = job.answer.send(segment(segmenter, job.volume));
    }
}

/// Serves so many connections, each in its own thread.
fn serve(listener: &TcpListener, connections: usize, queue: SyncSender<Job>) {
    thread::scope(|scope| {
        for stream in listener.incoming().take(connections).flatten() {
            let queue = queue.clone();
            scope.spawn(move || {
                // A client that hangs up is its own affair.
                let _ = answer(&stream, &queue);
            });
        }
    });
}

/// Reads a request and writes its answer.
fn answer(mut stream: &TcpStream, queue: &SyncSender<Job>) -> Outcome<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    match request(stream).and_then(|volume| enqueue(volume, queue)) {
        Ok(labels) => {
            writeln!(stream, "ok {}", labels.voxels.len())?;
            let bytes: Vec<u8> = labels.voxels.iter().flat_map(|label| label.to_le_bytes()).collect();
            stream.write_all(&bytes)?;
        }
        Err(error) => writeln!(stream, "error {}", error.to_string().replace('\n', " "))?,
    }
    Ok(())
}

fn request(stream: &TcpStream) -> Outcome<Volume> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    Read::by_ref(&mut reader).take(LONGEST_LINE).read_line(&mut line)?;
    let wrong = || format!("first line is {:?}, expected x y z dx dy dz", line.trim_end());
    let words: Vec<&str> = line.split_whitespace().collect();
    let [x, y, z, dx, dy, dz] = words[..] else { return Err(wrong().into()) };
    let mut extents = [0usize; 3];
    let mut spacing = [0.0f64; 3];
    for (axis, (extent, distance)) in [(x, dx), (y, dy), (z, dz)].into_iter().enumerate() {
        extents[axis] = extent.parse().map_err(|_| wrong())?;
        spacing[axis] = distance.parse().map_err(|_| wrong())?;
    }
    let count = extents.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
    let count = count.filter(|count| *count <= MOST_VOXELS);
    let count = count.ok_or_else(|| format!("{extents:?} voxels, expected at most {MOST_VOXELS}"))?;
    let mut bytes = vec![0; 4 * count];
    reader.read_exact(&mut bytes).map_err(|error| format!("{count} voxels of four bytes expected: {error}"))?;
    let voxels = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Ok(Volume::new(Grid::axis_aligned(extents, spacing), voxels)?)
}

fn enqueue(volume: Volume, queue: &SyncSender<Job>) -> Outcome<LabelMap> {
    let (sender, receiver) = sync_channel(1);
    queue.try_send(Job { volume, answer: sender }).map_err(|error| match error {
        TrySendError::Full(_) => "busy, try again later",
        TrySendError::Disconnected(_) => "the service is ending",
    })?;
    Ok(receiver.recv()??)
}

/// The client: sends a first line and voxels; the labels, or the words after `error`.
fn ask(address: SocketAddr, line: &str, voxels: &[f32]) -> Outcome<Result<Vec<u16>, String>> {
    let mut stream = TcpStream::connect(address)?;
    writeln!(stream, "{line}")?;
    stream.write_all(&voxels.iter().flat_map(|voxel| voxel.to_le_bytes()).collect::<Vec<u8>>())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if let Some(error) = line.strip_prefix("error ") {
        return Ok(Err(error.trim_end().to_owned()));
    }
    let count: usize = line.trim_end().strip_prefix("ok ").ok_or("an answer begins with ok or error")?.parse()?;
    let mut bytes = vec![0; 2 * count];
    reader.read_exact(&mut bytes)?;
    Ok(Ok(bytes.as_chunks::<2>().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect()))
}

/// A number in -1 to 1 that looks random (the finaliser of MurmurHash3).
fn noise(i: usize) -> f32 {
    let mut bits = i as u32;
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    ((bits ^ (bits >> 16)) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// A bright ball in noise, and its labels.
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

/// Trains a small network on balls and writes its model.
fn train(gpu: &Arc<Gpu>, path: &Path) -> Outcome<()> {
    let grid = Grid::axis_aligned([24, 20, 16], [1.0; 3]);
    let preparation = Preparation { patch: grid.extents, ..Preparation::native(Normalisation::ZScoreAll) };
    let network = Network::new(1, 2, VNet { base: 4, encoder: vec![1, 1], decoder: vec![1] });
    let mut trainer = Trainer::new(gpu, &network, &TrainerSettings::default(), grid.dhw())?;
    trainer.initialise(0, 0.05);
    for step in 0..40 {
        let (image, label) = ball(&grid, step);
        let (image, label) = (Volume::new(grid.clone(), image)?, LabelMap::new(grid.clone(), label)?);
        let sample = Prepared::from_pair(image, &label, &preparation, Fit::Patch)?;
        trainer.step(&[Batch::of(&[sample])?], 1e-2)?;
    }
    let preprocessing = Preprocessing::new(&preparation, vec!["background".to_owned(), "ball".to_owned()]);
    Ok(trainer.model(trainer.best_arena(), &network, &preprocessing)?.write(path)?)
}

/// A segmenter's worker and its connections.
fn run(segmenter: &mut Segmenter, listener: &TcpListener, connections: usize) {
    let (queue, jobs) = sync_channel(QUEUED);
    thread::scope(|scope| {
        scope.spawn(move || work(segmenter, jobs));
        serve(listener, connections, queue);
    });
}

/// Broken requests: first line, voxels, and a word of the answer.
const BROKEN: [(&str, &[f32], &str); 5] = [
    ("2 2 1 1 1 1", &[0.0, f32::NAN, 1.0, 2.0], "volume: 1 of 4 voxels are NaN or infinite"),
    ("2 2 1 1 0 1", &[0.0, 3.0, 1.0, 2.0], "volume: spacing is [1.0, 0.0, 1.0], expected three positive numbers"),
    ("2 2 2 1 1 1", &[0.0, 3.0, 1.0, 2.0], "8 voxels of four bytes expected"),
    ("4096 4096 4096 1 1 1", &[], "expected at most 16777216"),
    ("GET / HTTP/1.1", &[], "expected x y z dx dy dz"),
];

/// Serves a model and sends requests from two threads, broken ones between good ones.
fn demonstrate(gpu: &Arc<Gpu>) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    train(gpu, &path)?;
    let mut segmenter = open(gpu, &path)?;
    // Larger than the patch: the window slides.
    let grid = Grid::axis_aligned([30, 22, 16], [1.0; 3]);
    let balls: Vec<Vec<f32>> = (50..54).map(|seed| ball(&grid, seed).0).collect();
    let expected =
        balls.iter().map(|voxels| Ok(segment(&mut segmenter, Volume::new(grid.clone(), voxels.clone())?)?.voxels));
    let expected = expected.collect::<Outcome<Vec<_>>>()?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        scope.spawn(|| run(&mut segmenter, &listener, balls.len() + BROKEN.len()));
        let good = scope.spawn(|| {
            let answers = balls.iter().map(|voxels| ask(address, "30 22 16 1 1 1", voxels));
            answers.collect::<Outcome<Vec<_>>>()
        });
        let broken = BROKEN.iter().map(|(line, voxels, _)| ask(address, line, voxels));
        let broken = broken.collect::<Outcome<Vec<_>>>()?;
        for ((line, _, words), answer) in BROKEN.iter().zip(broken) {
            let error = answer.expect_err("the request is broken");
            println!("{line}: {error}");
            assert!(error.contains(words), "{error}");
        }
        let good = good.join().expect("the client does not panic")?;
        for (answer, expected) in good.into_iter().zip(&expected) {
            let labels = answer?;
            let foreground = labels.iter().filter(|label| **label == 1).count();
            println!("{} voxels, {foreground} of them in the ball", labels.len());
            assert!(labels == *expected, "the service answers what the library does");
            assert!((300..1000).contains(&foreground), "a ball of radius 5 has 485 voxels");
        }
        Ok(())
    })
}

fn main() -> Outcome<()> {
    let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => demonstrate(&gpu),
        [model, address] => {
            run(&mut open(&gpu, Path::new(model))?, &TcpListener::bind(address)?, usize::MAX);
            Ok(())
        }
        _ => Err("expected MODEL.safetensors ADDRESS:PORT, or nothing".into()),
    }
}
