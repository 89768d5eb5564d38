#!/usr/bin/env python3
"""vnet-engine against PyTorch: the same network, shapes, loss and optimiser, interleaved in one run on one machine.

    tools/with-adapter python3 tools/bench_torch.py --engine target/release/vnet-engine --preset paper --batch 1
    tools/with-adapter python3 tools/bench_torch.py --engine target/release/vnet-engine --layer 32,32,32x64x64,3x3x3

Each round runs the engine (`vnet-engine bench --whole --json`, which leaves out a run to warm up) and then PyTorch in
every mode, so that a drift of the machine meets all alike; the table compares medians over the rounds. Network, patch,
batch, loss and optimiser are those that the engine reports. Engine and PyTorch run on the same cores.

CPU: float32. CUDA, where PyTorch finds it, besides: float32 (TF32 off), TF32, bfloat16 autocast, each contiguous and
channels last, with cudnn.benchmark. A forward run is from the image to the probabilities on the device, without
gradients; a training step from the image on the host to the loss there, with clipping where the configuration has it.

--layer times one convolution with a bias instead, as `vnet-engine bench --conv` does: its output, and its output with the
gradients of input, weight and bias.

Needs what tools/golden.py needs: Python 3.11, PyTorch, NumPy and safetensors.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

import golden


class Failure(Exception):
    """Something that a person can put right."""


# ---- the engine -----------------------------------------------------------------------------------------------------


def run_engine(arguments, environment):
    """One round of the engine: its JSON document."""
    command = [str(arguments.engine), "bench", "--json", "--steps", str(arguments.steps), "--device", arguments.device]
    if arguments.layer:
        command += ["--conv", arguments.layer]
    else:
        command += ["--whole", "--preset", arguments.preset]
    if arguments.patch:
        command += ["--patch", arguments.patch]
    if arguments.batch:
        command += ["--batch", str(arguments.batch)]
    if arguments.forward_only:
        command += ["--forward-only"]
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise Failure(f"--engine {arguments.engine}: {error.strerror}") from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise Failure(f"{' '.join(command)}: {errors[-1] if errors else done.stderr.strip()}")
    reported = json.loads(done.stdout)
    if arguments.layer:
        # The names of a network's runs.
        reported["training"] = reported["forward_and_backward"]
    return reported


# ---- PyTorch --------------------------------------------------------------------------------------------------------


class Mode:
    """One way to run PyTorch."""

    def __init__(self, device, precision="fp32", channels_last=False):
        self.device, self.precision, self.channels_last = torch.device(device), precision, channels_last
        self.name = f"torch {device} {precision}" + (" channels_last_3d" if channels_last else "")

    @contextlib.contextmanager
    def active(self):
        """Switches of the backend while this mode runs."""
        tf32 = self.precision == "tf32"
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        bf16 = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
            yield

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free(self):
        """Gives cached memory back, for the engine runs on the same device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def modes(no_cpu):
    found = [] if no_cpu else [Mode("cpu")]
    if torch.cuda.is_available():
        found += [Mode("cuda", p, last) for p in ("fp32", "tf32", "bf16") for last in (False, True)]
    if not found:
        raise Failure("--no-cpu: PyTorch finds no CUDA device")
    return found


def make_optimizer(settings, model):
    """The engine's optimiser: weight decay falls on weights of convolutions only."""
    decayed = [p for n, p in model.named_parameters() if n.endswith("weight") and "act" not in n]
    others = [p for n, p in model.named_parameters() if not n.endswith("weight") or "act" in n]
    groups = [dict(params=decayed, weight_decay=settings["weight_decay"]), dict(params=others, weight_decay=0.0)]
    if settings["kind"] == "sgd":
        nesterov = settings["nesterov"]
        return torch.optim.SGD(groups, lr=settings["learning_rate"], momentum=settings["momentum"], nesterov=nesterov)
    kind = dict(adam=torch.optim.Adam, adamw=torch.optim.AdamW)[settings["kind"]]
    betas = (settings["beta1"], settings["beta2"])
    return kind(groups, lr=settings["learning_rate"], betas=betas, eps=settings["epsilon"])


