//! The program in a process of its own, with its time and memory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of memory that a wrong input may cost.
pub const MOST_MEMORY: u64 = 1 << 30;
/// Time of the processor that a wrong input may cost.
pub const MOST_TIME: Duration = Duration::from_secs(5);
/// After this time on the clock, which other programs share, the process hangs.
const HANGS: Duration = Duration::from_secs(240);

/// As on a machine with eight cores, for each thread may hold a file.
const THREADS: &str = "8";

/// How a process ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status; none after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Largest resident set, bytes.
    pub peak: u64,
    /// Time of the processor.
    pub time: Duration,
}

/// Runs the program in a folder, without a device.
pub fn run(folder: &Path, arguments: &[String]) -> Outcome {
    run_with(folder, arguments, false)
}

pub fn run_with(folder: &Path, arguments: &[String], device: bool) -> Outcome {
    let output = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| std::fs::File::create(output.path().join(name)).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vnet-engine"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
    command.env("RAYON_NUM_THREADS", THREADS);
    if !device {
        command.env("VK_DRIVER_FILES", "/nonexistent.json").env("VK_ICD_FILENAMES", "/nonexistent.json");
    }
    let (code, peak, time) = wait(command.spawn().expect("the program starts"));
    let read =
        |name: &str| String::from_utf8_lossy(&std::fs::read(output.path().join(name)).expect("read")).into_owned();
    Outcome { code, stdout: read("out"), stderr: read("err"), peak, time }
}

/// Exit status, largest resident set and time of the processor, from the system's accounts of the process.
#[expect(unsafe_code, reason = "the standard library does not tell what a process used")]
fn wait(mut child: Child) -> (Option<i32>, u64, Duration) {
    let start = Instant::now();
    let pid = libc::pid_t::try_from(child.id()).expect("a process id");
    loop {
        let mut status = 0;
        // SAFETY: all-zero bytes are a valid rusage, which has only integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `status` and `usage` live through the call, and nobody else waits for this child.
        let waited = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
        assert!(waited >= 0, "{}", std::io::Error::last_os_error());
        if waited == pid {
            let seconds = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
            // Linux counts in KiB, macOS in bytes.
            let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
            let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            return (code, usage.ru_maxrss as u64 * unit, seconds(usage.ru_utime) + seconds(usage.ru_stime));
        }
        if start.elapsed() > HANGS {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
