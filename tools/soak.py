#!/usr/bin/env python3
"""Thousands of small training steps: does memory grow, do steps become slower?

    tools/with-adapter tools/soak.py --out FOLDER [--steps 2000] [--program target/release/vnet-engine]

Trains a small network on phantoms with validations and checkpoints, reads resident memory and processor time of the process
every half second (/proc/PID) and the times of the steps from the run's log. Writes FOLDER/soak.csv (step, seconds, resident MiB,
processor seconds so far) and FOLDER/soak.svg, and prints first and last quarter after a warm-up of a tenth. Exit status 1 if
memory grew by more than 2 % or 2 MiB, whichever is more, or a step, validations and checkpoints included, takes more than 10 %
more processor time: seconds on the clock are shown too, but on a shared machine they tell what others do.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEYS = [
    "training.validate_every=100", "training.checkpoint_every=50", "network.encoder=[1,1]", "network.decoder=[1]",
    "data.patch=[32,32,16]",
]


def resident_mib(process):
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


def processor_seconds(process):
    """Time in user and kernel mode of all threads: fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(process):
    """Resident memory and processor time over time: (seconds since 1970, MiB, seconds)."""
    samples = []
    while process.poll() is None:
        try:
            resident, seconds = resident_mib(process), processor_seconds(process)
        except (FileNotFoundError, ProcessLookupError):
            break
        if resident is not None:
            samples.append((time.time(), resident, seconds))
        time.sleep(0.5)
    return samples


def step_times(run):
    """Seconds between the results of steps that follow each other, without those in which a validation or checkpoint fell."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [(line["step"], line["time"]) for line in lines if line["event"] == "step"]
    special = {line["step"] for line in lines if line["event"] == "validation"}
    pairs = zip(steps, steps[1:])
    return [(b[0], b[1], b[1] - a[1]) for a, b in pairs if a[0] not in special and a[0] % 50 != 0]


def at(samples, moment):
    return min(samples, key=lambda s: abs(s[0] - moment))[1:]


def polyline(values, box, low, high, colour):
    x0, y0, width, height = box
    scale = (high - low) or 1
    points = (
        f"{x0 + width * i / max(len(values) - 1, 1):.1f},{y0 + height * (1 - (v - low) / scale):.1f}" for i, v in enumerate(values)
    )
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1" points="{" ".join(points)}"/>'


def plot(rows, path):
    """Two panels over the steps: seconds of a step, resident memory."""
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="800" height="440" font-family="sans-serif" font-size="12">',
             '<rect width="800" height="440" fill="white"/>']
    steps = [row[0] for row in rows]
    for n, (title, column, colour) in enumerate([("ms per step", 1, "#0072b2"), ("resident memory, MiB", 2, "#d55e00")]):
        values = [row[column] * (1000 if column == 1 else 1) for row in rows]
        high = sorted(values)[int(0.995 * (len(values) - 1))] * 1.1
        box = (70, 30 + 205 * n, 700, 150)
        parts.append(f'<text x="70" y="{box[1] - 8}">{title}</text>')
        parts.append(f'<rect x="70" y="{box[1]}" width="700" height="150" fill="none" stroke="#999"/>')
        for share in (0, 0.5, 1):
            parts.append(f'<text x="64" y="{box[1] + 150 * (1 - share) + 4:.0f}" text-anchor="end">{high * share:.0f}</text>')
        for step in (steps[0], steps[len(steps) // 2], steps[-1]):
            x = 70 + 700 * steps.index(step) / (len(steps) - 1)
            parts.append(f'<text x="{x:.0f}" y="{box[1] + 165}" text-anchor="middle">step {step}</text>')
        parts.append(polyline([min(v, high) for v in values], box, 0, high, colour))
    path.write_text("\n".join(parts + ["</svg>\n"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/vnet-engine")
    arguments = parser.parse_args()
    data, run = arguments.out / "data", arguments.out / "run"
    extents = ["--extents", "32,32,16", "--spacing", "4,4,4.5"]
    subprocess.run([arguments.program, "phantom", "--out", data, "--cases", "8", *extents], check=True)
    command = [arguments.program, "train", "--data", data, "--out", run, "--preset", "tiny", "--steps", str(arguments.steps)]
    process = subprocess.Popen(command + [word for key in KEYS for word in ("--set", key)])
    samples = watch(process)
    if process.wait() != 0:
        sys.exit(f"the training ended with {process.returncode}")
    rows = [(step, seconds, *at(samples, moment)) for step, moment, seconds in step_times(run)]
    text = "".join(f"{step},{seconds:.4f},{resident:.1f},{processor:.2f}\n" for step, seconds, resident, processor in rows)
    (arguments.out / "soak.csv").write_text("step,seconds,resident_mib,processor_seconds\n" + text)
    plot(rows, arguments.out / "soak.svg")
    rows = rows[len(rows) // 10 :]
    first, last = rows[: len(rows) // 4], rows[-len(rows) // 4 :]
    memory = [statistics.mean(row[2] for row in part) for part in (first, last)]
    speed = [statistics.median(row[1] for row in part) for part in (first, last)]
    work = [(part[-1][3] - part[0][3]) / (part[-1][0] - part[0][0]) for part in (first, last)]
    print(f"resident memory {memory[0]:.1f} -> {memory[1]:.1f} MiB, median step {speed[0] * 1e3:.1f} -> {speed[1] * 1e3:.1f} ms")
    print(f"processor time per step {work[0] * 1e3:.1f} -> {work[1] * 1e3:.1f} ms")
    grown = memory[1] - memory[0] > max(0.02 * memory[0], 2)
    slower = work[1] > 1.1 * work[0]
    sys.exit(int(grown or slower))


if __name__ == "__main__":
    main()
