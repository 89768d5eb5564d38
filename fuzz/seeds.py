#!/usr/bin/env python3
"""Writes a few small valid files for every target to fuzz/corpus/TARGET, and words to fuzz/corpus/TARGET.dict.

usage: python3 fuzz/seeds.py (standard library only)
"""
import gzip
import itertools
import json
import math
import struct
import zlib
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
EXTENTS = (4, 3, 2)
VOXELS = 24


def nifti(order, version, code, kind, magic, scaling=(0.0, 0.0)):
    """A header of NIfTI-1 or -2 with qform and sform, and voxels 0, 1, 2, 0, …"""
    head = bytearray(348 if version == 1 else 540)

    def put(at, form, *values):
        struct.pack_into(order + form, head, at, *values)

    bits = 8 * struct.calcsize(kind)
    put(0, "i", len(head))
    rows = (-0.5, 0.0, 0.0, 11.0, 0.0, 1.25, 0.1, -7.0, 0.0, -0.1, 3.0, 2.0)
    offset = (len(head) + 4) if magic[:2] != b"ni" else 0
    if version == 1:
        put(40, "8h", 3, *EXTENTS, 1, 1, 1, 1)
        put(70, "hh", code, bits)
        put(76, "8f", 1.0, 0.5, 1.25, 3.0, 0, 0, 0, 0)
        put(108, "3f", offset, *scaling)
        put(123, "B", 2)
        put(252, "hh", 1, 2)
        put(256, "6f", 0.0, 0.0, 1.0, 1.0, 2.0, 3.0)
        put(280, "12f", *rows)
        head[344 : 344 + len(magic)] = magic
    else:
        head[4 : 4 + len(magic)] = magic
        put(12, "hh", code, bits)
        put(16, "8q", 3, *EXTENTS, 1, 1, 1, 1)
        put(104, "8d", 1.0, 0.5, 1.25, 3.0, 0, 0, 0, 0)
        put(168, "q", offset)
        put(176, "2d", *scaling)
        put(344, "ii", 1, 2)
        put(352, "6d", 0.0, 0.0, 1.0, 1.0, 2.0, 3.0)
        put(400, "12d", *rows)
        put(500, "i", 2)
    voxels = struct.pack(order + str(VOXELS) + kind, *(v % 3 for v in range(VOXELS)))
    return bytes(head) + b"\0\0\0\0" + voxels


def nifti_files():
    two = b"\r\n\x1a\n"
    yield nifti("<", 1, 4, "h", b"n+1\0")
    yield nifti(">", 1, 16, "f", b"n+1\0", (0.25, -3.0))
    yield nifti("<", 1, 2, "B", b"ni1\0")
    yield nifti("<", 2, 1280, "Q", b"n+2\0" + two)
    yield nifti(">", 2, 64, "d", b"n+2\0" + two)
    yield gzip.compress(nifti("<", 1, 512, "H", b"n+1\0"), mtime=0)


def metaimage(kind, voxels, order="False", compressed=False, more=""):
    body = zlib.compress(voxels) if compressed else voxels
    text = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = {order}\n"
    if compressed:
        text += f"CompressedData = True\nCompressedDataSize = {len(body)}\n"
    text += "TransformMatrix = 1 0 0 0 0.6 -0.8 0 0.8 0.6\nOffset = 10 -20.5 3e1\nCenterOfRotation = 0 0 0\n"
    text += f"ElementSpacing = 0.5 1.25 3\nDimSize = 4 3 2\n{more}ElementType = {kind}\nElementDataFile = LOCAL\n"
    return text.encode() + body


def metaimage_files():
    values = [v % 3 for v in range(VOXELS)]
    yield metaimage("MET_UCHAR", bytes(values))
    yield metaimage("MET_SHORT", struct.pack(">24h", *values), order="True")
    yield metaimage("MET_FLOAT", struct.pack("<24f", *values), compressed=True)
    yield metaimage("MET_DOUBLE", struct.pack("<24d", *values), more="HeaderSize = -1\n")
    yield metaimage("MET_USHORT", gzip.compress(struct.pack("<24H", *values), mtime=0), more="CompressedData = True\n")


