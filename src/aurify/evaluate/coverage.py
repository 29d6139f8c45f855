"""Coverage: the share of real samples that have a generated one in their neighbourhood (Naeem et al. 2020, Eq. 9).

Guidance that buys accuracy with sameness shows here: copies of ten perfect digits are read right and cover nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def coverage(real: Float[Tensor, "N F"], made: Float[Tensor, "M F"], k: int = 5) -> float:
    """1/N sum_i [min_j |real_i - made_j| <= radius_i], radius_i the distance to real_i's k-th nearest real neighbour.

    Depends on N and M: compare only figures of equal sizes, and beside what real samples reach against real ones.
    """
    distances = torch.cdist(real.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist")
    radius = distances.fill_diagonal_(float("inf")).kthvalue(k, dim=1).values
    nearest = torch.cdist(real.double(), made.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1).values
    return float((nearest <= radius).double().mean())
