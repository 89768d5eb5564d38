#!/usr/bin/env python3
"""Golden data for repairs of label maps, tests/golden/postprocess.json, by scipy.ndimage.

    python3 -m venv venv && venv/bin/pip install scipy==1.17.1 && venv/bin/python tools/golden_postprocess.py

Label maps are smoothed noise, cut into three classes, so that components touch over faces, edges and corners and enclose
holes. Each case is a map and what is left of it after one list of repairs, as src/infer/postprocess.rs describes them:
`scipy.ndimage.label` with 26 neighbours, `binary_fill_holes` with 6, classes in ascending order. Voxels are digits, x fastest.
"""
import json
from pathlib import Path

import numpy
from scipy import ndimage

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "postprocess.json"
ALL = numpy.ones((3, 3, 3), dtype=bool)
SHAPES = [((9, 11, 13), (0.8, 1.5, 2.0)), ((12, 10, 9), (3.0, 0.7, 0.7)), ((10, 14, 8), (1.0, 1.0, 1.0))]
REPAIRS = [
    {"largest_component": True}, {"fill_holes": True}, {"smallest": {"voxels": 6}}, {"smallest": {"mm3": 9.5}},
    {"largest_component": True, "fill_holes": True}, {"smallest": {"voxels": 3}, "fill_holes": True},
]


def label_map(random, shape):
    """Classes 0 to 2: [z, y, x]."""
    field = ndimage.gaussian_filter(random.normal(size=shape), 1.2)
    low, high = numpy.quantile(field, [0.4, 0.55])
    labels = (field > low).astype(numpy.uint16) + (field > high)
    # A part that nothing connects, and holes of single voxels.
    labels[1] = 0
    labels[random.random(shape) < 0.06] = 0
    return labels


def components(mask):
    """Numbers of components, and their sizes from number 1 on."""
    numbers, count = ndimage.label(mask, structure=ALL)
    return numbers, numpy.bincount(numbers.ravel(), minlength=count + 1)[1:]


def keep_largest(mask):
    numbers, sizes = components(mask)
    # `argmax` is the first of equal ones, and components are numbered by their first voxels.
    return numbers == 1 + sizes.argmax() if len(sizes) else mask


def repaired(labels, spacing, largest_foreground, repairs):
    labels = labels.copy()
    if largest_foreground:
        labels[~keep_largest(labels > 0)] = 0
    for value in (1, 2):
        repair = repairs[min(value, len(repairs)) - 1] if repairs else {}
        mask = labels == value
        kept = keep_largest(mask) if repair.get("largest_component") else mask
        if "smallest" in repair:
            numbers, sizes = components(kept)
            volume = numpy.prod(spacing) if "mm3" in repair["smallest"] else 1.0
            least = next(iter(repair["smallest"].values()))
            kept = numpy.isin(numbers, 1 + numpy.flatnonzero(sizes * volume >= least))
        labels[mask & ~kept] = 0
        if repair.get("fill_holes"):
            filled = ndimage.binary_fill_holes(labels == value)
            labels[filled & (labels == 0)] = value
    return labels


def digits(labels):
    return "".join(map(str, labels.ravel()))


def main():
    random = numpy.random.default_rng(7)
    cases = []
    for shape, spacing in SHAPES:
        labels = label_map(random, shape)
        changes = [(False, [repair]) for repair in REPAIRS]
        changes += [(True, []), (True, [REPAIRS[1]]), (False, [REPAIRS[4], REPAIRS[2]])]
        for foreground, repairs in changes:
            after = repaired(labels, spacing, foreground, repairs)
            assert (after != labels).any(), (shape, repairs)
            full = [{"largest_component": False, "smallest": None, "fill_holes": False} | repair for repair in repairs]
            cases.append({
                "extents": shape[::-1], "spacing": spacing[::-1], "labels": digits(labels), "largest_foreground": foreground,
                "repairs": full, "repaired": digits(after),
            })
    OUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