class Case:
    """The network, inputs and optimiser that the engine reported, on one device in one memory format."""

    def __init__(self, reported, mode):
        torch.manual_seed(0)
        self.mode, self.network = mode, reported["network"]
        x, y, z = reported["patch"]
        shape = (reported["batch"], z, y, x)
        self.voxels = reported["batch"] * x * y * z
        self.image = torch.randn(shape[0], self.network["in_channels"], *shape[1:])
        self.labels = torch.randint(self.network["classes"], shape)
        self.loss, self.settings = golden.LOSSES[reported["loss"]], reported["optimiser"]
        self.format = torch.channels_last_3d if mode.channels_last else torch.contiguous_format

    def model(self):
        return golden.VNet(**self.network).to(self.mode.device, memory_format=self.format)

    def to_device(self, image):
        return image.to(self.mode.device).contiguous(memory_format=self.format)

    def forward(self, steps):
        """Seconds of each of `steps` runs, after one that does not count."""
        model, image, seconds = self.model(), self.to_device(self.image), []
        with self.mode.active(), torch.no_grad():
            for _ in range(steps + 1):
                self.mode.wait()
                start = time.perf_counter()
                model(image).softmax(1)
                self.mode.wait()
                seconds.append(time.perf_counter() - start)
        return seconds[1:]

    def training(self, steps):
        model, seconds = self.model(), []
        optimizer = make_optimizer(self.settings, model)
        for _ in range(steps + 1):
            self.mode.wait()
            start = time.perf_counter()
            image, labels = self.to_device(self.image), self.labels.to(self.mode.device)
            optimizer.zero_grad(set_to_none=True)
            with self.mode.active():
                logits = model(image)
            # The loss in float32, as mixed precision is used.
            loss = self.loss(logits.float(), labels)
            loss.backward()
            if self.settings["clip_norm"] > 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings["clip_norm"])
            optimizer.step()
            loss.item()
            self.mode.wait()
            seconds.append(time.perf_counter() - start)
        return seconds[1:]


