//! The program on a bad day: killed, stopped, on a full disk, with damaged files, in odd surroundings (docs/reliability.md).

#[path = "reliability/cache.rs"]
mod cache;
#[path = "reliability/determinism.rs"]
mod determinism;
#[cfg(target_os = "linux")]
#[path = "reliability/disk.rs"]
mod disk;
#[path = "reliability/files.rs"]
mod files;
#[path = "reliability/health.rs"]
mod health;
#[path = "reliability/many.rs"]
mod many;
#[path = "reliability/program.rs"]
mod program;
#[cfg(unix)]
#[path = "reliability/signals.rs"]
mod signals;
#[path = "reliability/stopped.rs"]
mod stopped;
#[cfg(target_os = "linux")]
#[path = "reliability/streams.rs"]
mod streams;
mod support;
#[path = "reliability/surroundings.rs"]
mod surroundings;
#[cfg(target_os = "linux")]
#[path = "reliability/terminal.rs"]
mod terminal;

fn main() {
    let mut tests = stopped::TESTS.to_vec();
    tests.extend(cache::TESTS);
    tests.extend(determinism::TESTS);
    #[cfg(target_os = "linux")]
    tests.extend(cache::FAULTY);
    tests.extend(files::TESTS);
    tests.extend(health::TESTS);
    tests.extend(many::TESTS);
    tests.extend(surroundings::TESTS);
    #[cfg(unix)]
    tests.extend(signals::TESTS);
    #[cfg(target_os = "linux")]
    tests.extend(disk::TESTS);
    #[cfg(target_os = "linux")]
    tests.extend(terminal::TESTS);
    #[cfg(target_os = "linux")]
    tests.extend(streams::TESTS);
    support::run_trials(&tests);
}
