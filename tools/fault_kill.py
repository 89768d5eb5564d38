#!/usr/bin/env python3
"""Kills trainings with SIGKILL at random moments, resumes them, and compares them bit by bit with one that was never killed.

    tools/with-adapter tools/fault_kill.py [--kills 200] [--seed 0] [--program target/release/vnet-engine]

Half of the kills come after a random time; the other half at a random operation on a file of the run folder (creating, writing,
flushing, truncating, removing; a write is killed half done), with tools/fault_files.c preloaded, so that many hit the
writing of checkpoints. A run is killed eight times and then goes on to its end, when checkpoint (weights, moments, step, best
score), model, scores, curves and the log, apart from times, starts and waits for the loader, must equal those of the run that was never
killed. Needs Linux, cc and a Vulkan driver. Exit status 0 if all do.
"""
import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEYS = [
    "training.steps=40", "training.validate_every=6", "training.checkpoint_every=4", "network.encoder=[1,1]",
    "network.decoder=[1]", "data.patch=[16,16,16]", "training.loader_threads=2",
]
COMPARED = [
    "checkpoint/step_0000036.safetensors", "checkpoint/step_0000040.safetensors", "model.safetensors", "config.toml",
    "split.json", "curves.png", "curves.svg", "test/scores.csv",
]


def training(program, data, run):
    """The command that starts the run, or goes on with it once there is one."""
    command = [program, "train", "--data", data, "--out", run, "--preset", "tiny"]
    if (run / "config.toml").exists():
        return [program, "train", "--data", data, "--out", run, "--resume"]
    return command + [word for key in KEYS for word in ("--set", key)]


def log_lines(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for line in lines:
        del line["time"]
    return [line for line in lines if line["event"] not in ("start", "loader")]


def differences(run, expected):
    found = [name for name in COMPARED if (run / name).read_bytes() != (expected / name).read_bytes()]
    if log_lines(run) != log_lines(expected):
        found.append("log.jsonl")
    found += [str(p.relative_to(run)) for p in run.rglob("*.part")]
    found += [str(p.relative_to(run)) for p in run.rglob("*.damaged")]
    return found


class Killer:
    kills_per_run = 8

    def __init__(self, program, folder, seed):
        self.program, self.folder, self.random = program, folder, random.Random(seed)
        self.data, self.library, self.record = folder / "data", folder / "fault_files.so", folder / "record"
        source = ROOT / "tools/fault_files.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.library, source, "-ldl"], check=True)
        extents = ["--extents", "32,32,16", "--spacing", "4,4,4.5"]
        command = [program, "phantom", "--out", self.data, "--cases", "6", "--seed", "4", *extents]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.where = collections.Counter()

    def command(self, run):
        return training(self.program, self.data, run)

    def place(self, what, path):
        """What is counted of a kill at an operation on a file of the run folder."""
        first = path.parts[0]
        return f"{what} in {first}" if first in ("checkpoint", "overlays", "test", "log.jsonl") else what

    def time(self, run):
        """What is counted of a kill after a time."""
        checkpoints = [p.name for p in run.glob("checkpoint/step_*")]
        return f"after step {int(max(checkpoints)[5:12])}" if checkpoints else "at the start"

    def start(self, run, **faults):
        environment = dict(os.environ)
        if faults:
            environment |= {"LD_PRELOAD": str(self.library), "FAULT_FOLDER": f"{run}/", "FAULT_CHUNK": "16384"}
            environment |= {"FAULT_RECORD": str(self.record)} | faults
        output = open(run.with_suffix(".txt"), "ab")
        return subprocess.Popen(self.command(run), env=environment, stdout=output, stderr=output)

    def whole(self, run, **faults):
        begin = time.monotonic()
        status = self.start(run, **faults).wait()
        if status != 0:
            sys.exit(f"{run}: exit status {status}\n{run.with_suffix('.txt').read_text()[-2000:]}")
        return time.monotonic() - begin

    def reference(self):
        run = self.folder / "whole"
        self.record.write_text("")
        self.seconds = self.whole(run, FAULT_KILL_AT="0")
        self.operations = int(self.record.read_text().split()[1])
        return run

    def left(self, run):
        """About the share of a whole run that is still to be done: starting takes a part of it."""
        steps = [int(p.name[5:12]) for p in run.glob("checkpoint/step_*.safetensors")]
        return 0.2 + 0.8 * (1 - max(steps, default=0) / 40)

    def kill_by_time(self, run):
        process = self.start(run)
        try:
            process.wait(self.random.uniform(0, self.seconds * self.left(run)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            return process.returncode
        self.where[f"after a time, {self.time(run)}"] += 1
        return None

    def kill_at_operation(self, run):
        self.record.write_text("")
        process = self.start(run, FAULT_KILL_AT=str(self.random.randint(1, int(self.operations * self.left(run)))))
        if process.wait() != -signal.SIGKILL:
            return process.returncode
        what, _, path = self.record.read_text().split(maxsplit=2)
        self.where[self.place(what, Path(path.strip()).relative_to(run))] += 1
        return None

    def chain(self, run, kills):
        """Kills a run several times and lets it end; returns the number of kills."""
        done = 0
        for kill in range(kills):
            status = self.random.choice([self.kill_by_time, self.kill_at_operation])(run)
            if status == 0:
                break
            if status is not None:
                sys.exit(f"{run}: exit status {status}\n{run.with_suffix('.txt').read_text()[-2000:]}")
            done += 1
        self.whole(run)
        return done

    def many(self, most, differences):
        """Runs until `most` kills are done. The files of a run that was not killed, and how many runs differ from it."""
        expected = self.reference()
        print(f"a whole run: {self.seconds:.1f} s, {self.operations} operations on files", flush=True)
        kills = runs = wrong = 0
        while kills < most:
            run = self.folder / f"run{runs}"
            kills += self.chain(run, min(self.kills_per_run, most - kills))
            found = differences(run, expected)
            runs, wrong = runs + 1, wrong + bool(found)
            print(f"run {runs}, {kills} kills: {'differs in ' + ', '.join(found) if found else 'the same bits'}", flush=True)
        for where, count in sorted(self.where.items()):
            print(f"  {count:4} {where}")
        print(f"{kills} kills in {runs} runs: {wrong} runs differ")
        return expected, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/vnet-engine")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(arguments.program.resolve(), Path(folder).resolve(), arguments.seed)
        _, wrong = killer.many(arguments.kills, differences)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
