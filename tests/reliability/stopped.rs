//! Killed, started twice.

use super::program::*;
use std::process::Output;
use std::time::Duration;

pub const TESTS: [(&str, bool, fn()); 2] = [
    ("killed_at_any_time_a_run_ends_with_the_same_bits", true, killed_at_any_time_a_run_ends_with_the_same_bits),
    ("a_run_folder_takes_one_process", true, a_run_folder_takes_one_process),
];

/// Whether a process that was killed was still running; it has ended well if it was not.
fn was_killed(output: &Output) -> bool {
    #[cfg(unix)]
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    #[cfg(not(unix))]
    let killed = output.status.code() == Some(1);
    killed
}

/// `tools/fault_kill.py` in short.
fn killed_at_any_time_a_run_ends_with_the_same_bits() {
    let folder = fresh();
    let run = folder.path().join("run");
    let mut kills = 0;
    // Moments from the middle of the start to the last steps, as they come on this machine.
    for steps in [0, 1, 6, 13, 20] {
        let begun = run.join("config.toml").exists();
        let mut command = if begun { resume(&run) } else { start(&data(), &run, STEPS) };
        let mut child = spawn(&mut command);
        if steps == 0 {
            std::thread::sleep(Duration::from_millis(150));
        } else {
            wait_for_steps(&run, steps);
        }
        child.kill().expect("SIGKILL");
        let output = child.wait_with_output().expect("an end");
        assert!(was_killed(&output) || output.status.success(), "{}", text(&output.stderr));
        kills += u32::from(was_killed(&output));
    }
    assert!(kills >= 3, "{kills} of 5 came before the end");
    succeed(&mut resume(&run));
    assert_same_run(&run, &whole(), STEPS);
}

fn a_run_folder_takes_one_process() {
    let folder = fresh();
    let run = folder.path().join("run");
    let mut first = spawn(&mut start(&data(), &run, ENDLESS));
    wait_for_steps(&run, 3);
    let second = resume(&run).output().expect("the program starts");
    let message = text(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{message}");
    assert!(message.contains(&format!("another process (process {}) trains here", first.id())), "{message}");
    let before = log(&run).len();
    wait_for_steps(&run, before + 2);
    first.kill().expect("SIGKILL");
    first.wait().expect("an end");
    assert!(run.join("run.lock").exists(), "the file is left over");
    succeed(resume(&run).args(["--steps", "4"]));
}
