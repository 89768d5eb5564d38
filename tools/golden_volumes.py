#!/usr/bin/env python3
"""Golden data for volumes: what SimpleITK writes, resamples and measures, and what MONAI measures.

    golden_volumes.py formats     tests/golden/volumes/itk.mha, itk.mhd, itk.zraw and what they hold (formats.json)
    golden_volumes.py resample    tests/golden/volumes/resample.json
    golden_volumes.py metrics     tests/golden/volumes/metrics.json
    golden_volumes.py wilcoxon    tests/golden/volumes/wilcoxon.json
    golden_volumes.py scores PREDICTIONS LABELS SCORES
                                  scores.csv of `vnet-engine evaluate` against SimpleITK and MONAI: largest differences
    golden_volumes.py read FILE…  shape, type, spacing, affine (RAS+), min, max, mean as SimpleITK reads files, one JSON
                                  object per line, to compare `vnet-engine inspect --json` with

Needs Python 3.11, numpy 2 and SimpleITK 2.5; wilcoxon also scipy 1.17; metrics and scores also PyTorch, scipy and
MONAI 1.6:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy SimpleITK scipy torch monai

All arrays are flat with x fastest.
"""

import argparse
import base64
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "volumes"


def direction(angles):
    """Rotations about x, y, z in turn, as a flat 3 x 3 matrix."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix.flatten().tolist()


def flat(image):
    """Voxels with x fastest."""
    return sitk.GetArrayFromImage(image).flatten()


def affine(image):
    """Voxel indices to RAS+, three rows of four."""
    n = image.GetDimension()
    matrix = np.array(image.GetDirection()).reshape(n, n) * np.array(image.GetSpacing())
    lps = np.hstack([matrix, np.array(image.GetOrigin())[:, None]])
    return (np.diag([-1.0, -1.0] + [1.0] * (n - 2)) @ lps)[:3].tolist()


def volume(extents, spacing, angles, origin, seed):
    """A volume of smooth bumps and some noise."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*[np.arange(n) for n in reversed(extents)], indexing="ij")
    values = rng.normal(0, 5, grid[0].shape)
    for _ in range(4):
        centre, width = [rng.uniform(0, n) for n in reversed(extents)], rng.uniform(1.5, 3)
        values += rng.uniform(50, 100) * np.exp(-sum((g - c) ** 2 for g, c in zip(grid, centre)) / (2 * width**2))
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetDirection(direction(angles))
    image.SetOrigin(origin)
    return image


def formats():
    image = volume([7, 5, 6], [0.7, 1.3, 2.9], [0.3, -0.2, 0.5], [-31.5, 12.25, 7.0], seed=1)
    image = sitk.Cast(image * 3 - 100, sitk.sitkInt16)
    for name in ["itk.mha", "itk.mhd"]:
        sitk.WriteImage(image, str(OUT / name), useCompression=True)
    facts = {"shape": image.GetSize(), "spacing": image.GetSpacing(), "affine": affine(image)}
    (OUT / "formats.json").write_text(json.dumps({**facts, "voxels": flat(image).tolist()}) + "\n")


