"""A convolution and the batch norm after it as one convolution, which gives the same and costs less.

y = gain (W x - mean) / sqrt(variance + e) + bias  =  (W s) x + (bias - mean s),   s = gain / sqrt(variance + e)
"""

from collections.abc import Mapping

from torch import Tensor

EPSILON = 1e-3  # as TensorFlow's networks have it


def folded(weight: Tensor, state: Mapping[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """Weight and bias, float32, reckoned in float64; `norm` names the batch norm in the state."""
    parts = ("weight", "bias", "running_mean", "running_var")
    gain, bias, mean, variance = (state[f"{norm}.{part}"].double() for part in parts)
    scale = gain / (variance + EPSILON).sqrt()
    return (weight.double() * scale[:, None, None, None]).float(), (bias - mean * scale).float()