def nrrd(kind, voxels, encoding="raw", more="", sizes="4 3 2", space="space: LPS\n", axes="", list_first=False):
    vectors = f"(0.5,0,0{axes}) (0,0.75,-1{axes}) (0,1,2.4{axes})"
    kinds = "domain domain domain"
    if sizes.count(" ") == 3:
        vectors, kinds = (f"none {vectors}", f"list {kinds}") if list_first else (f"{vectors} none", f"{kinds} list")
    text = f"NRRD0004\n# seed\ntype: {kind}\ndimension: {sizes.count(' ') + 1}\n{space}sizes: {sizes}\n"
    text += f"space directions: {vectors}\nkinds: {kinds}\nendian: little\nencoding: {encoding}\n"
    text += f"space origin: (10,-20.5,3e1{axes})\n{more}\n"
    return text.encode() + voxels


def nrrd_files():
    values = [v % 3 for v in range(VOXELS)]
    shorts = struct.pack("<24h", *values)
    yield nrrd("uchar", bytes(values))
    yield nrrd("short", gzip.compress(shorts, mtime=0), "gzip", "measurement frame: (1,0,0) (0,1,0) (0,0,1)\n")
    yield nrrd("double", " ".join(map(str, values)).encode(), "ascii")
    yield nrrd("int", b"line\n1234567" + struct.pack("<24i", *values), more="line skip: 1\nbyte skip: 7\n", space="space: RAS\n")
    yield nrrd("float", struct.pack("<24f", *values), more="byte skip: -1\n", space="space: LAST\n", axes=",0")
    yield nrrd("uint8", bytes(2 * values), sizes="2 4 3 2", list_first=True)
    yield nrrd("int16", 2 * shorts, sizes="4 3 2 2", more="space units: \"m\" \"m\" \"m\"\n")
    # The bytes stand for every file of a volume: here the voxels are the end of each.
    yield nrrd("ushort", shorts, more="byte skip: -1\ndata file: a%02d.raw 1 2 1\n")
    yield nrrd("ushort", b"", more="byte skip: -1\ndata file: LIST\na.raw\nb.raw\nc.raw\n")
    plain = "NRRD0001\r\ntype: signed char\r\ndimension: 3\r\nsizes: 4 3 2\r\nspacings: 1 nan 3\r\nunits: \"um\" \"cm\" \"\"\r\n"
    yield plain.encode() + b"encoding: raw\r\n\r\n" + bytes(values)
    segments = "".join(
        f"Segment{n}_Name:=s\\n{n}\nSegment{n}_LabelValue:={1 + n // 2}\nSegment{n}_Layer:={n % 2}\n"
        f"Segment{n}_Color:=0.5 1 0\nSegment{n}_Extent:=0 3 0 2 0 1\n" for n in range(3)
    )
    layered = [v % 2 if layer == 0 else 0 for v in range(VOXELS) for layer in (0, 1)]
    yield nrrd("uchar", gzip.compress(bytes(layered), mtime=0), "gzip", segments, "2 4 3 2", list_first=True)
    yield nrrd("uchar", bytes(values), more=segments.replace("Layer:=1", "Layer:=0").replace("Segment1_LabelValue:=1", "Segment1_LabelValue:=9"))


LONG = {"OB", "OW", "SQ", "UN"}


def element(group, number, kind, value, explicit=True, order="<"):
    if isinstance(value, str):
        value = value.encode()
    if len(value) % 2:
        value += b"\0" if kind in ("UI", "OB") else b" "
    tag = struct.pack(order + "HH", group, number)
    if not explicit:
        return tag + struct.pack("<I", len(value)) + value
    if kind in LONG:
        return tag + kind.encode() + struct.pack(order + "HI", 0, len(value)) + value
    return tag + kind.encode() + struct.pack(order + "H", len(value)) + value


