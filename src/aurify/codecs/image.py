"""Pictures: grey, RGB or RGBA, 8 or 16 bits, as a grid of (channels, height, width)."""

# H height, W width, C channels; `top` the largest value a channel can take (255 or 65535)

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from aurify import pictures, png
from aurify.codec import Codec, Preview
from aurify.pictures import CHANNELS, Mode, Size
from aurify.spec import Grid

LONGEST = 64  # default limit of the longer side

grid, record_of = pictures.grid, png.record_of


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Size = Field(default=None, description="height and width, as 32 or 48x64; by default found from the pictures")
    mode: Mode | None = Field(default=None, description="grey, rgb or rgba; by default the smallest that loses nothing")


class Image(Codec[np.ndarray]):
    """Pictures as arrays (H, W, C), uint8 or uint16, with 1 (grey), 3 (RGB) or 4 (RGBA) channels.

    What `fit` decides where the configuration does not:
        mode: the smallest that loses nothing. All pictures grey, even if stored as RGB: grey. Any pixel not fully
            opaque: rgba. Else rgb.
        bits: 16 if any picture has 16, else 8.
        size: the size of the pictures, if they share one and its longer side is at most 64. Else the median aspect
            ratio, with the longer side the largest multiple of 8 that is at most 64 and at most the median longer
            side; the shorter side is rounded to a multiple of 8 and is never longer than the median shorter side.

    Stated loss: none for a picture already of the fitted size, mode and bits. Others are scaled to fill the size
    (Lanczos, antialiased, colours weighted by opacity) and cut at the centre; colour in a grey codec becomes luma
    (ITU-R BT.601); transparency in a codec without it is laid on white. Colour profiles are ignored, and files of
    16-bit colour are read at 8 bits (16-bit grey is kept).
    """

    suffixes: ClassVar[tuple[str, ...]] = pictures.SUFFIXES
    gives = Grid
    Config = Config
    config: Config
    spec: Grid  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: Config | None = None):
        self.config = config or Config()
        self.bits = 8

    def fit(self, samples: Iterable[np.ndarray]) -> Grid:
        sizes, needed, bits = pictures.survey(samples)
        mode = self.config.mode or needed
        given = self.config.size
        size, why = (given, "as configured") if given else pictures.common_size(sizes, LONGEST)
        self.notes = (
            f"Pictures become {size[0]} x {size[1]} (height x width): {why}.",
            f"Their mode is {mode}"
            + (", as configured." if self.config.mode else ", the smallest that loses nothing."),
            f"They are kept at {bits} bits a channel.",
        )
        return self.restore({"size": list(size), "mode": mode, "bits": bits})

    def read(self, data: bytes) -> np.ndarray:
        return pictures.read(data)

    def write(self, sample: np.ndarray, path: Path, record: dict[str, Any]) -> Path:
        return png.write(sample, path, record)

    def encode(self, sample: np.ndarray) -> UInt[Tensor, "C H W"]:
        picture = pictures.to_bits(pictures.to_mode(sample, self.mode), self.bits)
        if picture.shape[:2] != self.spec.size:
            picture = pictures.cover(picture, self.spec.size)
        return torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))

    def decode(self, x: Float[Tensor, "C H W"] | UInt[Tensor, "C H W"]) -> np.ndarray:
        """Values beyond [-1, 1] are clamped; what is not a number becomes mid grey."""
        values = self.levels(self.spec.widen(x.detach().cpu())).numpy().astype(f"uint{self.bits}")
        return np.ascontiguousarray(values.transpose(1, 2, 0))

    def seen(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C H W"]:
        """What a file of each picture holds: a network may put out more than white, and finer steps than there are."""
        return self.levels(x) * (2 / (2**self.bits - 1)) - 1

    def levels(self, x: Tensor) -> Tensor:
        """-1 to 1 as whole numbers from 0 to 2^bits - 1."""
        return ((x.nan_to_num(nan=0.0).clamp(-1, 1) + 1) * ((2**self.bits - 1) / 2)).round()

    def preview(self, samples: list[np.ndarray]) -> Preview:
        return pictures.preview(samples)

    def fingerprint(self, sample: np.ndarray) -> np.ndarray:
        return pictures.fingerprint(sample)

    def describe(self, sample: np.ndarray) -> str:
        return pictures.describe(sample)

    def same(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Equal once brought to the fitted size, mode and bits; b must already be so."""
        fits = b.shape == (*self.spec.size, self.spec.channels) and b.dtype.itemsize * 8 == self.bits
        return fits and torch.equal(self.encode(a), self.encode(b))

    @classmethod
    def examples(cls, n: int, seed: int) -> list[np.ndarray]:
        return pictures.discs(n, seed)

    @property
    def state(self) -> dict[str, Any]:
        return {"size": list(self.spec.size), "mode": self.mode, "bits": self.bits}

    def restore(self, state: dict[str, Any]) -> Grid:
        self.mode, self.bits = state["mode"], state["bits"]
        self.spec = Grid(CHANNELS[self.mode], tuple(state["size"]))  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.spec
