#!/usr/bin/env python3
"""Scores of `vnet-engine evaluate` beside those of other programs, and golden data of the same for the tests.

    check_metrics.py golden                   tests/golden/scores.json
    check_metrics.py evaluate PROGRAM DATA    50 pairs, random and real, through `PROGRAM evaluate`, in a temporary folder;
                                              DATA is a folder with labels/*.nii.gz. The exit status is 1 if something differs.

Compared are

- surface Dice with surface-distance 0.1 (DeepMind), and the area of each of the 256 codes,
- counts of lesions, F1, SQ and PQ with panoptica 2.1 (connected components, naive threshold matching),
- expected calibration errors with netcal 1.4, Brier scores with their definition,
- BCa intervals with scipy 1.17.

Needs Python 3.11 and

    python3 -m venv venv && venv/bin/pip install numpy nibabel surface-distance panoptica netcal scipy

netcal brings PyTorch along. Arrays are flat with x fastest in the golden data.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import nibabel
import numpy as np
import scipy.stats
from scipy import ndimage
from scipy.special import ndtri

# surface-distance 0.1 uses names that newer versions of its dependencies dropped.
np.Inf = np.inf
for module in ("filters", "morphology"):
    if not hasattr(ndimage, module):
        setattr(ndimage, module, ndimage)
import surface_distance  # noqa: E402
from netcal.metrics import ECE  # noqa: E402
from panoptica import (  # noqa: E402
    ConnectedComponentsInstanceApproximator,
    InputType,
    NaiveThresholdMatching,
    Panoptica_Evaluator,
)
from surface_distance import lookup_tables  # noqa: E402

warnings.simplefilter("ignore")
OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "scores.json"
BINS = 15
# Equal to the last digits that a different order of summation leaves.
ROUNDING = 1e-9


def surface_dice(reference, prediction, spacing, tolerance):
    """None where neither map has the class."""
    if not (reference.any() or prediction.any()):
        return None
    distances = surface_distance.compute_surface_distances(reference, prediction, list(spacing))
    return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance))


def lesions(reference, prediction, threshold):
    """TP, FP, FN, F1, SQ, PQ; None for what does not exist."""
    if not (reference.any() or prediction.any()):
        return [0, 0, 0, None, None, None]
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(matching_threshold=threshold),
        verbose=False,
        log_times=False,
    )
    result = next(iter(evaluator.evaluate(prediction.astype(np.uint8), reference.astype(np.uint8), verbose=False).values()))
    tp, fp, fn = int(result.tp), int(result.fp), int(result.fn)
    # panoptica has 0 or nan for the mean of no pair, as it is configured.
    return [tp, fp, fn, float(result.rq), float(result.sq) if tp else None, float(result.pq) if tp else 0.0]


def calibration(probabilities, truth):
    """ECE and Brier score of all classes, and of each from 1 on. Probabilities [n, classes] in float64."""
    classes = probabilities.shape[1]
    one_hot = np.eye(classes)[truth]
    top = None
    # netcal takes labels of two values for a binary problem.
    if len(np.unique(truth)) > 2:
        top = float(ECE(BINS).measure(probabilities, truth))
    brier = float(((probabilities - one_hot) ** 2).sum(axis=1).mean())
    by_class = []
    for c in range(1, classes):
        p, y = probabilities[:, c], (truth == c).astype(int)
        by_class.append([float(ECE(BINS).measure(p, y)), float(((p - y) ** 2).mean())])
    return top, brier, by_class


def blobs(rng, extents, classes):
    """Smooth random labels with crumbs."""
    fields = [ndimage.gaussian_filter(rng.standard_normal(extents), rng.uniform(0.8, 2.0)) for _ in range(classes)]
    fields = [field / field.std() for field in fields]
    labels = np.zeros(extents, np.uint8)
    for number, field in enumerate(fields, 1):
        labels[field > rng.uniform(0.8, 1.6)] = number
    return labels


def disturbed(rng, labels):
    """A plausible prediction: shifted, grown or shrunk, with crumbs and gaps."""
    found = np.zeros_like(labels)
    for number in range(1, labels.max() + 1):
        mask = labels == number
        mask = np.roll(mask, rng.integers(-1, 2, 3), (0, 1, 2))
        change = rng.integers(0, 3)
        mask = ndimage.binary_dilation(mask) if change == 0 else ndimage.binary_erosion(mask) if change == 1 else mask
        found[mask] = number
    noise = ndimage.gaussian_filter(rng.standard_normal(labels.shape), 1.0)
    found[noise > 2.6 * noise.std()] = rng.integers(0, labels.max() + 1)
    return found


def softmax_of(rng, labels, classes):
    """Probabilities that are unsure near borders and somewhat wrong, float32 [x, y, z, classes]; what they say is the prediction."""
    scores = np.stack([ndimage.gaussian_filter((labels == c).astype(float), 0.7) for c in range(classes)], axis=-1)
    scores = 4.0 * scores + 0.5 * rng.standard_normal(scores.shape)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)


def packed(mask):
    return base64.b64encode(np.packbits(mask.flatten(order="F"))).decode()


def golden():
    rng = np.random.default_rng(16)
    pairs = []
    for number in range(14):
        extents = tuple(int(n) for n in rng.integers([5, 5, 2], [17, 15, 12]))
        spacing = [round(float(s), 2) for s in rng.uniform([0.5, 0.5, 0.8], [1.5, 1.5, 5.0])]
        reference = blobs(rng, extents, 1) > 0
        prediction = disturbed(rng, reference.astype(np.uint8)) > 0
        if number % 2 == 0:
            # Lesions that are found: the outline is off here and there.
            edge = ndimage.binary_dilation(reference) ^ ndimage.binary_erosion(reference)
            prediction = reference ^ (edge & (rng.random(extents) < 0.15))
        if number == 0:
            prediction[:] = False
        if number == 1:
            reference[:] = True
        tolerance = [0.5, 1.0, 2.0, 3.5][number % 4]
        threshold = [0.5, 0.3, 0.7][number % 3]
        pairs.append({
            "extents": extents, "spacing": spacing, "tolerance": tolerance, "threshold": threshold,
            "reference": packed(reference), "prediction": packed(prediction),
            "surface_dice": surface_dice(reference, prediction, spacing, tolerance),
            "lesions": lesions(reference, prediction, threshold),
        })
    calibrations = []
    for classes in (3, 4):
        truth = rng.integers(0, classes, 60)
        scores = rng.standard_normal((60, classes)) + 1.5 * np.eye(classes)[truth]
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        # Sixteenths of float32: their sums, and that of background, are exact.
        p = np.round(p * 4096) / 4096
        p[:, 0] = 1.0 - p[:, 1:].sum(axis=1)
        top, brier, by_class = calibration(p, truth)
        calibrations.append({
            "truth": truth.tolist(), "probabilities": p[:, 1:].T.tolist(), "ece": top, "brier": brier, "classes": by_class,
        })
    bootstraps = []
    for kind, count in (("dyadic", 9), ("real", 14), ("skewed", 24)):
        values = {"dyadic": rng.integers(0, 1024, count) / 1024, "real": rng.uniform(0.5, 1, count),
                  "skewed": rng.lognormal(0, 1, count)}[kind]
        indexes = rng.integers(0, count, (199, count))
        # Summed one after the other, as the engine does.
        replicates = np.array([sum(values[i] for i in row) / count for row in indexes])
        found = scipy.stats._resampling._bca_interval((values,), lambda x, axis: x.mean(axis=axis), -1, 0.025, replicates, None, np)
        below = ((replicates < values.mean()).sum() + (replicates <= values.mean()).sum()) / (2 * len(replicates))
        low, high = np.percentile(replicates, [100 * float(found[0]), 100 * float(found[1])])
        bootstraps.append({
            "values": values.tolist(), "indexes": indexes.tolist(), "bias": float(ndtri(below)), "acceleration": float(found[2]),
            "parts": [float(found[0]), float(found[1])], "interval": [float(low), float(high)],
        })
    spacing = [0.7, 1.3, 2.9]
    areas = lookup_tables.create_table_neighbour_code_to_surface_area(spacing).tolist()
    OUT.write_text(json.dumps({
        "pairs": pairs, "calibration": calibrations, "bootstrap": bootstraps, "spacing": spacing, "areas": areas,
    }) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


class Check:
    """Counts of comparisons, and the largest difference of each kind."""

    def __init__(self):
        self.seen, self.largest, self.failures = {}, {}, []

    def same(self, kind, where, found, expected, tolerance=ROUNDING):
        self.seen[kind] = self.seen.get(kind, 0) + 1
        if found is None or expected is None:
            if (found is None) != (expected is None):
                self.failures.append(f"{kind} {where}: {found}, expected {expected}")
            return
        off = abs(found - expected)
        self.largest[kind] = max(off, self.largest.get(kind, 0.0))
        if not off <= tolerance:
            self.failures.append(f"{kind} {where}: {found}, expected {expected}")


def pairs_of(data):
    """Case, affine, label, prediction, probabilities: 25 random ones, 25 from real labels."""
    rng = np.random.default_rng(50)
    labels = sorted(Path(data, "labels").glob("*.nii.gz"))[:25]
    if len(labels) < 25:
        sys.exit(f"{data}: expected 25 label maps in labels/")
    for number in range(50):
        if number < 25:
            label = blobs(rng, tuple(rng.integers([9, 9, 3], [30, 26, 20])), 2)
            affine = np.diag([*np.round(rng.uniform([0.5, 0.5, 0.8], [1.5, 1.5, 5.0]), 2), 1.0])
            if number == 3:
                label[label == 2] = 0
        else:
            image = nibabel.load(labels[number - 25])
            label = np.asarray(image.dataobj).astype(np.uint8)
            # Every other one with the slices of another scanner.
            affine = np.diag([0.9, 1.3, 2.9, 1.0]) if number % 2 else np.diag([*image.header.get_zooms()[:3], 1.0])
        p = softmax_of(rng, disturbed(rng, label), 3)
        prediction = p.argmax(axis=-1).astype(np.uint8)
        if number == 4:
            prediction[prediction == 1] = 0
        yield f"case{number:02}", affine, label, prediction, p


def run(program, data):
    check = Check()
    tolerances = {1: 1.0, 2: 2.0}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in ("labels", "predictions", "probabilities"):
            (folder / name).mkdir()
        pairs = list(pairs_of(data))
        for case, affine, label, prediction, p in pairs:
            for name, voxels in (("labels", label), ("predictions", prediction)):
                nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / name / f"{case}.nii.gz")
            for c in (1, 2):
                path = folder / "probabilities" / f"{case}_prob{c}.nii.gz"
                nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(p[..., c]), affine), path)
        command = [program, "evaluate", "--predictions", folder / "predictions", "--labels", folder / "labels", "--out",
                   folder / "scores", "--probabilities", folder / "probabilities", "--tolerance", "1", "--tolerance", "2=2"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        scores = json.loads((folder / "scores" / "scores.json").read_text())
    of = {(s["case"], s["class"]): s for s in scores["cases"]}
    of_case = {c["case"]: c for c in scores["calibration"]["cases"]}
    confusion = np.zeros((3, 3), int)
    every_p, every_truth = [], []
    for case, affine, label, prediction, p in pairs:
        # A header has float32.
        spacing = np.diag(affine).astype(np.float32)[:3].astype(float).tolist()
        np.add.at(confusion, (label.ravel(), prediction.ravel()), 1)
        for c in (1, 2):
            found, reference, predicted = of[(case, c)], label == c, prediction == c
            where = f"{case} class {c}"
            check.same("surface Dice", where, found["surface_dice"], surface_dice(reference, predicted, spacing, tolerances[c]))
            tp, fp, fn, f1, sq, pq = lesions(reference, predicted, 0.5)
            for key, expected in zip(("true_positives", "false_positives", "false_negatives"), (tp, fp, fn)):
                check.same("lesion counts", where, found[f"lesion_{key}"], expected, 0)
            for key, expected in (("f1", f1), ("sq", sq), ("pq", pq)):
                check.same(f"lesion {key}", where, found[f"lesion_{key}"], expected)
            a, b = int(reference.sum()), int(predicted.sum())
            check.same("volumetric similarity", where, found["volumetric_similarity"], 1 - abs(a - b) / (a + b) if a + b else None)
        p = p.reshape(-1, 3).astype(np.float64)
        p[:, 0] = 1.0 - p[:, 1] - p[:, 2]
        truth = label.ravel().astype(int)
        every_p.append(p)
        every_truth.append(truth)
        top, brier, by_class = calibration(p, truth)
        found = of_case[case]
        if top is not None:
            check.same("ECE of a case", case, found["ece"], top)
        check.same("Brier of a case", case, found["brier"], brier)
        for c, (ece, squares) in enumerate(by_class):
            check.same("ECE of a class", case, found["class_ece"][c], ece)
            check.same("Brier of a class", case, found["class_brier"][c], squares)
    top, brier, by_class = calibration(np.concatenate(every_p), np.concatenate(every_truth))
    check.same("ECE of all", "all", scores["calibration"]["ece"], top)
    check.same("Brier of all", "all", scores["calibration"]["brier"], brier)
    for found, (ece, squares) in zip(scores["calibration"]["classes"], by_class):
        check.same("ECE of all", found["class_name"], found["ece"], ece)
        check.same("Brier of all", found["class_name"], found["brier"], squares)
    check.same("confusion", "all", int(np.abs(np.array(scores["confusion"]["voxels"]) - confusion).max()), 0, 0)
    intervals(check, scores)
    for kind, count in check.seen.items():
        print(f"{kind:24} {count:5} compared, largest difference {check.largest.get(kind, 0.0):.3g}")
    print("\n".join(check.failures))
    sys.exit(1 if check.failures else 0)


def intervals(check, scores):
    """BCa intervals of all means against scipy's, which draws other resamples. The end of an interval is a quantile of B
    replicates at a part a' of them. It is off by chance by sqrt(a' (1 - a') / B) of the replicates, and a' itself because z0 is: by
    2 phi(z) sqrt(1/4 / B) / phi(0). Five standard errors of the difference of two such, in parts of the replicates."""
    density = scipy.stats.norm.pdf
    resamples = scores["bootstrap"]["resamples"]
    for summary in scores["summary"]:
        of_class = [s for s in scores["cases"] if s["class"] == summary["class"] and s["region"] == summary["region"]]
        for metric, statistics in summary["scores"].items():
            values = [s.get(metric) for s in of_class]
            if metric in ("volume_difference_ml", "absolute_volume_difference_ml", "absolute_relative_volume_difference"):
                continue
            values = np.array([v for v in values if v is not None], float)
            interval = statistics["interval"]
            if len(np.unique(values)) < 2:
                continue
            result = scipy.stats.bootstrap(
                (values,), np.mean, method="BCa", n_resamples=resamples, rng=np.random.default_rng(7), vectorized=True, axis=-1)
            ours, theirs = [interval["low"], interval["high"]], result.confidence_interval
            for end, expected in zip(ours, theirs):
                ranks = np.sort(result.bootstrap_distribution)
                part = np.searchsorted(ranks, expected) / resamples
                part = min(max(part, 1 / resamples), 1 - 1 / resamples)
                of_quantile = part * (1 - part) / resamples
                of_bias = (2 * density(ndtri(part)) * 0.5 / density(0)) ** 2 / resamples
                slack = 5 * np.sqrt(2 * (of_quantile + of_bias))
                low, high = np.quantile(ranks, [max(part - slack, 0), min(part + slack, 1)])
                outside = max(low - end, end - high, 0.0)
                check.same("BCa, beyond its error", f"{summary['class_name']} {metric}", outside, 0.0, ROUNDING)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("golden")
    evaluate = commands.add_parser("evaluate")
    evaluate.add_argument("program")
    evaluate.add_argument("data")
    arguments = parser.parse_args()
    golden() if arguments.command == "golden" else run(arguments.program, arguments.data)


if __name__ == "__main__":
    main()
