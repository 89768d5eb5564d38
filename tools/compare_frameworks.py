#!/usr/bin/env python3
"""vnet-engine, nnU-Net and MONAI: the same cases, the same cores, the same minutes of training.

    tools/with-adapter python3 tools/compare_frameworks.py DATA OUT --minutes 5 [--cores 0,1] [--engine FILE] [--only NAME]

DATA holds images/ and labels/ with equal names, NIfTI (`.nii.gz`), one channel, labels 0, 1, 2, … A share of the cases,
drawn from --seed, is held out and written to OUT/split.json. No program sees them before its training ends. Each program
then trains by itself, one after the other, predicts the held-out cases without mirroring, and `vnet-engine evaluate`
scores the predictions:

- **vnet-engine**: `plan --minutes`, `train`, `segment`. Its minutes include its validations on a tenth of the known cases,
  by which it chooses the model.
- **nnU-Net v2**: its own fingerprint, plan (3d_fullres), preprocessing, network, loss, augmentation and optimiser, on the
  processor. Its learning rate falls to zero over the minutes instead of over 1,000 epochs. All known cases train.
- **MONAI**: VNet or BasicUNet, DiceCELoss, Adam (1e-3, falling to zero over the minutes), patches with flips. MONAI has no
  planner: spacing and patch are the medians of the data, the batch is 2. All known cases train.

The minutes are training by the clock. Installation, planning, preprocessing, caching and prediction are not in them. The
last step that begins within the minutes is finished. OUT/comparison.md is the table, OUT/comparison.json all figures.

Packages come from PyPI into --venv (by default target/compare-venv), unless the Python that runs this has them.
"""

import argparse
import importlib.util
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"torch": "torch", "monai": "monai", "nibabel": "nibabel", "nnunetv2": "nnunetv2"}
PROGRAMS = ["vnet-engine", "nnU-Net", "MONAI"]
NNUNET_DATASET = "Dataset001_compare"


def main():
    arguments = parse()
    cores = sorted(arguments.cores or os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores)
    if arguments.part:
        result = PARTS[arguments.part](arguments)
        (arguments.out / f"{arguments.part}.json").write_text(json.dumps(result, indent=1))
        return
    install(arguments.venv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    lay_out(arguments)
    results = {}
    for name in arguments.only or PROGRAMS:
        print(f"== {name}", flush=True)
        # Each program in a process of its own: no memory, thread or environment variable is shared.
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--part", name], check=True)
        results[name] = json.loads((arguments.out / f"{name}.json").read_text())
        results[name]["dice"] = score(arguments, name)
    write(arguments, results, cores)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("out", type=Path, help="folder for splits, predictions, scores and the table")
    parser.add_argument("--minutes", type=float, default=5.0, help="training of each program")
    parser.add_argument("--held-out", type=float, default=0.2, help="share of the cases that are held out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=lambda text: {int(core) for core in text.split(",")}, help="e.g. 0,1")
    parser.add_argument("--engine", type=Path, default=ROOT / "target" / "release" / "vnet-engine")
    parser.add_argument("--monai-network", choices=["VNet", "BasicUNet"], default="BasicUNet")
    parser.add_argument("--modality", default="MRI", help="nnU-Net's channel name; CT selects its CT normalisation")
    parser.add_argument("--venv", type=Path, default=ROOT / "target" / "compare-venv")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, help="these programs only")
    parser.add_argument("--part", choices=PROGRAMS, help=argparse.SUPPRESS)
    return parser.parse_args()


def install(venv):
    """Goes on in a virtual environment with the packages, unless this Python has them."""
    if all(importlib.util.find_spec(module) for module in PACKAGES):
        return
    python = venv / "bin" / "python"
    if Path(sys.executable) == python:
        sys.exit(f"compare_frameworks: packages are missing in {venv}; remove the folder and start again")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES.values()], check=True)
    os.execv(python, [python, __file__, *sys.argv[1:]])


# ---- data -----------------------------------------------------------------------------------------------------------


