"""Small sources of samples for tests."""

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from aurify import codec as codecs
from aurify.data.source import open_source


def png(value: int, size: int = 8) -> bytes:
    """A small picture that only its value tells from others."""
    pixels = np.random.default_rng(value).integers(0, 256, (size, size), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def tree(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


def read_all(path: Path, codec: str | None = None, **options) -> list:
    source = open_source(path, codec, **options)
    reader = codecs.load(source.codec)()
    return [(item, item.read(reader)[0]) for item in source.items]