class LayerCase:
    """The convolution that the engine reported, on one device in one memory format."""

    def __init__(self, reported, mode):
        torch.manual_seed(0)
        self.mode, layer = mode, reported["convolution"]
        kernel, stride = layer["kernel"], layer["stride"]
        memory = torch.channels_last_3d if mode.channels_last else torch.contiguous_format
        padding = [extent // 2 for extent in kernel]
        channels = layer["in_channels"], layer["out_channels"]
        self.layer = torch.nn.Conv3d(*channels, kernel, stride=stride, padding=padding)
        self.layer = self.layer.to(mode.device, memory_format=memory)
        shape = layer["batch"], layer["in_channels"], *layer["extents"]
        self.input = torch.randn(shape).to(mode.device).contiguous(memory_format=memory).requires_grad_()

    def timed(self, steps, run):
        """Seconds of each of `steps` runs, after one that does not count."""
        seconds = []
        for _ in range(steps + 1):
            self.layer.zero_grad(set_to_none=True)
            self.input.grad = None
            self.mode.wait()
            start = time.perf_counter()
            run()
            self.mode.wait()
            seconds.append(time.perf_counter() - start)
        return seconds[1:]

    def forward(self, steps):
        with self.mode.active(), torch.no_grad():
            return self.timed(steps, lambda: self.layer(self.input))

    def training(self, steps):
        with self.mode.active():
            upstream = torch.randn_like(self.layer(self.input))
            return self.timed(steps, lambda: self.layer(self.input).backward(upstream))


# ---- the comparison -------------------------------------------------------------------------------------------------


def processor():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe(engine, threads):
    about = dict(torch=torch.__version__, python=platform.python_version(), processor=processor(), threads=threads)
    device = engine["device"]
    about |= dict(engine=f"{engine['version']} ({engine['commit']})", adapter=device["name"], driver=device["driver"])
    if torch.cuda.is_available():
        about |= dict(cuda_device=torch.cuda.get_device_name(), cuda=torch.version.cuda)
        about |= dict(cudnn=torch.backends.cudnn.version())
    return about


def pin(threads):
    """The environment of the engine, with it and PyTorch on the first `threads` of the cores that there are."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if threads > len(cores):
            raise Failure(f"--threads {threads}: there are {len(cores)} cores")
        os.sched_setaffinity(0, cores[:threads])
    torch.set_num_threads(threads)
    # Mesa's software driver takes its number of threads from here.
    return os.environ | {"LP_NUM_THREADS": str(threads)}


def compare(arguments):
    threads = arguments.threads or (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    environment = pin(threads)
    kinds = ["forward"] if arguments.forward_only else ["forward", "training"]
    found = modes(arguments.no_cpu)
    seconds = {kind: {"vnet-engine": []} | {mode.name: [] for mode in found} for kind in kinds}
    failures, engine = {}, None
    for number in range(arguments.repeats):
        print(f"round {number + 1} of {arguments.repeats}: vnet-engine", file=sys.stderr)
        engine = run_engine(arguments, environment)
        for kind in kinds:
            seconds[kind]["vnet-engine"] += engine[kind]["all_seconds"]
        for mode in found:
            case = LayerCase(engine, mode) if arguments.layer else Case(engine, mode)
            for kind in kinds:
                if (mode.name, kind) in failures:
                    continue
                print(f"round {number + 1} of {arguments.repeats}: {mode.name} {kind}", file=sys.stderr)
                try:
                    seconds[kind][mode.name] += getattr(case, kind)(arguments.steps)
                except (RuntimeError, MemoryError) as error:
                    # Too little memory, or a convolution that the backend lacks: the others still count.
                    failures[mode.name, kind] = str(error).splitlines()[0]
                    print(f"{mode.name} {kind}: {failures[mode.name, kind]}", file=sys.stderr)
                mode.free()
    return engine, seconds, failures, describe(engine, threads)


def rows(engine, seconds):
    """Per kind and competitor: median, extremes, rates, and how many times the engine's time it takes."""
    layer = engine.get("convolution")
    extents, batch = (layer["extents"], layer["batch"]) if layer else (engine["patch"], engine["batch"])
    voxels = batch * math.prod(extents)
    for kind, by_name in seconds.items():
        ours = statistics.median(by_name["vnet-engine"])
        for name, runs in by_name.items():
            if runs:
                median = statistics.median(runs)
                yield dict(
                    kind=kind, name=name, seconds=median, fastest=min(runs), slowest=max(runs), all_seconds=runs,
                    voxels_per_s=voxels / median, gflop_per_s=engine[kind]["flops"] / median / 1e9,
                    ratio=median / ours,
                )  # fmt: skip


def print_table(engine, table, failures, about):
    print("; ".join(f"{key} {value}" for key, value in about.items()))
    if layer := engine.get("convolution"):
        chosen = engine["convolutions"][0]["kernels"]
        print(f"convolution {', '.join(f'{key} {value}' for key, value in layer.items())}; kernels: {chosen}\n")
    else:
        x, y, z = engine["patch"]
        print(f"{engine['title']}, {x} x {y} x {z}, batch {engine['batch']}, loss {engine['loss']}\n")
    print("| run | who | median s | fastest | slowest | M voxels/s | GFLOP/s | time / vnet-engine's |")
    print("|---|---|---|---|---|---|---|---|")
    for r in table:
        times = " | ".join(f"{r[key]:.4g}" for key in ("seconds", "fastest", "slowest"))
        rates = f"{r['voxels_per_s'] / 1e6:.4g} | {r['gflop_per_s']:.1f}"
        print(f"| {r['kind']} | {r['name']} | {times} | {rates} | {r['ratio']:.2f} |")
    for (name, kind), reason in failures.items():
        print(f"| {kind} | {name} | failed: {reason} | | | | | |")


def parse():
    def count(text):
        if not text.isdigit() or int(text) < 1:
            raise argparse.ArgumentTypeError("expected a whole number from 1")
        return int(text)

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="details at the top of the file")
    parser.add_argument("--engine", type=Path, required=True, metavar="FILE", help="the vnet-engine binary")
    parser.add_argument("--preset", choices=["paper", "small", "tiny"], default="small", help="default small")
    parser.add_argument("--layer", metavar="CIN,COUT,DxHxW[,K[,S]]", help="one convolution instead of a network")
    parser.add_argument("--patch", metavar="X,Y,Z", help="extents of the input (default: the preset's)")
    parser.add_argument("--batch", type=count, metavar="N", help="samples of a run (default: the preset's)")
    parser.add_argument("--repeats", type=count, default=3, metavar="N", help="rounds (default 3)")
    parser.add_argument("--steps", type=count, default=1, metavar="N", help="runs that count in each round (default 1)")
    parser.add_argument("--threads", type=count, metavar="N", help="cores for either (default: all)")
    parser.add_argument("--device", default="auto", help="adapter of the engine (default auto)")
    parser.add_argument("--forward-only", action="store_true", help="no training step")
    parser.add_argument("--no-cpu", action="store_true", help="leave PyTorch's CPU out where there is CUDA")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_args()


def main():
    arguments = parse()
    try:
        engine, seconds, failures, about = compare(arguments)
        table = list(rows(engine, seconds))
        print_table(engine, table, failures, about)
        if arguments.json:
            kept = ["convolution", "network", "patch", "batch", "loss", "optimiser"]
            document = dict(about=about, roofline=engine["roofline"], rows=table)
            document |= {key: engine[key] for key in kept if key in engine}
            document |= dict(failures=[dict(name=n, kind=k, reason=r) for (n, k), r in failures.items()])
            arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    except (Failure, OSError, json.JSONDecodeError) as error:
        print(f"bench_torch.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