def lay_out(arguments):
    """Links the known and the held-out cases into folders of their own, and writes the split."""
    names = sorted(path.name for path in (arguments.data / "images").glob("*.nii.gz"))
    if len(names) < 5:
        sys.exit(f"compare_frameworks: {arguments.data}/images: {len(names)} volumes (.nii.gz), 5 or more are needed")
    random.Random(arguments.seed).shuffle(names)
    count = max(1, round(arguments.held_out * len(names)))
    parts = {"heldout": sorted(names[:count]), "known": sorted(names[count:])}
    for part, files in parts.items():
        for folder in ("images", "labels"):
            target = arguments.out / part / folder
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for file in files:
                (target / file).symlink_to((arguments.data / folder / file).resolve())
    split = {part: [stem(file) for file in files] for part, files in parts.items()}
    (arguments.out / "split.json").write_text(json.dumps(split, indent=1))
    # The engine's own split of the known cases: nine tenths train, one tenth validates, none is tested.
    validation = split["known"][:: max(2, min(10, len(split["known"])))]
    train = [name for name in split["known"] if name not in validation]
    own = {"train": train, "validation": validation, "test": []}
    (arguments.out / "known" / "split.json").write_text(json.dumps(own, indent=1))


def stem(path):
    return Path(path).name.removesuffix(".nii.gz")


def fresh(folder):
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def label_values(folder):
    """The label values of all known cases: 0, 1, 2, …"""
    import nibabel
    import numpy

    found = set()
    for path in sorted(folder.glob("*.nii.gz")):
        found.update(numpy.unique(numpy.asanyarray(nibabel.load(path).dataobj)).astype(int).tolist())
    if found != set(range(len(found))):
        sys.exit(f"compare_frameworks: {folder}: label values {sorted(found)}, expected 0, 1, 2, …")
    return sorted(found)


# ---- the programs ---------------------------------------------------------------------------------------------------


class Clock:
    """Minutes of training, from the first step on."""

    def __init__(self, minutes):
        self.seconds, self.start, self.steps = 60.0 * minutes, time.perf_counter(), 0

    def elapsed(self):
        return time.perf_counter() - self.start

    def share(self):
        """The share of the minutes that is over, from 0 to 1."""
        return min(self.elapsed() / self.seconds, 1.0)


def run_engine(arguments):
    out, engine = fresh(arguments.out / "vnet-engine"), arguments.engine
    known, images = arguments.out / "known", arguments.out / "heldout" / "images"

    def call(*options):
        return subprocess.run([engine, *map(str, options)], check=True, stdout=subprocess.PIPE, text=True).stdout

    plan = out / "plan.toml"
    call("plan", "--data", known, "--out", plan, "--minutes", arguments.minutes)
    call("train", "--data", known, "--config", plan, "--out", out / "run")
    call("segment", "--model", out / "run", "--input", images, "--output", out / "predictions", "-q")
    events = [json.loads(line) for line in (out / "run" / "log.jsonl").read_text().splitlines()]
    moments = {event["event"]: event for event in events}
    info = json.loads(call("info", out / "run", "--json"))
    config = tomllib.loads((out / "run" / "config.toml").read_text())
    training = config["training"]
    return {
        "version": f"{moments['start']['version']} ({moments['start']['commit']})",
        "network": f"V-Net, base {config['network']['base']}",
        "parameters": info["parameters"],
        "device": f"{moments['start']['adapter']}, {moments['start']['driver']}",
        "patch": config["data"]["patch"],
        "batch": training["batch"],
        "steps": moments["finished"]["step"],
        "seconds": moments["finished"]["time"] - moments["start"]["time"],
    }