def resample():
    image = volume([9, 7, 6], [0.8, 1.3, 3.1], [0.4, 0.1, -0.3], [5.0, -20.0, 40.0], seed=2)
    labels = sitk.Cast((image > 20) + sitk.Cast(image > 45, sitk.sitkUInt8), sitk.sitkUInt8)
    rounded = lambda values: [None if not np.isfinite(v) else float(f"{v:.9g}") for v in values]
    cases = []
    for spacing in [[1.1, 1.0, 1.55], [0.8, 2.0, 3.1], [0.5, 1.3, 4.4]]:
        size = [max(1, round(n * s / t)) for n, s, t in zip(image.GetSize(), image.GetSpacing(), spacing)]
        # The centre of the volume stays where it is.
        first = [((n - 1) * s - (m - 1) * t) / 2 / s
                 for n, m, s, t in zip(image.GetSize(), size, image.GetSpacing(), spacing)]
        grid = sitk.ResampleImageFilter()
        grid.SetSize(size)
        grid.SetOutputSpacing(spacing)
        grid.SetOutputDirection(image.GetDirection())
        grid.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint(first))
        grid.SetDefaultPixelValue(float("nan"))
        found = {"spacing": spacing, "size": size, "affine": None}
        for name, method in [("linear", sitk.sitkLinear), ("cubic", sitk.sitkBSpline3)]:
            grid.SetInterpolator(method)
            out = grid.Execute(image)
            found["affine"] = affine(out)
            found[name] = rounded(flat(out))
        grid.SetInterpolator(sitk.sitkLinear)
        classes = [flat(grid.Execute(sitk.Cast(labels == c, sitk.sitkFloat32))) for c in range(3)]
        found["labels"] = np.argmax(classes, axis=0).tolist()
        top = np.sort(classes, axis=0)
        # Where two classes are equally probable rounding decides.
        found["ties"] = np.flatnonzero(top[-1] - top[-2] < 1e-5).tolist()
        cases.append(found)
    facts = {"extents": image.GetSize(), "spacing": image.GetSpacing(), "affine": affine(image)}
    data = {**facts, "voxels": rounded(flat(image)), "labels": flat(labels).tolist(), "cases": cases}
    (OUT / "resample.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")


def blob(rng, extents):
    """A random solid with a ragged surface, sometimes of two parts, sometimes at the volume's end."""
    z, y, x = np.meshgrid(*[np.arange(n) for n in reversed(extents)], indexing="ij")
    mask = np.zeros(x.shape, bool)
    for _ in range(rng.integers(1, 3)):
        centre = [rng.uniform(0, n) for n in extents]
        radius = [rng.uniform(1.5, n / 2) for n in extents]
        mask |= sum(((g - c) / r) ** 2 for g, c, r in zip([x, y, z], centre, radius)) < 1
    return mask ^ (rng.random(x.shape) < rng.choice([0, 0.02]))


def monai(prediction, reference, spacing):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    hot = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": spacing[::-1]}
    distance = lambda p: float(compute_hausdorff_distance(*hot, percentile=p, **options))
    # MONAI's symmetric average is over the voxels of both surfaces.
    average = float(compute_average_surface_distance(*hot, symmetric=True, **options))
    return {"hausdorff": distance(None), "hd95": distance(95), "average": average}


def simpleitk(prediction, reference, spacing):
    # Beyond the volume is background, so a voxel at its end is on the surface: ITK's filters need to be shown that.
    images = [sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8)) for mask in (prediction, reference)]
    for image in images:
        image.SetSpacing(spacing)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    # SimpleITK's Hausdorff distance is that of solids; of contours it is the one between surfaces.
    contours = [sitk.LabelContour(image, fullyConnected=False) for image in images]
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*contours)
    maps = [sitk.Abs(sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True)) for c in contours]
    one, other = [flat(m)[flat(c) > 0] for m, c in zip(maps, reversed(contours))]
    return {
        "dice": overlap.GetDiceCoefficient(1),
        "hausdorff": hausdorff.GetHausdorffDistance(),
        "hd95": max(np.percentile(one, 95), np.percentile(other, 95)),
        "average": np.concatenate([one, other]).mean(),
    }


def metrics():
    rng = np.random.default_rng(3)
    cases = []
    while len(cases) < 200:
        extents = [int(rng.integers(5, n)) for n in (13, 12, 10)]
        spacing = [round(float(rng.uniform(0.3, s)), 3) for s in (1.5, 1.5, 4)]
        prediction, reference = blob(rng, extents), blob(rng, extents)
        if prediction.any() and reference.any():
            bits = lambda mask: base64.b64encode(np.packbits(mask.flatten()).tobytes()).decode()
            short = lambda scores: {name: float(f"{score:.9g}") for name, score in scores.items()}
            case = {"extents": extents, "spacing": spacing, "prediction": bits(prediction), "reference": bits(reference)}
            case["monai"] = short(monai(prediction, reference, spacing))
            case["simpleitk"] = short(simpleitk(prediction, reference, spacing))
            cases.append(case)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (OUT / "metrics.json").write_text(f"[\n{lines}\n]\n")


