"""Inception-v3 as the Frechet inception distance uses it: the features most published figures of pictures rest on.

    feature = mean over places of the last block's output        (Szegedy et al. 2016; Heusel et al. 2017)

The weights are the user's: a file of 2015 turned to torch's old format, read without executing it. The libraries that
carry this network unpickle the file and want torchvision, so it is written out here; a test holds it equal to
torch-fidelity's. Names are the file's. It is not torchvision's Inception: means leave padding out, the last block
takes a maximum, and pictures are resized as TensorFlow 1 did it.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from aurify.errors import UserError
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.folded import folded
from aurify.evaluate.rgb import are_pictures, rgb
from aurify.evaluate.samples import Samples
from aurify.evaluate.torch_file import tensors
from aurify.home import home
from aurify.spec import Grid

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # of the file that is behind "FID"
FILES = ("inception.pth", *(f"{start}inception-2015-12-05-6726825d.pth" for start in ("pt_", "weights-")))
SIDE, BATCH = 299, 16


class Inception(Embedder):
    kind = Grid
    title: ClassVar[str] = "Inception-v3"
    source: ClassVar[str] = "Szegedy et al. 2016; weights of 2015-12-05 in home()/weights"
    folded: dict[str, tuple[Tensor, Tensor]]

    @classmethod
    def suits(cls, train: Samples) -> int:
        """Before raw values alone: the verdict of a run rests on features that do not depend on whose machine it is."""
        return int(are_pictures(train) and _file() is not None)

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        """Loads the weights.

        Raises:
            UserError: they are not of this network, or the file is torn.
        """
        path = _file()
        assert path is not None
        try:
            self.folded = fold(tensors(path))
            self.features(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        except (ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"{path} is no Inception-v3 ({error}); put {FILES[1]} of pytorch-fid there") from error
        self.weights = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        yield 1.0

    @torch.inference_mode()
    def embed(self, samples: Samples) -> Tensor:
        assert samples.x is not None
        return torch.cat([self.features(rgb(part)) for part in samples.x.split(BATCH)])

    def features(self, x: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2048"]:
        h = (resized(x.float()) - 128) / 128
        h = self.conv(h, "Conv2d_1a_3x3", stride=2)
        h = self.conv(h, "Conv2d_2a_3x3", pad=False)
        h = F.max_pool2d(self.conv(h, "Conv2d_2b_3x3"), 3, 2)
        h = self.conv(h, "Conv2d_3b_1x1")
        h = F.max_pool2d(self.conv(h, "Conv2d_4a_3x3", pad=False), 3, 2)
        for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            h = self.by_fives(h, block)
        h = self.to_17(h, "Mixed_6a")
        for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            h = self.by_sevens(h, block)
        h = self.to_8(h, "Mixed_7a")
        h = self.widest(h, "Mixed_7b", mean(h))
        h = self.widest(h, "Mixed_7c", F.max_pool2d(h, 3, 1, 1))
        return h.mean((2, 3))

    def by_fives(self, x: Tensor, block: str) -> Tensor:
        """Szegedy et al. 2016, Fig. 5, with 5 x 5 in one of the branches."""
        one = self.branch(x, block, "1x1")
        five = self.branch(x, block, "5x5_1", "5x5_2")
        three = self.branch(x, block, "3x3dbl_1", "3x3dbl_2", "3x3dbl_3")
        return torch.cat([one, five, three, self.branch(mean(x), block, "_pool")], 1)

    def to_17(self, x: Tensor, block: str) -> Tensor:
        """35 x 35 to 17 x 17: Fig. 10."""
        three = self.branch(x, block, "3x3", stride=2)
        twice = self.branch(x, block, "3x3dbl_1", "3x3dbl_2", "3x3dbl_3", stride=2)
        return torch.cat([three, twice, F.max_pool2d(x, 3, 2)], 1)

    def by_sevens(self, x: Tensor, block: str) -> Tensor:
        """Fig. 6, n = 7: 1 x 7 and 7 x 1 in turn."""
        one = self.branch(x, block, "1x1")
        seven = self.branch(x, block, *(f"7x7_{i}" for i in (1, 2, 3)))
        twice = self.branch(x, block, *(f"7x7dbl_{i}" for i in (1, 2, 3, 4, 5)))
        return torch.cat([one, seven, twice, self.branch(mean(x), block, "_pool")], 1)

    def to_8(self, x: Tensor, block: str) -> Tensor:
        """17 x 17 to 8 x 8."""
        three = self.branch(x, block, "3x3_1", "3x3_2", stride=2)
        seven = self.branch(x, block, *(f"7x7x3_{i}" for i in (1, 2, 3, 4)), stride=2)
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)

    def widest(self, x: Tensor, block: str, pooled: Tensor) -> Tensor:
        """Fig. 7: 1 x 3 and 3 x 1 side by side."""
        one = self.branch(x, block, "1x1")
        three = self.branch(x, block, "3x3_1")
        twice = self.branch(x, block, "3x3dbl_1", "3x3dbl_2")
        sides = [self.branch(three, block, f"3x3_2{side}") for side in "ab"]
        sides += [self.branch(twice, block, f"3x3dbl_3{side}") for side in "ab"]
        return torch.cat([one, *sides, self.branch(pooled, block, "_pool")], 1)

    def branch(self, x: Tensor, block: str, *steps: str, stride: int = 1) -> Tensor:
        """One convolution after another; the stride is the last one's."""
        for step in steps:
            x = self.conv(x, f"{block}.branch{step}", stride if step == steps[-1] else 1)
        return x

    def conv(self, x: Tensor, name: str, stride: int = 1, pad: bool = True) -> Tensor:
        """relu(convolution), padded to keep the size unless it has a stride."""
        weight, bias = self.folded[name]
        padding = [n // 2 if pad and stride == 1 else 0 for n in weight.shape[2:]]
        return F.relu_(F.conv2d(x, weight, bias, stride, padding))


def mean(x: Tensor) -> Tensor:
    """Of the 3 x 3 places round each, those outside left out."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def resized(x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 299 299"]:
    """Bilinear as TensorFlow 1 did it: place i is taken from i n / 299, with no half pixel and no smoothing."""
    for axis in (3, 2):
        n = x.shape[axis]
        at = torch.arange(SIDE, dtype=torch.float32) * (n / SIDE)
        low = at.long()
        left, right = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=n - 1))
        share = at - low
        x = left + (right - left) * (share if axis == 3 else share[:, None])
    return x


def fold(state: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Each convolution with the batch norm after it as one: weight and bias by name."""
    found = {}
    for name in (key.removesuffix(".conv.weight") for key in state if key.endswith(".conv.weight")):
        weight, bias = folded(state[f"{name}.conv.weight"], state, f"{name}.bn")
        found[name] = weight.contiguous(memory_format=torch.channels_last), bias  # faster
    return found


def _file() -> Path | None:
    return next((path for name in FILES if (path := home() / "weights" / name).is_file()), None)