def run_nnunet(arguments):
    work = fresh(arguments.out / "nnU-Net")
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str((work / name).resolve())
    cores = len(os.sched_getaffinity(0))
    os.environ |= {"nnUNet_n_proc_DA": str(cores), "nnUNet_compile": "f", "nnUNet_def_n_proc": str(cores)}
    dataset = work / "raw" / NNUNET_DATASET
    for folder, suffix in (("images", "_0000"), ("labels", "")):
        (dataset / f"{folder}Tr").mkdir(parents=True)
        for path in (arguments.out / "known" / folder).iterdir():
            (dataset / f"{folder}Tr" / f"{stem(path)}{suffix}.nii.gz").symlink_to(path.resolve())
    values = label_values(arguments.out / "known" / "labels")
    description = {
        "channel_names": {"0": arguments.modality},
        "labels": {"background": 0} | {f"class {value}": value for value in values[1:]},
        "numTraining": len(list((dataset / "imagesTr").iterdir())),
        "file_ending": ".nii.gz",
    }
    (dataset / "dataset.json").write_text(json.dumps(description))

    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.set_num_threads(cores)
    torch.manual_seed(arguments.seed)
    extract_fingerprints([1], num_processes=cores)
    plan_experiments([1])
    preprocess([1], configurations=["3d_fullres"], num_processes=[cores])
    # Batches are made by the training's own process: on a processor a second one would take its cores.
    os.environ["nnUNet_n_proc_DA"] = "0"

    preprocessed = work / "preprocessed" / NNUNET_DATASET
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    description = json.loads((preprocessed / "dataset.json").read_text())
    trainer = nnUNetTrainer(plans, "3d_fullres", "all", description, torch.device("cpu"))
    trainer.on_train_start()
    trainer.network.train()
    clock = Clock(arguments.minutes)
    while clock.elapsed() < clock.seconds:
        rate = trainer.initial_lr * (1.0 - clock.share()) ** 0.9
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        trainer.train_step(next(trainer.dataloader_train))
        clock.steps += 1
    seconds = clock.elapsed()
    torch.save(trainer.network.state_dict(), work / "network.pth")

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    configuration = trainer.configuration_manager
    predictor.manual_initialization(trainer.network, trainer.plans_manager, configuration, [trainer.network.state_dict()],
                                    description, "nnUNetTrainer", trainer.inference_allowed_mirroring_axes)
    images = sorted((arguments.out / "heldout" / "images").iterdir())
    predictions = fresh(work / "predictions")
    predictor.predict_from_files_sequential([[str(path)] for path in images],
                                            [str(predictions / stem(path)) for path in images])
    for extra in predictions.glob("*.json"):
        extra.unlink()
    return {
        "version": f"{version('nnunetv2')}, PyTorch {version('torch')}",
        "network": configuration.network_arch_class_name.split(".")[-1],
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "device": "CPU",
        "patch": list(configuration.patch_size)[::-1],
        "batch": configuration.batch_size,
        "steps": clock.steps,
        "seconds": seconds,
    }