def wilcoxon():
    """Exact and approximated, without and with ties, zeros, and one-sided samples."""
    from scipy.stats import PermutationMethod, wilcoxon as test

    rng = np.random.default_rng(4)
    samples = [rng.normal(0.3, 1, n).round(9) for n in (1, 2, 5, 9, 20, 50)]
    samples += [rng.integers(-4, 7, n) / 4 for n in (3, 6, 8, 10, 12)]
    samples += [np.array(v, float) for v in ([1, 2, 3, 4, 5, 6], [-1, -1, -1, -1], [0, 0, 0.5, -0.25], [1, -1])]
    cases = []
    for differences in samples + [rng.normal(0.1, 1, 60).round(9), rng.integers(-9, 12, 51 + 40) / 4]:
        differences = differences[differences != 0] if len(differences) > 50 else differences
        nonzero = differences[differences != 0]
        if len(nonzero) > 50:
            method = "approx"
        elif len(set(np.abs(nonzero))) == len(nonzero):
            method = "exact"
        else:  # All 2^n choices of signs.
            method = PermutationMethod(n_resamples=np.inf)
        found = test(nonzero, method=method, alternative="two-sided", correction=False)
        # W+; scipy gives the smaller of W+ and W- for a two-sided test.
        ranks = test(nonzero, method="approx", alternative="greater").statistic
        exact = method != "approx"
        case = {"differences": differences.tolist(), "rank_sum": float(ranks), "p": float(found.pvalue), "exact": exact}
        cases.append(case | {"count": len(nonzero)})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (OUT / "wilcoxon.json").write_text(f"[\n{lines}\n]\n")


def scores(predictions, labels, table):
    """Prints the largest difference of each score from both libraries' over the rows of whole organs."""
    import csv

    worst = {}
    rows = [row for row in csv.DictReader(open(table)) if row["region"] == "whole" and row["hausdorff_mm"]]
    for row in rows:
        files = [next(Path(folder).glob(f"{row['case']}.*")) for folder in (predictions, labels)]
        images = [sitk.ReadImage(str(file)) for file in files]
        masks = [sitk.GetArrayFromImage(image) == int(row["class"]) for image in images]
        spacing = list(images[1].GetSpacing())
        ours = {"dice": "dice", "hausdorff": "hausdorff_mm", "hd95": "hd95_mm", "average": "assd_mm"}
        for who, measure in [("MONAI", monai), ("SimpleITK", simpleitk)]:
            for name, value in measure(*masks, spacing).items():
                off = abs(float(row[ours[name]]) - value)
                worst[who, name] = max(worst.get((who, name), 0), off)
    print(f"{len(rows)} pairs")
    for (who, name), off in worst.items():
        print(f"{who} {name}: {off:.2e}")


def read(paths):
    for path in paths:
        image = sitk.ReadImage(path)
        values = flat(image).astype(np.float64)
        facts = {"path": path, "shape": image.GetSize(), "dtype": image.GetPixelIDTypeAsString()}
        facts |= {"spacing": image.GetSpacing(), "affine": affine(image)}
        print(json.dumps(facts | {"min": values.min(), "max": values.max(), "mean": values.mean()}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["formats", "resample", "metrics", "wilcoxon", "scores", "read"])
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if arguments.command == "read":
        read(arguments.files)
    elif arguments.command == "scores":
        scores(*arguments.files)
    else:
        {"formats": formats, "resample": resample, "metrics": metrics, "wilcoxon": wilcoxon}[arguments.command]()
