#!/usr/bin/env python3
"""Golden DICOM files: those of tests/golden/volumes/dicom, and what they hold (dicom.json there).

    golden_dicom.py               writes them
    golden_dicom.py read PATH     shape, min, max, mean of the stored pixels and transfer syntax of a file, or of each of a folder, as JSON

Multi-frame files are built with pydicom, and one is converted by highdicom; frames are coded by pydicom (RLE)
and CharLS (JPEG-LS). Every file is read again by pydicom, which must find what was put in.

Needs Python 3.11 and

    python3 -m venv venv && venv/bin/pip install pydicom numpy highdicom pyjpegls
"""

import hashlib
import json
import sys
from pathlib import Path

import highdicom
import jpeg_ls
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "volumes" / "dicom"
MR, CT = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.2.1"
RLE, LOSSLESS_LS, NEAR_LS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
# Columns and rows of an oblique plane (LPS): a right-handed turn by the 3-4-5 triangle about two axes.
X, Y = np.array([0.8, 0.6, 0.0]), np.array([-0.36, 0.48, 0.8])
NORMAL = np.cross(X, Y)
SPACING = (0.75, 0.5)  # rows, columns
STEP = 2.5
THICKNESS = 9.0  # of no account where there are several frames
ORIGIN = np.array([10.0, -20.0, 5.0])


