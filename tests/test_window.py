"""Sliding-window attention against full attention with a mask, against itself without a cache, and against Qwen3."""

import pytest
import torch
import torch.nn.functional as F

from aurify.cond import Cond
from aurify.families.transformer import Options
from aurify.nets.decode import Decoding
from aurify.nets.transformer import to_qwen3, windowed
from aurify.rng import BatchRng, SampleRng
from test_transformer import STREAM, make, net, slow


@pytest.mark.parametrize("window", [1, 3, 4, 7])
@pytest.mark.parametrize("length", [8, 13])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_blocks_are_full_attention_under_a_band(window: int, length: int, kv_heads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, h, length, 6, generator=generator, dtype=torch.float64) for h in (4, kv_heads, kv_heads))
    i, j = torch.arange(length)[:, None], torch.arange(length)
    how = {"scale": 0.7, "enable_gqa": True}
    band = F.scaled_dot_product_attention(q, k, v, attn_mask=(j <= i) & (i - j < window), **how)
    torch.testing.assert_close(windowed(q, k, v, window, **how), band, atol=1e-12, rtol=0)


def test_gradients_are_those_of_the_band() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 11, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in "qkv")
    assert torch.autograd.gradcheck(lambda *x: windowed(*x, 3, scale=0.5, enable_gqa=False), (q, k, v))


@pytest.mark.parametrize("window", [1, 5, 8, 23])
def test_a_cache_of_a_window_gives_the_logits_of_all_at_once(window: int) -> None:
    model = net(window=window, kv_heads=2)
    x = torch.randint(12, (3, 24), generator=torch.Generator().manual_seed(1))
    whole = model(x)
    for begun in (2, window, 20):
        decoding = Decoding(model, 3)
        assert decoding.cache.shape[3] == window
        steps = [decoding.start(x[:, :begun])] + [decoding.step(x[:, t]) for t in range(begun, 24)]
        torch.testing.assert_close(torch.stack(steps, 1), whole[:, begun - 1 :], atol=1e-5, rtol=0)


def test_a_window_as_long_as_the_context_is_none() -> None:
    x = torch.randint(12, (3, 24), generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(window=24)(x), net()(x))


def test_no_symbol_is_seen_from_farther_than_all_layers_reach() -> None:
    model = net(window=3)  # three layers of which each reaches two back
    x = torch.randint(12, (2, 24), generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, 5] = (x[:, 5] + 1) % 12
    moved = (model(x) != model(changed)).any(-1).any(0)
    assert moved.tolist() == [5 <= t <= 5 + 3 * 2 for t in range(24)]


def test_qwen3_with_a_sliding_window_is_the_same_function() -> None:
    transformers = pytest.importorskip("transformers")
    model = net(window=5, kv_heads=2)
    arguments, state = to_qwen3(model)
    theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**arguments)).eval()
    theirs.load_state_dict(state)
    x = torch.randint(12, (3, 24), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(theirs(x).logits[..., :11], model(x), atol=1e-5, rtol=0)


def test_a_stream_goes_on_beyond_its_context_and_its_window() -> None:
    model, options = make(STREAM, window=4), Options(length=40, prefix=(1, 2, 3))
    x = model.sample(Cond(), SampleRng(1, range(3)), options)
    assert torch.equal(x, slow(model, options, SampleRng(1, range(3))))


def test_the_future_does_not_change_the_past_of_a_window() -> None:
    model, x = make(STREAM, window=4), STREAM.like(BatchRng(0, 4))
    changed = x.clone()
    changed[:, 9:] = (x[:, 9:] + 1) % 7
    assert torch.equal(model.log_probs(x, Cond())[:, :9], model.log_probs(changed, Cond())[:, :9])
