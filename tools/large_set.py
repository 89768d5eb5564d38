#!/usr/bin/env python3
"""Trains on a data set that memory holds, and on the same one within a third of its size, and compares the speed.

    tools/with-adapter tools/large_set.py [--binary target/release/vnet-engine] [--cases 60] [--steps 400]

Makes phantoms whose prepared volumes are large (they are resampled to finer voxels), and trains on them

- memory: all prepared volumes in memory (`data.cache` is larger than the set),
- disk:   `data.cache` is a tenth of the set and the others are in the cache on disk; the process and the pages of its files
          get a third of the set's size of memory and no more,
- none:   as disk, without a cache on disk: what memory does not hold is prepared again for every sample.

The limit on memory is a control group (version 1 or 2) where this user may make one: pages of files that the process reads
count too, so the entries cannot all stay in memory. Where no group can be made, the pages of the cache are dropped twice a
second (posix_fadvise), and the table says so.

For each run: voxels per second of all steps and of those after the first epoch, processor seconds per step (which hardly depend
on what else the machine does), the share of the time that steps waited for batches, the peak of the process's own memory
and of mapped files, the bytes in the cache, and the fingerprint, which must be the same for all. Exit status 1 if it is not,
or if the second run waits 2 % of its time or more after the first epoch. Needs only Python's standard library.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time

# A network whose steps are short, so that the loader is the more likely to be late.
KEYS = [
    "network.encoder=[1,1]", "network.decoder=[1]", "network.base=4", "data.patch=[64,64,32]", "data.sampling=patch",
    "data.spacing=[2.0,2.0,2.0]", "data.split=[1.0,0.0,0.0]", "training.validate_every=0", "training.batch=1",
]
PATCH = 64 * 64 * 32


class Group:
    """A control group with a limit on memory; `made` is false where none can be made."""

    def __init__(self, limit):
        self.path, self.made = None, False
        one, two = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
        version = 1 if one.is_dir() else 2
        path = (one if version == 1 else two) / f"vnet-large-set-{os.getpid()}"
        names = {1: ("memory.limit_in_bytes", "memory.max_usage_in_bytes"), 2: ("memory.max", "memory.peak")}[version]
        try:
            path.mkdir()
            self.path = path
            (path / names[0]).write_text(str(limit))
            self.peak_file = path / names[1]
            self.made = True
        except OSError:
            self.close()

    def enter(self):
        if self.made:
            (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self):
        try:
            return int(self.peak_file.read_text()) if self.made else None
        except OSError:
            return None

    def close(self):
        if self.path:
            try:
                self.path.rmdir()
            except OSError:
                pass


def drop_pages(folder):
    for entry in list(folder.glob("*")) if folder.is_dir() else []:
        try:
            file = os.open(entry, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
        except OSError:
            pass


def watch(process, seen, drop):
    """Peaks of the process's memory by kind and of the bytes of its cache, until it ends."""
    # Looks are rare: this takes processor time from what is measured.
    folder, last, looked = drop, time.monotonic(), 0.0
    while process.poll() is None:
        try:
            for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("RssAnon", "RssFile"):
                    seen[name] = max(seen.get(name, 0), int(value.split()[0]) << 10)
        except OSError:
            pass
        if folder and time.monotonic() - last > 0.5:
            drop_pages(folder)
            last = time.monotonic()
        if time.monotonic() - looked > 5:
            files = [f for f in seen["cache"].glob("*") if f.exists()]
            seen["disk"] = max(seen.get("disk", 0), sum(f.stat().st_size for f in files))
            looked = time.monotonic()
        time.sleep(0.25)


