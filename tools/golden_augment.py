#!/usr/bin/env python3
"""Golden data for augmentation, tests/golden/augment.json: B-spline deformation and resampling by SimpleITK, resampling
with zeros outside and Gaussian blur by scipy, histogram matching by scikit-image.

    golden_augment.py

Needs Python 3.11, numpy 2, scipy 1.17, SimpleITK 2.5 and scikit-image 0.26:

    python3 -m venv venv && venv/bin/pip install numpy scipy SimpleITK scikit-image

All arrays are flat with x fastest; points and displacements are in the order z, y, x.
"""

import json
from pathlib import Path

import numpy as np
import scipy.ndimage
import SimpleITK as sitk
import skimage.exposure

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "augment.json"
EXTENTS = (8, 11, 13)  # z, y, x
MESH = 2


def smooth_noise(rng, extents, sigma):
    return scipy.ndimage.gaussian_filter(rng.normal(0, 5, extents), sigma).astype(np.float32)


def numbers(values):
    return [float(f"{v:.9g}") for v in np.asarray(values, np.float64).flatten()]


def deformation(rng):
    """SimpleITK's order-3 BSplineTransform, as the paper's authors use it (utilities.produceRandomlyDeformedImage)."""
    image = smooth_noise(rng, EXTENTS, 1)
    bumps = smooth_noise(rng, EXTENTS, 1.5)
    labels = (bumps > 0.2).astype(np.uint8) + (bumps > 0.9)
    volume = sitk.GetImageFromArray(image)
    transform = sitk.BSplineTransformInitializer(volume, [MESH] * 3, order=3)
    count = (MESH + 3) ** 3
    # SimpleITK's parameters are those along x, then y, then z; each with x fastest.
    along = np.float32(rng.normal(0, 2.5, (3, count)))
    transform.SetParameters(along.astype(np.float64).flatten().tolist())
    resample = lambda array: sitk.GetArrayFromImage(  # noqa: E731
        sitk.Resample(sitk.GetImageFromArray(array), volume, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat64)
    )
    points = [transform.TransformPoint([float(i) for i in index[::-1]])[::-1] for index in np.ndindex(*EXTENTS)]
    classes = np.stack([resample((labels == k).astype(np.float64)) for k in range(3)])
    return {
        "image": numbers(image),
        "labels": labels.flatten().tolist(),
        "displacements": numbers(along[::-1]),
        "points": numbers(points),
        "resampled": numbers(resample(image)),
        "resampled_labels": np.argmax(classes, axis=0).flatten().tolist(),
        "margin": numbers(np.sort(classes, axis=0)[-1] - np.sort(classes, axis=0)[-2]),
    }


def rotation(rng):
    """A rotation about z, y and x with a shift: part of the output lies outside the source."""
    image = smooth_noise(rng, EXTENTS, 1)
    matrix = np.eye(3)
    for a, b, angle in [(0, 1, 0.3), (1, 2, -0.5), (2, 0, 0.2)]:
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix = np.float32(1.1 * matrix).astype(np.float64)
    offset = np.float32([0.7, -1.3, 2.1]).astype(np.float64)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in EXTENTS], indexing="ij")).reshape(3, -1)
    points = matrix @ grid + offset[:, None]
    resampled = scipy.ndimage.map_coordinates(image.astype(np.float64), points, order=1, mode="grid-constant", cval=0)
    return {
        "image": numbers(image), "matrix": numbers(matrix), "offset": numbers(offset), "resampled": numbers(resampled)
    }


def matching(rng):
    image, other = smooth_noise(rng, EXTENTS, 0.7), np.float32(np.exp(smooth_noise(rng, EXTENTS, 0.7)))
    image[image < -0.8] = 0  # as many voxels of one value as the background of a volume
    matched = skimage.exposure.match_histograms(image.astype(np.float64), other.astype(np.float64))
    return {"image": numbers(image), "other": numbers(other), "matched": numbers(matched)}


def blur(rng):
    image = smooth_noise(rng, EXTENTS, 0.5)
    blurred = scipy.ndimage.gaussian_filter(image.astype(np.float64), 0.8, mode="nearest", radius=4)
    return {"image": numbers(image), "sigma": 0.8, "blurred": numbers(blurred)}


def main():
    rng = np.random.default_rng(20160615)
    golden = {
        "extents": EXTENTS,
        "deformation": deformation(rng),
        "rotation": rotation(rng),
        "matching": matching(rng),
        "blur": blur(rng),
    }
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
