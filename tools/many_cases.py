#!/usr/bin/env python3
"""Kills `segment` of many small volumes with SIGKILL at random moments, continues it, and compares it with a run that was never killed.

    tools/with-adapter tools/many_cases.py [--volumes 2000] [--broken 20] [--kills 10] [--parts 3] [--seed 0]
        [--engine target/release/vnet-engine]

Some of the volumes are broken, each in one of ten ways. Three runs with a network that was trained for two steps:

1. whole: without a disturbance.
2. killed: `--continue` again and again, killed each time, then once to the end.
3. parts: as many processes as there are parts (`--part`) in one output folder at once, each killed and continued likewise.

After every kill each file of the output folder must be one of the first run, byte for byte; temporary files are hidden. At the end the
folders must be equal, without a temporary file, and the broken volumes, no others, must be named. Standard library only. Exit
status 0 if all of that holds.
"""
import argparse
import gzip
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTENTS = (9, 8, 5)
VOXELS = EXTENTS[0] * EXTENTS[1] * EXTENTS[2]


def nifti(values, code=4, kind="h", dimensions=(3, *EXTENTS, 1, 1, 1, 1)):
    """A NIfTI-1 file of these values."""
    head = bytearray(348)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, *dimensions)
    struct.pack_into("<hh", head, 70, code, 8 * struct.calcsize(kind))
    struct.pack_into("<8f", head, 76, 1, 1.5, 1.25, 3, 0, 0, 0, 0)
    struct.pack_into("<3f", head, 108, 352, 0, 0)
    struct.pack_into("<hh", head, 252, 0, 1)
    struct.pack_into("<12f", head, 280, 1.5, 0, 0, -7, 0, 1.25, 0, 3, 0, 0, 3, 11)
    head[344:348] = b"n+1\0"
    return bytes(head) + b"\0\0\0\0" + struct.pack(f"<{len(values)}{kind}", *values)


def packed(content):
    return gzip.compress(content, 6, mtime=0)


