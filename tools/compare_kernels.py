#!/usr/bin/env python3
"""Trains a preset with direct kernels and with Winograd's, from one seed on the same samples, and compares losses and scores.

    tools/with-adapter tools/compare_kernels.py DATA OUT [--preset tiny] [--steps 200] [--program target/release/vnet-engine]

Writes OUT/kernels.svg, the mean loss over every tenth of the steps with its standard error, and prints the same and the mean
test Dice of both. A run that is finished is not repeated. Standard library only.
"""
import argparse
import json
import math
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = {"direct": "#b45309", "winograd": "#1d4ed8"}
WIDTH, HEIGHT, MARGIN = 640, 320, 48


def events(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def train(arguments, kernels):
    run = arguments.out / kernels
    if not (run / "test/scores.json").exists():
        command = [arguments.program, "train", "--data", arguments.data, "--out", run, "--preset", arguments.preset]
        command += ["--kernels", kernels, "--steps", str(arguments.steps)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return run


def means(losses):
    """Middle step, mean and standard error of each tenth."""
    size = max(2, len(losses) // 10)
    parts = [losses[i:i + size] for i in range(0, len(losses) - size + 1, size)]
    error = [statistics.stdev(part) / math.sqrt(len(part)) for part in parts]
    return [(i * size + size / 2, statistics.mean(part), error[i]) for i, part in enumerate(parts)]


def svg(losses):
    longest = max(map(len, losses.values()))
    highest = max(max(values) for values in losses.values())
    x = lambda step: MARGIN + step / longest * (WIDTH - 2 * MARGIN)
    y = lambda loss: HEIGHT - MARGIN - loss / highest * (HEIGHT - 2 * MARGIN)
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{MARGIN},{MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}" fill="none" stroke="black"/>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">step (to {longest})</text>',
        f'<text x="{MARGIN}" y="{MARGIN - 12}">training loss, 0 to {highest:.2f}; thick: means of tenths, one standard error</text>',
    ]
    for row, (kernels, values) in enumerate(losses.items()):
        colour = KERNELS[kernels]
        thin = " ".join(f"{x(step + 1):.1f},{y(loss):.1f}" for step, loss in enumerate(values))
        thick = " ".join(f"{x(step):.1f},{y(mean):.1f}" for step, mean, _ in means(values))
        text.append(f'<polyline points="{thin}" fill="none" stroke="{colour}" stroke-opacity="0.35"/>')
        text.append(f'<polyline points="{thick}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for step, mean, error in means(values):
            at = x(step) + (row - 0.5) * 3
            text.append(f'<path d="M{at:.1f},{y(mean - error):.1f}V{y(mean + error):.1f}" stroke="{colour}" stroke-width="2"/>')
        text.append(f'<text x="{WIDTH - MARGIN}" y="{MARGIN + 16 * row}" text-anchor="end" fill="{colour}">{kernels}</text>')
    return "\n".join(text + ["</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/vnet-engine")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    logs = {kernels: events(train(arguments, kernels)) for kernels in KERNELS}
    losses = {kernels: [e["loss"] for e in log if e["event"] == "step"] for kernels, log in logs.items()}
    (arguments.out / "kernels.svg").write_text(svg(losses))
    print("steps around   " + "   ".join(f"{kernels:>16}" for kernels in losses))
    for rows in zip(*(means(values) for values in losses.values())):
        print(f"{rows[0][0]:12.0f}   " + "   ".join(f"{mean:.4f} ± {error:.4f}" for _, mean, error in rows))
    for kernels, log in logs.items():
        print(f"{kernels}: mean test Dice {next(e['mean_dice'] for e in log if e['event'] == 'test'):.4f}")


if __name__ == "__main__":
    main()
