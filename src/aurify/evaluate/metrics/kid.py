"""Kernel distance: unbiased squared MMD of the cubic kernel (Binkowski et al. 2018, Sec. 4).

    k(x, y) = (x y / F + 1)^3
    d2 = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean of k(x_i, y_j)

All pairs are used, where others average random subsets of a thousand: the same expectation, less chance.
"""

from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.kernels import between, members, mmd2, sizes_without, within, without
from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.remembered import remembered


class Kid(Metric):
    """Lower is better. Its expectation does not depend on n and is 0 for equal distributions, so that a sample of it
    may lie below zero; a set with itself has less than zero.
    """

    of = "features"
    title = "kernel distance, cubic"
    source = "Binkowski et al. 2018, Sec. 4, on these features"
    better = "lower"
    unbiased = True
    smallest = 3
    sees = ("noise", "blur", "dropped-modes")

    def value(self, real: Real, made: Made) -> float:
        return self.both(real, made, Blocks.nobody(real, made))[0]

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        return self.both(real, made, blocks)[1]

    def both(self, real: Real, made: Made, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
        count = blocks.number
        of = members(blocks[0], count), members(blocks[1], count)
        sums = among(real, blocks[0], count), within(cubic, made, of[1]), between(cubic, real, made, *of)
        in_x, in_y, across = (G.sum() for G in sums)
        whole = mmd2(in_x, in_y, across, len(real), len(made))
        n, m = (sizes_without(block, count) for block in blocks)
        xx, yy, xy = map(without, sums)
        return float(whole), mmd2(xx, yy, xy, n, m)


@remembered
def among(x: Float[Tensor, "n F"], block: Int[Tensor, " n"], count: int) -> Float[Tensor, "B B"]:
    """Sums within the real samples, to which every other set is compared."""
    return within(cubic, x, members(block, count))


def cubic(x: Float[Tensor, "n F"], y: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    k = (x @ y.T).div_(x.shape[1]).add_(1)
    return k.mul_(k * k)