def numbers(frames, rows, columns, bits, signed, seed):
    """A smooth volume with noise over most of its range, and both ends of it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:frames, :rows, :columns]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    wave = 0.5 + 0.35 * np.sin(x / 5 + z) * np.cos(y / 4) + rng.normal(0, 0.004, x.shape)
    values = np.clip(np.round(low + (high - low) * wave), low, high).astype(np.int64)
    values[:, 0, 0], values[:, -1, -1] = low, high
    kind = {(8, False): "u1", (8, True): "i1", (16, False): "<u2", (16, True): "<i2"}[8 if bits <= 8 else 16, signed]
    return values.astype(kind)


def ds(**attributes):
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def base(sop_class, values, bits, syntax, number, description):
    signed = values.dtype.kind == "i"
    uid = f"1.2.826.0.1.3680043.8.498.{number}"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(f"{uid}.1")
    found = ds(SOPClassUID=sop_class, SOPInstanceUID=f"{uid}.1", Modality="MR" if sop_class == MR else "CT",
               SeriesInstanceUID=uid, SeriesNumber=str(number), SeriesDescription=description,
               SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", NumberOfFrames=str(len(values)),
               Rows=values.shape[1], Columns=values.shape[2], BitsAllocated=8 * values.dtype.itemsize,
               BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed))
    found.file_meta = meta
    return found


def functional_groups(found, order, scalings, shared_scaling=None, echoes=None, undefined=False):
    """`order[f]` is the place of frame f along the normal; scalings are of frames."""
    item = ds(PixelMeasuresSequence=Sequence([ds(PixelSpacing=list(SPACING), SliceThickness=THICKNESS)]),
              PlaneOrientationSequence=Sequence([ds(ImageOrientationPatient=[*X, *Y])]))
    if shared_scaling:
        intercept, slope = shared_scaling
        item.PixelValueTransformationSequence = Sequence(
            [ds(RescaleIntercept=intercept, RescaleSlope=slope, RescaleType="US")])
    found.SharedFunctionalGroupsSequence = Sequence([item])
    pointers = [(0x00209057, 0x00209111)] + ([(0x00189082, 0x00189114)] if echoes else [])
    found.DimensionIndexSequence = Sequence(
        [ds(DimensionIndexPointer=Tag(a), FunctionalGroupPointer=Tag(b)) for a, b in pointers])
    frames = []
    for index, place in enumerate(order):
        position = ORIGIN + STEP * place * NORMAL
        content = ds(StackID="1", InStackPositionNumber=place + 1, DimensionIndexValues=[place + 1], TemporalPositionIndex=1)
        frame = ds(FrameContentSequence=Sequence([content]),
                   PlanePositionSequence=Sequence([ds(ImagePositionPatient=[f"{v:.6f}" for v in position])]))
        if echoes:
            content.DimensionIndexValues = [place + 1, 1 + sorted(set(echoes)).index(echoes[index])]
            frame.MREchoSequence = Sequence([ds(EffectiveEchoTime=echoes[index])])
        if scalings:
            intercept, slope = scalings[index]
            frame.PixelValueTransformationSequence = Sequence(
                [ds(RescaleIntercept=intercept, RescaleSlope=slope, RescaleType="US")])
        frames.append(frame)
    found.PerFrameFunctionalGroupsSequence = Sequence(frames)
    if undefined:
        undefine(found)


def undefine(found):
    """Every other nested sequence and item gets an undefined length."""
    for count, element in enumerate(found):
        if element.VR == "SQ":
            element.is_undefined_length = count % 2 == 0 or element.keyword == "PerFrameFunctionalGroupsSequence"
            for number, item in enumerate(element.value):
                item.is_undefined_length_sequence_item = number % 2 == 0
                undefine(item)


def affine():
    lps = np.stack([X * SPACING[1], Y * SPACING[0], NORMAL * STEP, ORIGIN], axis=1)
    return (np.diag([-1.0, -1.0, 1.0]) @ lps).tolist()


def save(name, found, values, order, scalings, facts, choice="", keep=None):
    """Writes a file and what it holds: voxels in the order of places, x fastest."""
    path = OUT / name
    found.save_as(path, enforce_file_format=True)
    again = pydicom.dcmread(path).pixel_array
    assert (again == values).all(), f"{name} is not read as it was written"
    scaled = values.astype(np.float64) * np.array([s[1] for s in scalings])[:, None, None]
    scaled += np.array([s[0] for s in scalings])[:, None, None]
    kept = [frame for frame in range(len(order)) if keep is None or keep[frame]]
    voxels = scaled[sorted(kept, key=lambda frame: order[frame])].astype("<f4")
    facts[f"{name} {choice}".strip()] = {
        "shape": list(voxels.shape[::-1]), "affine": affine(), "first": voxels.flatten()[:8].tolist(),
        "min": float(voxels.min()), "max": float(voxels.max()), "sha256": hashlib.sha256(voxels.tobytes()).hexdigest()}


def coded_ls(values, bits, near=0):
    cells = values.view(values.dtype.str.replace("i", "u")) & ((1 << bits) - 1)
    return [bytes(jpeg_ls.encode_buffer(frame.tobytes(), rows=frame.shape[0], columns=frame.shape[1], samples_per_pixel=1,
                                        bits_stored=bits, lossy_error=near)) for frame in cells]


def plain(scaling, count):
    return [scaling] * count


def write():
    OUT.mkdir(parents=True, exist_ok=True)
    facts = {}
    order = [2, 0, 3, 1]
    scalings = [(-1024.0, 1.0), (-100.0, 0.5), (0.25, 2.0), (7.0, 0.125)]

    values = numbers(4, 5, 6, 12, False, 1)
    found = base(MR, values, 12, ExplicitVRLittleEndian, 1, "MR as it is")
    functional_groups(found, order, scalings, undefined=True)
    found.PixelData = values.tobytes()
    save("mr_native.dcm", found, values, order, scalings, facts)

    found = base(CT, values := numbers(4, 5, 6, 16, True, 2), 16, ImplicitVRLittleEndian, 2, "CT implicit")
    functional_groups(found, order, None, shared_scaling=(-1024.0, 0.5))
    found.PixelData = values.tobytes()
    save("ct_implicit", found, values, order, plain((-1024.0, 0.5), 4), facts)

    found = base(CT, values := numbers(4, 7, 5, 16, True, 3), 16, ExplicitVRLittleEndian, 3, "CT in runs")
    functional_groups(found, order, scalings)
    found.PixelData = values.tobytes()
    found.compress(RLE, encapsulate_ext=False, generate_instance_uid=False)
    save("ct_rle.dcm", found, values, order, scalings, facts)

    found = base(CT, values := numbers(4, 13, 14, 12, True, 4), 12, LOSSLESS_LS, 4, "CT in fragments")
    functional_groups(found, order, None, shared_scaling=(-1000.0, 1.0), undefined=True)
    found.PixelData = encapsulate(coded_ls(values, 12), fragments_per_frame=3, has_bot=True)
    found["PixelData"].is_undefined_length = True
    save("ct_fragments.dcm", found, values, order, plain((-1000.0, 1.0), 4), facts)

    found = base(MR, values := numbers(2, 14, 13, 8, False, 5), 8, LOSSLESS_LS, 5, "MR of a byte")
    functional_groups(found, [1, 0], None)
    # Without an offset table, in several fragments: only the ends of the images tell them apart.
    found.PixelData = encapsulate(coded_ls(values, 8), fragments_per_frame=2, has_bot=False)
    found["PixelData"].is_undefined_length = True
    save("mr_bytes.dcm", found, values, [1, 0], plain((0.0, 1.0), 2), facts)

    found = base(MR, values := numbers(4, 9, 11, 16, True, 7), 16, LOSSLESS_LS, 7, "MR by prediction")
    functional_groups(found, order, scalings)
    found.PixelData, found.ExtendedOffsetTable, found.ExtendedOffsetTableLengths = encapsulate_extended(coded_ls(values, 16))
    found["PixelData"].is_undefined_length = True
    save("mr_ls.dcm", found, values, order, scalings, facts)

    found = base(CT, values := numbers(3, 12, 10, 12, False, 8), 12, NEAR_LS, 8, "CT nearly")
    functional_groups(found, [0, 1, 2], None)
    found.PixelData = encapsulate(frames := coded_ls(values, 12, near=3), has_bot=True)
    found["PixelData"].is_undefined_length = True
    # What is off by up to three is decoded to the same numbers by every decoder.
    decoded = np.stack([jpeg_ls.decode(np.frombuffer(frame, np.uint8)) for frame in frames])
    assert 0 < np.abs(decoded.astype(int) - values).max() <= 3
    save("ct_ls_near.dcm", found, decoded, [0, 1, 2], plain((0.0, 1.0), 3), facts)

    found = base(MR, values := numbers(6, 5, 6, 12, False, 9), 12, ExplicitVRLittleEndian, 9, "MR of two echoes")
    places, echoes = [0, 0, 1, 1, 2, 2], [4.5, 9.0] * 3
    functional_groups(found, places, None, shared_scaling=(0.0, 1.0), echoes=echoes)
    found.PixelData = values.tobytes()
    uid = found.SeriesInstanceUID
    for number, echo in enumerate([4.5, 9.0], 1):
        keep = [e == echo for e in echoes]
        save("mr_echoes.dcm", found, values, places, plain((0.0, 1.0), 6), facts, f"{uid}#{number}", keep)

    converted(facts)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(fact)}" for name, fact in facts.items())
    (OUT / "dicom.json").write_text("{\n" + lines + "\n}\n")


def converted(facts):
    """Single slices that highdicom converts to Legacy Converted Enhanced CT."""
    values = numbers(4, 5, 6, 16, True, 10)
    slices = []
    for place, frame in enumerate(values):
        one = base("1.2.840.10008.5.1.4.1.1.2", frame[None], 16, ExplicitVRLittleEndian, 10, "CT of slices")
        del one.NumberOfFrames
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = UID(f"{one.SeriesInstanceUID}.2.{place}")
        for name in ["PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate",
                     "StudyTime", "ReferringPhysicianName", "Manufacturer", "ContentDate", "ContentTime"]:
            setattr(one, name, {"Date": "20260101", "Time": "120000"}.get(name[-4:], ""))
        one.PatientBirthDate = "19700101"
        one.StudyInstanceUID = one.FrameOfReferenceUID = f"{one.SeriesInstanceUID}.3"
        one.ImageType, one.InstanceNumber, one.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], place + 1, 1
        one.KVP, one.BurnedInAnnotation, one.LossyImageCompression = 120, "NO", "00"
        one.PixelSpacing, one.SliceThickness = list(SPACING), THICKNESS
        one.ImageOrientationPatient = [*X, *Y]
        one.ImagePositionPatient = [f"{v:.6f}" for v in ORIGIN + STEP * place * NORMAL]
        one.RescaleIntercept, one.RescaleSlope = -1024, 1
        one.PixelData = frame.tobytes()
        slices.append(one)
    found = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        slices, series_instance_uid="1.2.826.0.1.3680043.8.498.11", series_number=11,
        sop_instance_uid="1.2.826.0.1.3680043.8.498.11.1", instance_number=1)
    # highdicom may put frames in another order.
    positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in found.PerFrameFunctionalGroupsSequence]
    order = [round(np.dot(np.array(position, float) - ORIGIN, NORMAL) / STEP) for position in positions]
    save("ct_converted.dcm", found, values[order], order, plain((-1024.0, 1.0), 4), facts)


def read(folder):
    for path in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else [Path(folder)]:
        found = pydicom.dcmread(path)
        pixels = found.pixel_array
        print(json.dumps({"path": str(path), "shape": pixels.shape, "min": int(pixels.min()), "max": int(pixels.max()),
                          "mean": float(pixels.mean()), "syntax": found.file_meta.TransferSyntaxUID.name}))


if __name__ == "__main__":
    read(sys.argv[2]) if sys.argv[1:2] == ["read"] else write()
