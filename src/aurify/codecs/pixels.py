"""Pictures as sequences: pixel after pixel in raster order, each channel a symbol of 2, 4, 16 or 256 levels.

    x_((i W + j) C + c) = level of channel c in row i, column j          (van den Oord et al. 2016, PixelRNN)

What families that say the next symbol make pictures with. Of k levels, x / (k - 1) is the one nearest to v / 255.
255 is a multiple of k - 1 for each of these k, so every level is a whole grey value.
"""

# H height, W width, C channels (1 grey, 3 RGB), k levels

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from aurify import pictures, png
from aurify.codec import Codec, Preview
from aurify.errors import UserError
from aurify.pictures import CHANNELS, Size
from aurify.spec import Tokens

MOST = 2**16  # symbols of a picture


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: Literal[2, 4, 16, 256] = Field(default=16, description="of a channel; 2: black and white")
    size: Size = Field(default=None, description="height and width, as 28 or 24x32; by default found from the pictures")
    longest: int = Field(default=32, ge=1, le=256, description="limit of the longer side, where no size is given")
    mode: Literal["grey", "rgb"] | None = Field(
        default=None, description="grey or rgb (red, green, blue of each pixel in turn); by default as the pictures are"
    )
    rounding: Literal["nearest", "drawn"] = Field(
        default="nearest", description="nearest level, or one of the two around by chance: once for each picture"
    )


class Pixels(Codec[np.ndarray]):
    """Pictures as arrays (H, W, C), uint8, to H W C symbols and back.

    What `fit` decides where the configuration does not:
        mode: grey where all pictures are, even if stored as RGB, else rgb. Transparency is laid on white.
        size: that of the pictures, if they share one whose longer side is at most `longest`; else as `image` does.

    Stated loss: none for a picture already of the fitted size and mode whose values are levels. Others are brought to
    size and mode as `image` does it, and each value to a level: the nearest; or, with rounding "drawn", up or down by
    chance so that the mean is the value (of two levels: white with probability v / 255). The chance is seeded by the
    picture's own pixels, so that encoding is a function of the picture: a static binarisation, not one drawn anew in
    every epoch.
    """

    suffixes: ClassVar[tuple[str, ...]] = pictures.SUFFIXES
    gives = Tokens
    Config = Config
    config: Config
    spec: Tokens  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: Config | None = None):
        self.config = config or Config()

    def fit(self, samples: Iterable[np.ndarray]) -> Tokens:
        """Raises UserError for no pictures, and for pictures of more than MOST symbols."""
        config = self.config
        sizes, needed, _ = pictures.survey(pictures.to_mode(s, "rgb") for s in samples)
        mode = config.mode or needed
        size, why = (config.size, "as configured") if config.size else pictures.common_size(sizes, config.longest)
        length = size[0] * size[1] * CHANNELS[mode]
        if length > MOST:
            raise UserError(
                f"{size[0]} x {size[1]} pixels in {mode} are {length:,} symbols a picture, and {MOST:,} are the most; "
                "ask for less: --set size=32"
            )
        self.notes = (
            f"Pictures become {size[0]} x {size[1]} (height x width): {why}.",
            f"Their mode is {mode}" + (", as configured." if config.mode else ", the smallest that loses nothing."),
            f"Each value becomes one of {config.levels} levels ({config.rounding}), a picture {length:,} symbols in "
            "raster order.",
        )
        return self.restore({"size": list(size), "mode": mode})

    def read(self, data: bytes) -> np.ndarray:
        return pictures.read(data)

    def write(self, sample: np.ndarray, path: Path, record: dict[str, Any]) -> Path:
        return png.write(sample, path, record)

    def encode(self, sample: np.ndarray) -> UInt8[Tensor, " L"]:
        picture = pictures.to_bits(pictures.to_mode(sample, self.mode), 8)
        if picture.shape[:2] != self.size:
            picture = pictures.cover(picture, self.size)
        return torch.from_numpy(self.rounded(picture).ravel())

    def rounded(self, picture: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W C"]:
        """v (k - 1) / 255 to a whole number, in exact arithmetic."""
        scaled = picture.astype(np.int64) * (self.config.levels - 1)
        if self.config.rounding == "nearest":
            return ((scaled + 127) // 255).astype(np.uint8)
        seed = int.from_bytes(hashlib.sha256(picture.tobytes()).digest()[:8], "little")
        return ((scaled + np.random.default_rng(seed).integers(0, 255, picture.shape)) // 255).astype(np.uint8)

    def decode(self, x: Integer[Tensor, " L"]) -> np.ndarray:
        """Symbols beyond the alphabet are clamped."""
        levels = x.detach().cpu().long().clamp(0, self.config.levels - 1).numpy()
        values = (levels * (255 // (self.config.levels - 1))).astype(np.uint8)
        return values.reshape(*self.size, CHANNELS[self.mode])

    def seen(self, x: Int[Tensor, "n L"]) -> Float[Tensor, "n C H W"]:
        """Figures look at pictures, as they do at those of `image`."""
        picture = x.reshape(len(x), *self.size, CHANNELS[self.mode]).permute(0, 3, 1, 2)
        return picture.float() * (2 / (self.config.levels - 1)) - 1

    def preview(self, samples: list[np.ndarray]) -> Preview:
        return pictures.preview(samples)

    def fingerprint(self, sample: np.ndarray) -> np.ndarray:
        return pictures.fingerprint(sample)

    def describe(self, sample: np.ndarray) -> str:
        return pictures.describe(sample)

    def same(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Equal once brought to the fitted size, mode and levels; b must already be so."""
        fits = b.shape == (*self.size, CHANNELS[self.mode]) and b.dtype == np.uint8
        return fits and torch.equal(self.encode(a), self.encode(b))

    @classmethod
    def examples(cls, n: int, seed: int) -> list[np.ndarray]:
        """Grey discs of 5 x 5 pixels: short sequences."""
        return [pictures.to_mode(disc, "grey") for disc in pictures.discs(n, seed, 5)]

    @property
    def state(self) -> dict[str, Any]:
        return {"size": list(self.size), "mode": self.mode}

    def restore(self, state: dict[str, Any]) -> Tokens:
        self.mode, self.size = state["mode"], tuple(state["size"])
        length = self.size[0] * self.size[1] * CHANNELS[self.mode]
        self.spec = Tokens(length, self.config.levels)  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.spec
