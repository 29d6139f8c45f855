"""Any picture in any mode loses what the codec states, and any stored tensor is a picture."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from test_image import arrays, fitted, relaxed


@relaxed
@given(arrays(), st.integers(0, 2**32 - 1))
def test_any_stored_tensor_is_a_picture_and_comes_back_exactly(picture, seed):
    codec = fitted(picture)
    values = np.random.default_rng(seed).integers(0, 2**codec.bits, codec.spec.shape, dtype=f"uint{codec.bits}")
    assert (codec.encode(codec.decode(torch.from_numpy(values))).numpy() == values).all()


@relaxed
@given(arrays(), st.sampled_from(["grey", "rgb", "rgba"]))
def test_a_mode_loses_what_is_stated_and_nothing_else(picture, mode):
    """Transparency is laid on white, colour becomes luma, each to the nearest value."""
    codec = fitted(picture, mode=mode)
    colour, opacity, top = picture[..., :3] / np.iinfo(picture.dtype).max, 1.0, np.iinfo(picture.dtype).max
    if picture.shape[2] == 4 and mode != "rgba":
        opacity = picture[..., 3:] / top
    expected = colour * opacity + 1 - opacity
    if mode == "grey" and picture.shape[2] > 1:
        expected = (expected * [0.299, 0.587, 0.114]).sum(-1, keepdims=True)
    back = codec.decode(codec.spec.widen(codec.encode(picture)))
    assert codec.same(picture, back) and back.shape[2] == {"grey": 1, "rgb": 3, "rgba": 4}[mode]
    assert np.abs(back[..., :3] / top - expected).max() <= 1.01 / top
