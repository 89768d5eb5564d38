#!/usr/bin/env python3
"""Does a training or a segmentation take the memory that `info` says?

    tools/with-adapter tools/memory_check.py --out FOLDER [--program target/release/vnet-engine] [--tolerance 5]
        [CLASSES:X,Y,Z[:VOLUME_X,VOLUME_Y,VOLUME_Z] ...]

Makes a set of volumes for each case, with all CLASSES in blocks; trains the preset `tiny` on it for a few steps with a
validation, patch X,Y,Z, and segments one volume with the model. The most memory that each process had resident (wait4's
ru_maxrss) is compared with what `info` says for the same sizes. On a software driver the memory of the device is memory of
the host too, so the two are added. Prints a table; exit status 1 if one of them is off by more than the tolerance in percent.
"""
import argparse
import array
import gzip
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = ["2:64,64,32", "20:64,64,32", "104:64,64,32", "104:128,128,64", "20:96,96,48", "104:64,64,32:160,160,64"]


def write_nifti(path, extents, code, bits, voxels):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *extents, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<2f", header, 108, 352, 1)
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *(1.0 if row == column else 0.0 for column in range(4)))
    header[344:348] = b"n+1\0"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(header)
        out.write(voxels)


def make_case(folder, name, extents, classes, seed):
    """Blocks of the classes on background, along each axis about as many as the cube root of their number."""
    nx, ny, nz = extents
    draw = random.Random(seed)
    side = max(2, round(classes ** (1 / 3) + 0.6))
    block = [max(1, extent // side) for extent in extents]
    labels, image = array.array("H"), array.array("h")
    noise = [draw.randrange(-3, 4) for _ in range(4099)]
    for z in range(nz):
        for y in range(ny):
            row = []
            for x in range(nx):
                number = (z // block[2] * side + y // block[1]) * side + x // block[0]
                inside = x % block[0] and y % block[1]
                row.append(number % classes if inside else 0)
            labels.extend(row)
            start = draw.randrange(4099 - nx) if nx < 4099 else 0
            image.extend(10 * label + noise[start + x] for x, label in enumerate(row))
    write_nifti(folder / "imagesTr" / f"{name}.nii.gz", extents, 4, 16, image.tobytes())
    write_nifti(folder / "labelsTr" / f"{name}.nii.gz", extents, 512, 16, labels.tobytes())


def make_set(folder, extents, classes):
    if (folder / "labelsTr").is_dir():
        return
    for kind in ["imagesTr", "labelsTr"]:
        (folder / kind).mkdir(parents=True)
    for number in range(4):
        make_case(folder, f"case{number}", extents, classes, number)


def peak(arguments, log):
    """Runs a program; the most bytes that it had resident."""
    with open(log, "wb") as out:
        process = subprocess.Popen([str(a) for a in arguments], stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: failed, see {log}\n{Path(log).read_text()[-1500:]}")
    return usage.ru_maxrss * 1024


def extents_of(text):
    extents = [int(part) for part in text.split(",")]
    if len(extents) != 3:
        raise argparse.ArgumentTypeError(f"{text}: expected X,Y,Z")
    return extents


def case_of(text):
    parts = text.split(":")
    patch = extents_of(parts[1])
    return int(parts[0]), patch, extents_of(parts[2]) if len(parts) > 2 else patch


def check(program, out, case, keys):
    classes, patch, volume = case
    comma = lambda extents: ",".join(map(str, extents))
    name = f"{classes}_{comma(patch)}_{comma(volume)}".replace(",", "x")
    data, run = out / f"set_{classes}_{comma(volume)}".replace(",", "x"), out / f"run_{name}"
    make_set(data, volume, classes)
    sampling = "patch" if volume != patch else "whole"
    settings = [f"data.patch=[{comma(patch)}]", f"data.sampling={sampling}", "training.steps=3", *keys]
    settings = [word for setting in settings for word in ("--set", setting)]
    found = {}
    if not (run / "model.safetensors").exists():
        found["train"] = peak(
            [program, "train", "--data", data, "--out", run, "--preset", "tiny", *settings], out / f"{name}_train.log")
        (out / f"{name}_train.peak").write_text(str(found["train"]))
    found["train"] = int((out / f"{name}_train.peak").read_text())
    target = out / f"{name}.nii.gz"
    found["segment"] = peak(
        [program, "segment", "--model", run, "--input", data / "imagesTr" / "case0.nii.gz", "--output", target, "--force"],
        out / f"{name}_segment.log")
    said = json.loads(subprocess.run(
        [program, "info", run, "--volume", comma(volume), "--patch", comma(patch), "--json"],
        check=True, stdout=subprocess.PIPE).stdout)["resident"]
    mebibytes = lambda value: f"{value / 2**20:9.1f}"
    worst = 0.0
    for work in ["train", "segment"]:
        off = 100 * (said[work]["total"] / found[work] - 1)
        worst = max(worst, abs(off))
        parts = " ".join(f"{key} {value / 2**20:.0f}" for key, value in said[work].items() if key != "total")
        print(f"{classes:4} {comma(patch):12} {comma(volume):12} {work:8} measured {mebibytes(found[work])} MiB, "
              f"said {mebibytes(said[work]['total'])} MiB, {off:+5.1f} %   ({parts})", flush=True)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/vnet-engine")
    parser.add_argument("--tolerance", type=float, default=5.0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more keys of the training")
    parser.add_argument("cases", nargs="*", type=case_of, default=None, metavar="CLASSES:PATCH[:VOLUME]")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cases = arguments.cases or [case_of(text) for text in CASES]
    worst = max(check(arguments.program.resolve(), arguments.out, case, arguments.set) for case in cases)
    print(f"largest difference {worst:.1f} %")
    sys.exit(int(worst > arguments.tolerance))


if __name__ == "__main__":
    main()