def broken(way, values):
    """The bytes of a broken volume; None for a link to nothing."""
    sound = packed(nifti(values))
    floats = [float(value) for value in values]
    return [
        sound[: len(sound) * 2 // 3],  # cut
        packed(nifti(values).replace(b"n+1\0", b"n+7\0")),  # another magic
        packed(nifti(floats[:-1] + [float("nan")], 16, "f")),
        packed(nifti(values, dimensions=(4, *EXTENTS, 2, 1, 1, 1))),  # half of a second channel is not there
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 8675309\n",
        packed(nifti(values, dimensions=(3, 900, 800, 500, 1, 1, 1, 1))),  # more voxels than bytes
        packed(b"no header"),
        sound[:-8] + b"\0\0\0\0" + sound[-4:],  # a wrong checksum
        None,
    ][way]


def make_volumes(folder, count, broken_count, rng):
    """Writes the volumes and returns the names of the broken ones."""
    folder.mkdir()
    chosen = {number: way % 10 for way, number in enumerate(sorted(rng.sample(range(count), broken_count)))}
    for number in range(count):
        values = [rng.randrange(-300, 900) for _ in range(VOXELS)]
        path = folder / f"case_{number:05}.nii.gz"
        content = broken(chosen[number], values) if number in chosen else packed(nifti(values))
        if content is None:
            path.symlink_to("nowhere.nii.gz")
        else:
            path.write_bytes(content)
    return {f"case_{number:05}" for number in chosen}


class Check:
    def __init__(self, arguments, folder):
        self.engine, self.kills, self.parts = arguments.engine.resolve(), arguments.kills, arguments.parts
        self.folder, self.rng, self.problems = folder, random.Random(arguments.seed), []
        self.input, self.model = folder / "volumes", folder / "run"
        self.names = make_volumes(self.input, arguments.volumes, arguments.broken, self.rng)
        self.count = arguments.volumes
        phantom = [self.engine, "phantom", "--out", folder / "data", "--cases", "3", "--extents", "16,16,8", "-q"]
        subprocess.run(phantom, check=True, stdout=subprocess.DEVNULL)
        train = [self.engine, "train", "--data", folder / "data", "--out", self.model, "--preset", "tiny", "--steps", "2", "-q"]
        keys = ["network.encoder=[1,1]", "network.decoder=[1]", "data.patch=[8,8,8]", "training.validate_every=0"]
        subprocess.run(train + [word for key in keys for word in ("--set", key)], check=True, stdout=subprocess.DEVNULL)

    def start(self, output, *more):
        command = [self.engine, "segment", "--model", self.model, "--input", self.input, "--output", output, "-q", *more]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, output, *more):
        """Runs to the end; the cases that are named as failed, and the message."""
        process = self.start(output, *more)
        _, message = process.communicate()
        end = message[message.rfind("error: "):] if "error: " in message else ""
        failed = {line.split(".nii.gz")[0].rsplit("/")[-1] for line in end.splitlines()[1:]}
        if process.returncode != (1 if failed else 0):
            self.problems.append(f"{output.name}: exit status {process.returncode}: {message}")
        return failed, end.splitlines()[0] if end else ""

    def kill(self, output, seconds, *more):
        """Starts, and kills after so many seconds; whether it was still at work."""
        process = self.start(output, *more)
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return True

    def compare(self, output, complete):
        """Every file is one of the unbroken run; all of them, and nothing else, where it is complete."""
        expected = self.folder / "whole"
        found = {path.name for path in output.iterdir()} if output.exists() else set()
        hidden = {name for name in found if name.startswith(".")}
        wanted = {path.name for path in expected.iterdir()}
        if found - hidden - wanted:
            self.problems.append(f"{output.name}: {sorted(found - hidden - wanted)[:3]} are there")
        for name in (found - hidden) & wanted:
            if (output / name).read_bytes() != (expected / name).read_bytes():
                self.problems.append(f"{output.name}: {name} differs")
        if complete and (found != wanted):
            self.problems.append(f"{output.name}: {len(wanted - found)} outputs are missing, {len(hidden)} temporary files left")
        return len(found - hidden), len(hidden)

    def run(self):
        begin = time.monotonic()
        failed, heading = self.finish(self.folder / "whole")
        whole = time.monotonic() - begin
        outputs = self.compare(self.folder / "whole", False)[0]
        print(f"whole: {outputs} of {self.count} outputs in {whole:.1f} s; {heading}", flush=True)
        if failed != self.names or outputs != self.count - len(self.names):
            self.problems.append(f"whole: {sorted(failed ^ self.names)} are named wrongly or not")
        self.killed(whole)
        self.in_parts(whole)

    def killed(self, whole):
        output, hits, progress = self.folder / "killed", 0, []
        for _ in range(self.kills):
            # All pauses together are shorter than the whole run, so there is always something left to do.
            hits += self.kill(output, self.rng.uniform(0.0, whole / self.kills), "--continue")
            progress.append(self.compare(output, False))
        failed, heading = self.finish(output, "--continue")
        self.compare(output, True)
        told = ", ".join(f"{done}" + (f" and {left} temporary" if left else "") for done, left in progress)
        print(f"killed: {hits} kills, outputs after each: {told}; then {heading}", flush=True)
        if failed != self.names or hits != self.kills:
            self.problems.append(f"killed: {hits} kills, {sorted(failed ^ self.names)} are named wrongly or not")

    def in_parts(self, whole):
        output, hits, named, headings = self.folder / "parts", 0, set(), []
        for _ in range(3):
            processes = [self.start(output, "--continue", "--part", f"{part}/{self.parts}") for part in range(self.parts)]
            time.sleep(self.rng.uniform(0.0, whole / 4))
            for process in processes:
                hits += process.poll() is None
                process.kill()
                process.communicate()
            self.compare(output, False)
        processes = [self.start(output, "--continue", "--part", f"{part}/{self.parts}") for part in range(self.parts)]
        messages = [process.communicate()[1] for process in processes]
        for message in messages:
            end = message[message.rfind("error: "):].splitlines() if "error: " in message else []
            headings += end[:1]
            lines = {line.split(".nii.gz")[0].rsplit("/")[-1] for line in end[1:]}
            if named & lines:
                self.problems.append(f"parts: {sorted(named & lines)} are named twice")
            named |= lines
        self.compare(output, True)
        print(f"parts: {self.parts} processes at once, {hits} kills; then {'; '.join(headings)}", flush=True)
        if named != self.names:
            self.problems.append(f"parts: {sorted(named ^ self.names)} are named wrongly or not")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", type=int, default=2000)
    parser.add_argument("--broken", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", type=Path, default=ROOT / "target/release/vnet-engine")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(arguments, Path(folder))
        check.run()
    print("\n".join(check.problems) if check.problems else "many_cases: all outputs are those of the whole run")
    sys.exit(bool(check.problems))


if __name__ == "__main__":
    main()
