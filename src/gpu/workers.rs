//! The threads of Mesa's llvmpipe on a processor of few cores.
//!
//! llvmpipe divides every dispatch evenly among as many threads as there are cores and waits for all of them. A thousand
//! times a second the scheduler places them anew, and where no core is spare it often places two on one: two cores were then
//! idle for a fifth of the time. Bound to a core each, they are not.

use std::fs;
use std::io;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Binds llvmpipe's threads to one core each, when there are as many as the cores that this process may use.
///
/// # Errors
/// What the system said; the threads then stay where the scheduler puts them.
pub(super) fn bind() -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    for (thread, core) in workers(threads()?, cores.len()).into_iter().zip(cores) {
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(Some(thread), &one)?;
    }
    Ok(())
}

/// Ids and names of this process's threads, oldest first.
fn threads() -> io::Result<Vec<(i32, String)>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        // A thread may end in between.
        if let (Some(id), Ok(name)) = (id, fs::read_to_string(path.join("comm"))) {
            threads.push((id, name.trim_end().to_owned()));
        }
    }
    threads.sort_unstable();
    Ok(threads)
}

/// The threads that run compute shaders. They have no name of their own: llvmpipe starts them right after the same number of
/// rasteriser threads, `llvmpipe-0` and so on. Of several devices, those of the last; none unless there are `cores`.
fn workers(threads: Vec<(i32, String)>, cores: usize) -> Vec<Pid> {
    let is_rasteriser = |name: &str| name.starts_with("llvmpipe-");
    let Some(last) = threads.iter().rposition(|(_, name)| is_rasteriser(name)) else { return Vec::new() };
    let rasterisers = threads[..=last].iter().rev().take_while(|(_, name)| is_rasteriser(name)).count();
    let workers = threads[last + 1..].iter().take(cores).filter_map(|&(id, _)| Pid::from_raw(id));
    if rasterisers == cores { workers.collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(threads: &[(i32, &str)], cores: usize) -> Vec<i32> {
        let threads = threads.iter().map(|&(id, name)| (id, name.to_owned())).collect();
        workers(threads, cores).into_iter().map(|pid| pid.as_raw_nonzero().get()).collect()
    }

    #[test]
    fn workers_follow_the_rasterisers_of_the_last_device() {
        let one = [(10, "a"), (12, "a"), (13, "llvmpipe-0"), (14, "llvmpipe-1"), (15, "a"), (17, "a"), (18, "disk")];
        assert_eq!(ids(&one, 2), [15, 17]);
        assert_eq!(ids(&one, 4), [0; 0]);
        assert_eq!(ids(&one[..3], 2), [0; 0]);
        let two = [&one[..], &[(20, "llvmpipe-0"), (21, "llvmpipe-1"), (22, "a"), (23, "a")]].concat();
        assert_eq!(ids(&two, 2), [22, 23]);
        assert_eq!(ids(&[(1, "a")], 1), [0; 0]);
    }
}
