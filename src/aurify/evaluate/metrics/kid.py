"""Kernel distance: unbiased squared MMD of the cubic kernel (Binkowski et al. 2018, Sec. 4).

    k(x, y) = (x y / F + 1)^3
    d2 = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean of k(x_i, y_j)

All pairs are used, where others average random subsets of a thousand: the same expectation, less chance.
"""

from collections.abc import Iterable

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
    joint = 2
    sees = ("noise", "blur", "dropped-modes")

    def value(self, real: Real, made: Made) -> float:
        return self.both(real, made, Blocks.nobody(real, made))[0]

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        return self.both(real, made, blocks)[1]

    def both(self, real: Real, made: Made, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
        sums = sums_of(real, made, *blocks, blocks.number)
        in_x, in_y, across = (G.sum() for G in sums)
        return float(mmd2(in_x, in_y, across, len(real), len(made))), left_out(sums, blocks)

    def without_pairs(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " P"]:
        half = blocks.number // 2
        sums = (G.view(half, 2, half, 2).sum((1, 3)) for G in sums_of(real, made, *blocks, blocks.number))
        return left_out(sums, Blocks(blocks.real // 2, blocks.made // 2))


def left_out(sums: Iterable[Float[Tensor, "B B"]], blocks: Blocks) -> Float[Tensor, " B"]:
    """d2 without block b, for every b."""
    n, m = (sizes_without(block, blocks.number) for block in blocks)
    xx, yy, xy = map(without, sums)
    return mmd2(xx, yy, xy, n, m)


@remembered
def sums_of(
    real: Real, made: Made, left: Int[Tensor, " n"], right: Int[Tensor, " m"], count: int
) -> tuple[Float[Tensor, "B B"], ...]:
    """Sums within real samples, within generated ones, and between the two."""
    of_x, of_y = members(left, count), members(right, count)
    return among(real, left, count), within(cubic, made, of_y), between(cubic, real, made, of_x, of_y)


@remembered
def among(x: Float[Tensor, "n F"], block: Int[Tensor, " n"], count: int) -> Float[Tensor, "B B"]:
    """Sums within the real samples, to which every other set is compared."""
    return within(cubic, x, members(block, count))


def cubic(x: Float[Tensor, "n F"], y: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    k = (x @ y.T).div_(x.shape[1]).add_(1)
    return k.mul_(k * k)
