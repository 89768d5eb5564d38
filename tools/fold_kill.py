#!/usr/bin/env python3
"""Kills cross-validations with SIGKILL at random moments, starts them again, and compares them bit by bit with one that was not.

    tools/with-adapter tools/fold_kill.py [--kills 10] [--seed 0] [--program target/release/vnet-engine]

Kills come as those of tools/fault_kill.py: half after a random time, half at a random operation on a file of the folder. A
cross-validation of three folds is killed ten times and then goes on to its end, when models, checkpoints, predictions with and
without mirror images, choices, ensemble, scores, report and the logs, apart from times, must equal those of the one that was never
killed. Then one whose folds are processes of their own (`--only`), in another order, and put together by `--collect`, must
equal it too. Needs Linux, cc and a Vulkan driver. Exit status 0 if all do.
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import fault_kill

FOLDS = 3
KEYS = [
    "training.steps=12", "training.validate_every=4", "training.checkpoint_every=2", "network.encoder=[1,1]",
    "network.decoder=[1]", "data.patch=[16,16,16]", "training.loader_threads=2", "training.ema_decay=0.7",
]


def results(out):
    """The files that must have the same bits: all but logs, locks and event files, which have times and numbers of processes."""
    names = [p for p in out.rglob("*") if p.is_file() and p.suffix not in (".lock", ".jsonl")]
    return {str(p.relative_to(out)): p for p in names if not p.name.startswith("events.out.")}


def differences(out, expected):
    ours, theirs = results(out), results(expected)
    found = sorted(set(ours) ^ set(theirs))
    found += [name for name in ours if name in theirs and ours[name].read_bytes() != theirs[name].read_bytes()]
    logs = [f"fold_{fold}" for fold in range(FOLDS)]
    return found + [f"{log}/log.jsonl" for log in logs if log_lines(out / log) != log_lines(expected / log)]


def log_lines(run):
    """Without what says where the cache is and who made it."""
    return [line for line in fault_kill.log_lines(run) if line["event"] != "cache"]


class FoldKiller(fault_kill.Killer):
    kills_per_run = 10

    def command(self, run):
        command = [self.program, "cross-validate", "--data", self.data, "--out", run, "--folds", str(FOLDS)]
        return command + ["--preset", "tiny"] + [word for key in KEYS for word in ("--set", key)]

    def place(self, what, path):
        return f"{what} in {'/'.join(path.parts[:-1]) or path}"

    def time(self, run):
        done = len(list(run.glob("fold_*/fold.json")))
        part = "predicts" if list(run.glob(f"fold_{done}/validation/model")) else "trains"
        return "collects" if done == FOLDS else f"fold {done} {part}"

    def left(self, run):
        """A part of what is left, so that one cross-validation is killed many times."""
        done = len(list(run.glob("fold_*/fold.json")))
        trained = len(list(run.glob("fold_*/validation/model")))
        return 0.03 + 0.22 * (1 - (done + trained) / (2 * FOLDS))

    def parts(self, run):
        """Each fold by a process of its own, the last one first."""
        for extra in [["--only", str(fold)] for fold in reversed(range(FOLDS))] + [["--collect"]]:
            subprocess.run([*self.command(run), *extra], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=FoldKiller.kills_per_run)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", type=Path, default=fault_kill.ROOT / "target/release/vnet-engine")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killer = FoldKiller(arguments.program.resolve(), Path(folder).resolve(), arguments.seed)
        expected, wrong = killer.many(arguments.kills, differences)
        killer.parts(killer.folder / "parts")
        found = differences(killer.folder / "parts", expected)
        print(f"folds one by one: {'differs in ' + ', '.join(found) if found else 'the same bits'}")
    sys.exit(wrong > 0 or bool(found))


if __name__ == "__main__":
    main()