def events(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def train(binary, data, run, steps, cases, keys, limit):
    group = Group(limit) if limit else None
    shutil.rmtree(run, ignore_errors=True)
    every = max(1, steps // 20)
    command = [binary, "train", "--data", data, "--out", run, "--preset", "tiny", "--steps", str(steps), "--json", "-q"]
    for key in KEYS + [f"training.checkpoint_every={every}"] + keys:
        command += ["--set", key]
    before = os.times()
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, text=True, preexec_fn=group.enter if group else None
    )
    seen = {"cache": run / "cache"}
    drop = run / "cache" if group and not group.made else None
    watcher = threading.Thread(target=watch, args=(process, seen, drop))
    watcher.start()
    output = process.communicate()[0]
    watcher.join()
    after = os.times()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit status {process.returncode}")
    log = events(run)
    ends = [e for e in log if e["event"] == "loader"]
    later = [e for e in ends if e["step"] - every >= cases]
    if not later:
        sys.exit("no step after the first epoch was measured")
    seconds = sum(e["seconds"] for e in ends)
    result = {
        "weights": json.loads(output)["weights"],
        "all": steps * PATCH / seconds,
        "later": len(later) * every * PATCH / max(sum(e["seconds"] for e in later), 1e-9),
        "waited": 100 * sum(e["waited_seconds"] for e in ends) / seconds,
        "waited later": 100 * sum(e["waited_seconds"] for e in later) / max(sum(e["seconds"] for e in later), 1e-9),
        "cpu": (after.children_user + after.children_system - before.children_user - before.children_system) / steps,
        "peak": group.peak() if group else None,
        "limited": "group" if group and group.made else "pages dropped" if group else "no",
        **{name: seen.get(name, 0) for name in ("RssAnon", "RssFile", "disk")},
    }
    if group:
        group.close()
    return result


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/vnet-engine")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--extents", default="64,64,48")
    parser.add_argument("--spacing", default="5,5,5", help="of the files; volumes are resampled to 2 mm")
    parser.add_argument("--without-none", action="store_true", help="leave out the run without a cache on disk")
    arguments = parser.parse_args()
    if arguments.steps - max(1, arguments.steps // 20) < arguments.cases:
        parser.error("--steps must go beyond the first epoch, by a twentieth of them or more")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = folder / "data"
        subprocess.run(
            [arguments.binary, "phantom", "--out", data, "--cases", str(arguments.cases), "--extents", arguments.extents,
             "--spacing", arguments.spacing], check=True, stdout=subprocess.DEVNULL)
        extents = [round(int(n) * float(mm) / 2) for n, mm in
                   zip(arguments.extents.split(","), arguments.spacing.split(","))]
        total = arguments.cases * extents[0] * extents[1] * extents[2] * 6
        limit, held = total // 3, total // 10
        runs = [("memory", ["data.cache=64GiB"], None), ("disk", [f"data.cache={held}B"], limit)]
        if not arguments.without_none:
            runs.append(("none", [f"data.cache={held}B", "data.cache_dir=none"], limit))
        print(f"{arguments.cases} cases of {extents} voxels: {total >> 20} MiB prepared, limit {limit >> 20} MiB;",
              f"{arguments.steps} steps; {processor()}, {os.cpu_count()} cores")
        print(f"{'run':8}{'kvoxels/s':>10}{'later':>8}{'CPU s/step':>12}{'waited %':>10}{'later %':>9}{'own MiB':>9}"
              f"{'mapped MiB':>12}{'group MiB':>11}{'cache MiB':>11}  limit, weights")
        results = {}
        for name, keys, most in runs:
            r = results[name] = train(arguments.binary, data, folder / name, arguments.steps, arguments.cases, keys, most)
            group = f"{r['peak'] >> 20}" if r["peak"] else "-"
            print(f"{name:8}{r['all'] / 1e3:10.1f}{r['later'] / 1e3:8.1f}{r['cpu']:12.3f}{r['waited']:10.2f}"
                  f"{r['waited later']:9.2f}{r['RssAnon'] >> 20:9}{r['RssFile'] >> 20:12}{group:>11}{r['disk'] >> 20:11}"
                  f"  {r['limited']}, {r['weights'][:16]}", flush=True)
            shutil.rmtree(folder / name)
        if len({r["weights"] for r in results.values()}) != 1:
            sys.exit("the weights differ")
        if results["disk"]["waited later"] >= 2:
            sys.exit("the steps waited for the loader")


if __name__ == "__main__":
    main()
