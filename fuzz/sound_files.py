"""Sound files of the kinds that ingestion, prediction and the server are given, from which mutants are made."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import random
import tarfile
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

KINDS = ("jpeg", "png", "gif", "bmp", "tiff", "webp", "zip", "tar", "idx", "csv", "jsonl", "parquet")
PICTURES = KINDS[:6]


def sound_files(draw: random.Random) -> dict[str, list[bytes]]:
    """Returns some sound files of each kind."""
    pixels = np.array([[[x * 5, y * 5, draw.randrange(256)] for x in range(48)] for y in range(36)], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, deep = Image.fromarray(pixels), Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    found: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    options: dict[str, list[dict[str, Any]]] = {
        "jpeg": [{}, {"progressive": True}],
        "tiff": [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}],
        "webp": [{}, {"lossless": True}],
    }
    for kind in PICTURES:
        modes = {"jpeg": ("RGB", "L", "CMYK"), "bmp": ("RGB", "L", "1"), "webp": ("RGB", "RGBA")}
        for mode in modes.get(kind, ("RGB", "L", "P", "1", "RGBA")):
            for option in options.get(kind, [{}]):
                with_exif = {"exif": exif} if kind in ("jpeg", "png", "webp") else {}
                found[kind].append(_saved(plain.convert(mode), kind, **option, **with_exif))
    found["png"].append(_saved(deep, "png"))
    found["tiff"].append(_saved(deep, "tiff"))
    small = [_saved(plain.resize((9, 7)), kind) for kind in ("png", "jpeg", "webp")]
    members = {f"{'ab'[place % 2]}/{place}.png": data for place, data in enumerate(small)}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        found["zip"].append(stream.getvalue())
    for mode in ("w", "w:gz", "w:xz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as tar:
            for name, data in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        found["tar"].append(stream.getvalue())
    images = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (3, 9, 7)) + pixels.tobytes()[:189]
    found["idx"] += [images, gzip.compress(images)]
    coded = [base64.b64encode(data).decode() for data in small]
    rows = [{"image": data, "label": f'"{label}", ä'} for data, label in zip(coded, "aba", strict=True)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    found["csv"].append(text.getvalue().encode())
    found["jsonl"].append("".join(json.dumps(row) + "\n" for row in rows).encode())
    for codec in ("NONE", "SNAPPY", "ZSTD"):
        stream = io.BytesIO()
        pq.write_table(pa.table({"image": small, "label": ["a", "b", "a"]}), stream, compression=codec)
        found["parquet"].append(stream.getvalue())
    return found


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