def run_monai(arguments):
    import nibabel
    import numpy
    import torch
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader, Dataset, decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.networks import nets
    from monai.utils import set_determinism

    out = fresh(arguments.out / "MONAI")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    set_determinism(arguments.seed)
    known = arguments.out / "known"
    classes = len(label_values(known / "labels"))
    headers = [nibabel.load(path).header for path in sorted((known / "images").iterdir())]
    spacing = numpy.median([header.get_zooms()[:3] for header in headers], axis=0)
    extents = numpy.median([numpy.multiply(h.get_zooms()[:3], h.get_data_shape()[:3]) for h in headers], axis=0) / spacing
    # Four levels of halves: multiples of 16.
    patch = [int(min(96, max(16, 16 * round(extent / 16)))) for extent in extents]

    def prepared(keys):
        modes = ["bilinear", "nearest"][: len(keys)]
        return [
            t.LoadImaged(keys),
            t.EnsureChannelFirstd(keys),
            t.Orientationd(keys, axcodes="RAS", labels=None),
            t.Spacingd(keys, pixdim=spacing.tolist(), mode=modes),
            t.NormalizeIntensityd("image"),
        ]

    both = ["image", "label"]
    random_patches = [
        t.SpatialPadd(both, patch),
        t.RandCropByPosNegLabeld(both, label_key="label", spatial_size=patch, pos=1, neg=1, num_samples=2),
        *(t.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
    ]
    files = sorted((known / "images").iterdir())
    cases = [{"image": str(path), "label": str(known / "labels" / path.name)} for path in files]
    # Prepared volumes are in memory before the clock starts.
    dataset = CacheDataset(cases, t.Compose(prepared(both) + random_patches), num_workers=0, progress=False)
    loader = DataLoader(dataset, batch_size=1, shuffle=True, num_workers=0)
    network = getattr(nets, arguments.monai_network)(spatial_dims=3, in_channels=1, out_channels=classes)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def batches():
        while True:
            yield from loader

    network.train()
    clock, samples = Clock(arguments.minutes), batches()
    while clock.elapsed() < clock.seconds:
        optimizer.param_groups[0]["lr"] = 1e-3 * (1.0 - clock.share()) ** 0.9
        batch = next(samples)
        optimizer.zero_grad()
        loss(network(batch["image"]), batch["label"]).backward()
        optimizer.step()
        clock.steps += 1
    seconds = clock.elapsed()
    torch.save(network.state_dict(), out / "network.pth")

    network.eval()
    images = sorted((arguments.out / "heldout" / "images").iterdir())
    preparation = t.Compose(prepared(["image"]))
    back = t.Compose([
        t.Invertd("prediction", preparation, orig_keys="image"),
        t.AsDiscreted("prediction", argmax=True),
        t.SaveImaged("prediction", output_dir=fresh(out / "predictions"), output_postfix="", separate_folder=False,
                     output_dtype=numpy.uint8, print_log=False),
    ])
    with torch.no_grad():
        for batch in DataLoader(Dataset([{"image": str(path)} for path in images], preparation), batch_size=1):
            logits = sliding_window_inference(batch["image"], patch, 2, network, overlap=0.5, mode="gaussian")
            batch["prediction"] = logits.softmax(1)
            for case in decollate_batch(batch):
                back(case)
    return {
        "version": f"{version('monai')}, PyTorch {version('torch')}",
        "network": arguments.monai_network,
        "parameters": sum(p.numel() for p in network.parameters()),
        "device": "CPU",
        "patch": patch,
        "batch": 2,
        "steps": clock.steps,
        "seconds": seconds,
    }


PARTS = {"vnet-engine": run_engine, "nnU-Net": run_nnunet, "MONAI": run_monai}


# ---- the table ------------------------------------------------------------------------------------------------------


def score(arguments, name):
    """Mean foreground Dice of the held-out cases, by the engine's own scores."""
    out = arguments.out / name
    command = [arguments.engine, "evaluate", "--predictions", out / "predictions", "--out", out / "scores", "--json", "-q",
               "--labels", arguments.out / "heldout" / "labels"]
    found = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(found)["mean_foreground"]["dice"]


def processor():
    """The processor's name, as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write(arguments, results, cores):
    split = json.loads((arguments.out / "split.json").read_text())
    rows = [
        f"{len(cores)} cores of {processor()}; {len(split['known'])} known cases, {len(split['heldout'])} held out; "
        f"{arguments.minutes:g} minutes of training each. Installation, planning, preprocessing and prediction are not "
        "in the minutes.",
        "",
        "| program | network | parameters | patch, batch | steps | samples | training | mean foreground Dice |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        patch = " x ".join(map(str, found["patch"]))
        rows.append(f"| {name} {found['version']} | {found['network']} | {found['parameters']:,} | {patch}, {found['batch']} "
                    f"| {found['steps']:,} | {found['steps'] * found['batch']:,} | {found['seconds'] / 60:.1f} min "
                    f"| {found['dice']:.3f} |")
    table = "\n".join(rows) + "\n"
    (arguments.out / "comparison.md").write_text(table)
    document = {"processor": processor(), "cores": cores, "minutes": arguments.minutes, "seed": arguments.seed,
                "platform": platform.platform(), "results": results}
    (arguments.out / "comparison.json").write_text(json.dumps(document, indent=1))
    print(table)


if __name__ == "__main__":
    main()