def fragments(frame):
    frame += b"\0" * (len(frame) % 2)
    item = lambda number, length: struct.pack("<HHI", 0xFFFE, number, length)
    head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    return head + item(0xE000, 0) + item(0xE000, len(frame)) + frame + item(0xE0DD, 0)


def dicom(syntax, pixels, allocated=16, explicit=True, order="<", deflate=False, more=b""):
    """A slice of 4 columns and 3 rows; `pixels` is the whole element."""
    short = lambda group, number, value: element(
        group, number, "US", struct.pack(order + "H", value), explicit, order
    )
    text = lambda group, number, kind, value: element(group, number, kind, value, explicit, order)
    meta = b"".join(
        element(2, *parts)
        for parts in [
            (1, "OB", b"\0\1"),
            (2, "UI", "1.2.840.10008.5.1.4.1.1.4"),
            (3, "UI", "1.2.3.4.5"),
            (0x10, "UI", syntax),
            (0x12, "UI", "1.2.3"),
        ]
    )
    body = text(8, 0x60, "CS", "MR") + more + text(0x18, 0x50, "DS", "9") + text(0x20, 0xE, "UI", "1.2.3.4")
    body += text(0x20, 0x32, "DS", "10\\-20\\5") + text(0x20, 0x37, "DS", "1\\0\\0\\0\\0.6\\-0.8")
    body += short(0x28, 2, 1) + text(0x28, 4, "CS", "MONOCHROME2") + short(0x28, 0x10, 3) + short(0x28, 0x11, 4)
    body += text(0x28, 0x30, "DS", "0.75\\0.5") + short(0x28, 0x100, allocated) + short(0x28, 0x101, allocated)
    body += short(0x28, 0x102, allocated - 1) + short(0x28, 0x103, 0)
    body += text(0x28, 0x1052, "DS", "-1024") + text(0x28, 0x1053, "DS", "0.5") + pixels
    if deflate:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packer.compress(body) + packer.flush()
    return b"\0" * 128 + b"DICM" + element(2, 0, "UL", struct.pack("<I", len(meta))) + meta + body


def jpeg(marker, bits, selection, data):
    """One grey image of 4 x 3 whose only Huffman code, of one bit, means 0."""
    tables = b"\xff\xdb\0\x43\0" + b"\1" * 64 if marker == 0xC0 else b""
    frame = struct.pack(">BBHBHHB3B", 0xFF, marker, 11, bits, 3, 4, 1, 1, 0x11, 0)
    codes = b"".join(b"\xff\xc4\0\x14" + bytes([kind, 1] + [0] * 15 + [0]) for kind in (0x00, 0x10))
    return b"\xff\xd8" + tables + frame + codes + b"\xff\xda\0\x08\1\1\0" + selection + data + b"\xff\xd9"


