"""Small or random stand-ins for the weights that a user brings, saved as their own libraries save them."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

TORCH_FIDELITY = importlib.util.find_spec("torch_fidelity")  # found, not run: it imports torchvision
TRANSFORMERS = importlib.util.find_spec("transformers")


def fidelity(module: str) -> Any:
    """One module of torch-fidelity, without what the package itself imports."""
    assert TORCH_FIDELITY and TORCH_FIDELITY.submodule_search_locations
    if "torch_fidelity" not in sys.modules:
        bare = sys.modules["torch_fidelity"] = ModuleType("torch_fidelity")
        bare.__path__ = list(TORCH_FIDELITY.submodule_search_locations)
    return importlib.import_module(f"torch_fidelity.{module}")


def inception(path: Path) -> None:
    """The library's own network with random weights that keep the size of what passes through."""
    library = fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3

    class Blank(library):
        def load_state_dict(self, state: Any) -> None:
            pass

    torch.save({}, path)
    net, g = Blank("random", ["2048"], str(path)), torch.Generator().manual_seed(0)
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.normal_(0, (2 / part.weight[0].numel()) ** 0.5, generator=g)
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_var, part.weight):
                tensor.uniform_(0.8, 1.2, generator=g)
            for tensor in (part.running_mean, part.bias):
                tensor.normal_(0, 0.1, generator=g)
    torch.save(dict(net.state_dict()), path, _use_new_zipfile_serialization=False)  # as the published file is saved


def clip(folder: Path, side: int = 32) -> Any:
    """A CLIP of both halves, tiny; returns it."""
    import transformers

    both = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    both |= {"projection_dim": 24}
    text = {"vocab_size": 20, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 8}
    vision = {"image_size": side, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=both | text, vision_config=both | vision, projection_dim=24)
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval().requires_grad_(False)
    model.save_pretrained(folder)
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)
    return model


def give(home: Path) -> None:
    """Puts what can be made here where a user would put the published weights."""
    (home / "weights").mkdir(parents=True)
    if TORCH_FIDELITY:
        inception(home / "weights" / "inception.pth")
    if TRANSFORMERS:
        clip(home / "weights" / "clip")
