//! The program on a bad day: killed, stopped, on a full disk, with damaged files, in odd surroundings (docs/reliability.md).

#[path = "reliability/files.rs"]
mod files;
#[path = "reliability/program.rs"]
mod program;
#[path = "reliability/stopped.rs"]
mod stopped;
mod support;
#[path = "reliability/surroundings.rs"]
mod surroundings;

fn main() {
    let mut tests = stopped::TESTS.to_vec();
    tests.extend(files::TESTS);
    tests.extend(surroundings::TESTS);
    support::run_trials(&tests);
}
