"""The picture half of CLIP (Radford et al. 2021): features learned from captions, which tell content from texture.

    feature = W h,   h the class token after the last layer        (image_embeds of CLIPVisionModelWithProjection)

As they are, not divided by their length: so the Frechet distance takes them (Kynkaanniemi et al. 2023). The weights are
the user's, a folder as transformers saves it; safetensors alone are read, and nothing in the folder is run.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from aurify.errors import UserError
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.rgb import are_pictures, rgb
from aurify.evaluate.samples import Samples
from aurify.home import home
from aurify.spec import Grid

CONFIG, WEIGHTS, PREPARATION = FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
BATCH = 16
MODES = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


@dataclass(frozen=True)
class Preparation:
    """What is done to a picture first: resized, cropped about its middle, mean and spread evened out.

    Attributes:
        size: (height, width), or the length of the shorter side.
        crop: (height, width).
        mean, std: of each channel, of values from 0 to 1.
        mode: of interpolation, with antialiasing.
    """

    size: tuple[int, int] | int
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str

    @classmethod
    def read(cls, path: Path) -> "Preparation":
        """From preprocessor_config.json, of either age.

        Raises:
            ValueError, KeyError, TypeError: it is something else, or leaves out a step that every CLIP has.
        """
        facts = json.loads(path.read_text(encoding="utf-8"))
        for step in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
            if not facts.get(step, True):
                raise ValueError(f"{step} is false")
        size, crop = facts["size"], facts["crop_size"]
        if isinstance(size, dict):
            size = size["shortest_edge"] if "shortest_edge" in size else (size["height"], size["width"])
        crop = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
        mean, std = tuple(facts["image_mean"]), tuple(facts["image_std"])
        return cls(size, crop, mean, std, MODES[facts.get("resample", 3)])

    def __call__(self, x: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
        size = self.size
        if isinstance(size, int):
            size = tuple(int(size * side / min(x.shape[2:])) for side in x.shape[2:])
        x = F.interpolate(x, size, mode=self.mode, antialias=True, align_corners=False)
        top, left = ((there - wanted) // 2 for there, wanted in zip(size, self.crop, strict=True))
        x = x[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (x / 255 - mean) / std


class Clip(Embedder):
    kind = Grid
    title: ClassVar[str] = "CLIP"
    source: ClassVar[str] = "Radford et al. 2021; the folder home()/weights/clip"
    prepare: Preparation
    net: nn.Module

    @classmethod
    def suits(cls, train: Samples) -> int:
        """Before raw values alone: the verdict of a run rests on features that do not depend on whose machine it is."""
        there = (_folder() / WEIGHTS).is_file() and importlib.util.find_spec("transformers") is not None
        return int(there and are_pictures(train))

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        """Loads the weights.

        Raises:
            UserError: the folder holds no CLIP as transformers saves it.
        """
        folder = _folder()
        digest = hashlib.sha256()
        try:
            for name in FILES:  # the features depend on all of them
                with (folder / name).open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            self.prepare = Preparation.read(folder / PREPARATION)
            self.net = _network(folder)
            self.features(torch.zeros(1, 3, 28, 28, dtype=torch.uint8))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise UserError(f"{folder} holds no CLIP in the files {', '.join(FILES)}: {error!r}") from error
        self.weights = digest.hexdigest()[:12]
        yield 1.0

    @torch.inference_mode()
    def embed(self, samples: Samples) -> Tensor:
        assert samples.x is not None
        return torch.cat([self.features(rgb(part)) for part in samples.x.split(BATCH)])

    def features(self, x: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        return self.net(pixel_values=self.prepare(x)).image_embeds


def _folder() -> Path:
    return home() / "weights" / "clip"


def _network(folder: Path) -> nn.Module:
    """The vision half alone, in float32; the text half is not even read."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config: Any = CLIPVisionConfig.from_pretrained(folder, local_files_only=True)
    with safe_open(folder / WEIGHTS, "pt") as file:
        names = [n for n in file.keys() if n.startswith(("vision_model.", "visual_projection."))]  # noqa: SIM118
        state = {name: file.get_tensor(name).float() for name in names if not name.endswith("position_ids")}
    net = CLIPVisionModelWithProjection(config)
    net.load_state_dict(state)
    return net.eval().requires_grad_(False)