def dicom_files():
    values = [v * v for v in range(12)]
    little = "1.2.840.10008.1.2.1"
    yield dicom(little, element(0x7FE0, 0x10, "OW", struct.pack("<12H", *values)))
    yield dicom(little, element(0x7FE0, 0x10, "OB", bytes(values)), allocated=8)
    pixels = element(0x7FE0, 0x10, "OW", struct.pack("<12H", *values), explicit=False)
    yield dicom("1.2.840.10008.1.2", pixels, explicit=False)
    pixels = element(0x7FE0, 0x10, "OW", struct.pack(">12H", *values), order=">")
    yield dicom("1.2.840.10008.1.2.2", pixels, order=">")
    pixels = element(0x7FE0, 0x10, "OW", struct.pack("<12H", *values))
    yield dicom("1.2.840.10008.1.2.1.99", pixels, deflate=True)
    runs = bytes([11]) + bytes(12) + b"\0" + bytes([11]) + bytes(values) + b"\0"
    yield dicom("1.2.840.10008.1.2.5", fragments(struct.pack("<16I", 2, 64, 78, *[0] * 13) + runs))
    yield dicom("1.2.840.10008.1.2.4.50", fragments(jpeg(0xC0, 8, b"\0\x3f\0", b"\x3f")), allocated=8)
    yield dicom("1.2.840.10008.1.2.4.70", fragments(jpeg(0xC3, 16, b"\1\0\0", b"\0\x0f")))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 18) + element(8, 0x1150, "UI", "1.2.3.4.5")
    yield dicom(little, element(0x7FE0, 0x10, "OW", bytes(24)), more=element(8, 0x1140, "SQ", item))
    unknown = struct.pack("<HH2sHI", 9, 0x1010, b"UN", 0, 0xFFFFFFFF)
    unknown += struct.pack("<HHIHHIHHI", 0xFFFE, 0xE000, 0xFFFFFFFF, 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    yield dicom(little, element(0x7FE0, 0x10, "OW", bytes(24)), more=unknown)
    # Without preamble, without file meta information, without representations, and an object without pixels.
    whole = dicom(little, element(0x7FE0, 0x10, "OW", struct.pack("<12H", *values)))
    data = whole.index(element(8, 0x60, "CS", "MR"))
    yield whole[128:]
    yield whole[132:]
    yield whole[:132] + whole[data:]
    yield whole[data:]
    pixels = element(0x7FE0, 0x10, "OW", struct.pack("<12H", *values), explicit=False)
    implicit = dicom("1.2.840.10008.1.2", pixels, explicit=False)
    yield implicit[implicit.index(element(8, 0x60, "CS", "MR", explicit=False)) :]
    yield element(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.481.3") + element(8, 0x60, "CS", "RTSTRUCT") + element(
        0x20, 0xE, "UI", "1.2.9"
    )


KEYS = {
    "": ["seed = 3", 'kernels = "direct"'],
    "network": ["base = 4", "encoder = [1, 2]", "decoder = [1]", "head_gain = 0.05"],
    "data": [
        'patch = "auto"',
        "patch = [16, 16, 8]",
        "max_patch_voxels = 100000",
        'normalisation = "ct_window"',
        "canonical = true",
        'spacing = "native"',
        "spacing = [1.0, 1, 1.5]",
        'interpolation = "cubic"',
        "ct_window = [-100.0, 200.0, 50.0, 20.0]",
        "split = [0.7, 0.1, 0.2]",
        'sampling = "patch"',
        "foreground = 0.33",
        'cache = "2GiB"',
        "ignore = [4, 255]",
        "labels = { organ = [1, 2, 3], lesion = 9 }",
        "regions = { whole = [1, 2, 3, 9], lesion = 9 }",
        "regions_order = [1, 9]",
        'cache_dir = "none"',
    ],
    "augmentation": ["enabled = true"],
    "augmentation.histogram_matching": ["probability = 0.5"],
    "augmentation.deformation": ["probability = 0.5", "sigma = 15", "z = true"],
    "augmentation.rotation": ["probability = 0.2", "degrees = [10, 10, 30.0]"],
    "augmentation.scaling": ["probability = 0.2", "range = [0.7, 1.4]"],
    "augmentation.flip": ["probability = [0.5, 0, 1]"],
    "augmentation.low_resolution": ["probability = 0.25", "range = [1, 2]"],
    "augmentation.blur": ["probability = 0.2", "range = [0.5, 1]"],
    "augmentation.bias_field": ["probability = 0.3", "range = [-0.5, 0.5]"],
    "augmentation.brightness": ["probability = 0.15", "range = [0.75, 1.25]"],
    "augmentation.contrast": ["probability = 0.15", "range = [0.75, 1.25]"],
    "augmentation.gamma": ["probability = 0.3", "range = [0.7, 1.5]", "inverted = 0.25"],
    "augmentation.noise": ["probability = 0.1", "range = [0, 0.3]"],
    "training": [
        "steps = 350",
        "batch = 2",
        'loss = "dice"',
        "validate_every = 100",
        "checkpoint_every = 0",
        "loader_threads = 1",
        'loader_threads = "auto"',
        "accumulation = 2",
        "keep_checkpoints = 3",
        'memory = "low"',
        "ema_decay = 0.999",
        "patience = 4",
        "tensorboard = false",
    ],
    "optimiser": [
        'kind = "adamw"',
        "learning_rate = 1e-3",
        "momentum = 0.9",
        "nesterov = true",
        "beta1 = 0.9",
        "beta2 = 0.999",
        "epsilon = 1e-8",
        "weight_decay = 0.0005",
        "clip_norm = 12",
    ],
    "schedule": ['kind = "poly"', "warm_up = 20", "every = 25000", "factor = 0.1", "power = 0.9"],
    "health": [
        "nonfinite_steps = 5",
        'nonfinite = "restore"',
        "collapsed_validations = 0",
        'collapsed = "stop"',
        "learning_rate_factor = 0.5",
        "most_restorations = 3",
    ],
}


def configuration_files():
    whole = ""
    for table, lines in KEYS.items():
        unique = {line.split(" =")[0]: line for line in lines}
        text = (f"[{table}]\n" if table else "") + "\n".join(unique.values()) + "\n"
        whole += text
        yield text.encode()
        for line in lines:
            yield (f"{table}.{line}" if table else line).replace(" = ", "=").encode()
    yield whole.encode()


def description_files():
    plain = {"0": "background", "1": "organ"}
    ignoring = {"background": 0, "organ": [1], "ignore": 2}
    regions = {"background": 0, "whole": [1, 2, 3], "core": [3, 2], "enhancing": 3, "ignore": 4}
    for labels, order in [(plain, None), (ignoring, None), (regions, [1, 2, 3])]:
        yield json.dumps({"labels": labels, "regions_class_order": order, "channel_names": {"0": "MR"}}).encode()


def cache_entries():
    """The target puts the checksum of the header right and checks no others."""
    grid = {"extents": [5, 4, 3], "spacing": [1.0, 2.0, 3.0], "affine": [[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 3.0, 0]]}
    prepared = [("image", 0, 240), ("label", 256, 120), ("foreground_classes", 384, 4), ("foreground", 448, 8)]
    for arrays in [prepared, [("reference", 0, 120)], [("quantiles", 0, 1024), ("means", 1024, 4)]]:
        named = [{"name": name, "start": start, "bytes": count, "blake3": ""} for name, start, count in arrays]
        header = json.dumps({"key": "k", "grid": grid, "arrays": named}).encode()
        start = b"VNET-PREPARED-LE" + len(header).to_bytes(4, "little") + bytes(32) + header
        data = bytearray(max(begin + count for _, begin, count in arrays))
        if arrays is prepared:
            data[384:388], data[448:456] = b"\1\0\2\0", b"\x1e\0\0\0\x3c\0\0\0"
        yield start + bytes(-len(start) % 64) + bytes(data)


def split_files():
    yield json.dumps({"train": ["a", "b"], "validation": ["c"], "test": ["d"]}).encode()
    folds = [{"train": ["a", "b"], "validation": ["c"]}, {"train": ["c", "d"], "validation": ["a"], "test": ["b"]}]
    yield json.dumps({"folds": folds}).encode()
    yield b'{"train": ["a"]}'


def manifest_files():
    yield b"image,label,split\na.nii.gz,b/a.nii.gz,train\n/c/d.mha,e.mha,\n"
    yield "\ufeffname,image_0,image_1,label\r\n\"x, \"\"1\"\"\",a_0000.nii,a_0001.nii,a.nii\r\n\r\n,,,\r\n".encode()
    yield b"Image , Split\ra.nii,Test\rb.nii,validation\r"


def model_files():
    shapes = {
        "encoder.0.conv.0.weight": [1, 1, 5, 5, 5],
        "encoder.0.conv.0.bias": [1],
        "encoder.0.act.0.weight": [1],
        "encoder.1.down.weight": [2, 1, 2, 2, 2],
        "encoder.1.down.bias": [2],
        "encoder.1.down_act.weight": [2],
        "encoder.1.conv.0.weight": [2, 2, 5, 5, 5],
        "encoder.1.conv.0.bias": [2],
        "encoder.1.act.0.weight": [2],
        "decoder.0.up.weight": [2, 1, 2, 2, 2],
        "decoder.0.up.bias": [1],
        "decoder.0.up_act.weight": [1],
        "decoder.0.conv.0.weight": [2, 2, 5, 5, 5],
        "decoder.0.conv.0.bias": [2],
        "decoder.0.act.0.weight": [2],
        "head.weight": [2, 2, 1, 1, 1],
        "head.bias": [2],
    }
    network = {"in_channels": 1, "classes": 2, "base": 1, "encoder": [1, 1], "decoder": [1]}
    preprocessing = {
        "normalisation": "ct_window",
        "intensities": [-100.0, 200.0, 50.0, 20.0],
        "spacing": [1.0, 1.0, 1.5],
        "interpolation": "cubic",
        "patch": [16, 16, 8],
        "canonical": True,
        "class_names": ["background", "prostate"],
        "labels": {"background": 0, "prostate": [255, 2]},
    }
    for extra in ({}, {"preprocessing": preprocessing}):
        yield safetensors({"vnet_engine": json.dumps({"format": 1, "network": network, **extra})}, shapes)


def safetensors(metadata, shapes):
    header, at = {"__metadata__": metadata}, 0
    for name, shape in shapes.items():
        count = math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * count]}
        at += 4 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + struct.pack(f"<{at // 4}f", *(v % 7 * 0.125 for v in range(at // 4)))


def checkpoint_files():
    origin = {
        "config": "seed = 3\n[training]\nsteps = 9\nbatch = 1\n",
        "config_blake3": "abc",
        "kernels": "def",
        "passes": 2,
        "device": "a device, a driver",
        "program": "0.1.0 (unknown)",
    }
    state = {
        "blake3": "0" * 64,
        "format": 2,
        "step": 5,
        "sample": 10,
        "validated": False,
        "best": [0.30000000000000004, 3],
        "patch": [24, 40, 16],
        "restorations": {"count": 1, "learning_rate": 0.5},
        "predictions": {"collapsed": 2, "structured": 4},
        "weights": "0123",
        "origin": origin,
    }
    shapes = {"encoder.0.conv.0.weight": [1, 2, 3, 1, 1], "head.bias": [3]}
    for more in (["moment1"], ["moment1", "moment2"], ["moment1", "ema"]):
        tensors = {f"{p}/{name}": shape for p in ["parameter"] + more for name, shape in shapes.items()}
        # Rust writes JSON without spaces, and the place of the checksum is found by its text.
        text = json.dumps(state, separators=(",", ":"))
        yield safetensors({"vnet_engine_checkpoint": text}, tensors)
        state["best"] = None


WORDS = {
    "cache_entry": ["VNET-PREPARED-LE", "key", "grid", "extents", "spacing", "affine", "arrays", "name", "start", "bytes",
                    "blake3", "image", "label", "foreground", "foreground_classes", "reference", "quantiles", "means",
                    "18446744073709551615", "1e308", "-1"],
    "volume": [
        "n+1\\x00", "ni1\\x00", "n+2\\x00\\x0d\\x0a\\x1a\\x0a", "\\x1f\\x8b\\x08", "\\x00\\x00\\x80\\x7f",
        "ObjectType = Image", "NDims = ", "BinaryData = ", "BinaryDataByteOrderMSB = ", "ElementByteOrderMSB = ",
        "CompressedData = True", "CompressedDataSize = ", "TransformMatrix = ", "Rotation = ", "Orientation = ",
        "Offset = ", "Position = ", "Origin = ", "ElementSpacing = ", "ElementSize = ", "DimSize = ", "HeaderSize = ",
        "ElementNumberOfChannels = ", "ElementToIntensityFunctionSlope = ", "ElementType = ", "ElementDataFile = ",
        "NRRD0005", "type: ", "dimension: ", "sizes: ", "space: ", "space dimension: ", "space directions: ", "space origin: ",
        "space units: ", "spacings: ", "units: ", "kinds: ", "endian: ", "encoding: ", "line skip: ", "byte skip: ",
        "data file: ", "content: ", "gzip", "ascii", "none ", "(1,0,0)", "%03d 1 3 1", "RAS", "LPST", "left-anterior-superior",
        "Segment1_LabelValue:=", "Segment1_Layer:=", "Segment1_Name:=", "long long int", "vector", "domain", "list",
        "LOCAL", "LIST", "MET_UCHAR", "MET_LONG_LONG", "MET_DOUBLE", "1e308", "-1", "nan", "inf",
        "\\x00\\x52\\x29\\x92", "\\x00\\x52\\x30\\x92", "\\xff\\xf7",
        "DICM", "SQ", "UN", "UL", "OW", "OB", "US", "DS", "UI", "\\xfe\\xff\\x00\\xe0", "\\xfe\\xff\\x0d\\xe0",
        "\\xfe\\xff\\xdd\\xe0", "\\xff\\xff\\xff\\xff", "\\xe0\\x7f\\x10\\x00", "\\xff\\xc4", "\\xff\\xd8", "\\xff\\xdb",
        "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    ],
    "configuration": [f"[{table}]" for table in KEYS if table] + ["nan", "inf", "-1", "1e999"]
    + sorted({line.split(" =")[0] for lines in KEYS.values() for line in lines}),
    "description": ["labels", "regions_class_order", "background", "ignore", "65535", "-1"],
    "split": ["train", "validation", "test", "folds"],
    "manifest": ["image", "image_0", "image_1", "label", "split", "name", "train", "validation", "test", "a.nii", ",", "\\x0a", "\\x0d"],
    "model": ["__metadata__", "vnet_engine", "dtype", "F32", "F16", "shape", "data_offsets", "format", "network",
              "in_channels", "classes", "base", "encoder", "decoder", "preprocessing", "normalisation", "patch"],
    "checkpoint": ["__metadata__", "vnet_engine_checkpoint", "dtype", "F32", "F16", "shape", "data_offsets", "parameter/",
                   "moment1/", "moment2/", "ema/", "blake3", "format", "step", "sample", "validated", "best", "patch",
                   "restorations", "count", "learning_rate", "predictions", "collapsed", "structured", "weights", "origin",
                   "config", "kernels", "passes", "null", "1e308", "18446744073709551615", "-1"],
}


def multiframe_files():
    """The golden files: several frames, uncompressed and in every coding of encapsulated frames."""
    for path in sorted((Path(__file__).parent.parent / "tests" / "golden" / "volumes" / "dicom").iterdir()):
        if path.suffix != ".json":
            yield path.read_bytes()


def main():
    targets = {
        "volume": lambda: itertools.chain(
            nifti_files(), metaimage_files(), nrrd_files(), dicom_files(), multiframe_files()
        ),
        "configuration": configuration_files,
        "description": description_files,
        "split": split_files,
        "manifest": manifest_files,
        "cache_entry": cache_entries,
        "model": model_files,
        "checkpoint": checkpoint_files,
    }
    for target, files in targets.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(files()):
            (folder / f"seed_{number:02}").write_bytes(content)
        quoted = (word.replace('"', '\\"') for word in WORDS[target])
        (CORPUS / f"{target}.dict").write_text("".join(f'"{word}"\n' for word in quoted))


if __name__ == "__main__":
    main()
