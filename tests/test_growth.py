"""Steps that take longer as what is kept grows: found again from a few of them."""

import pytest

from aurify.growth import NONE, Step, grown


def steps(begin, end, power, a_byte):
    kept = {n: 1e6 * n**power for n in range(begin, end)}
    return [Step(n, b, 0.05 + a_byte * b) for n, b in kept.items()]


@pytest.mark.parametrize("power", [0.5, 0.8, 1.0])
def test_a_few_steps_tell_what_many_take_and_keep(power):
    seconds, growth = grown(steps(3, 11, power, 6e-9))
    many = steps(1, 201, power, 6e-9)
    assert 200 * seconds + growth.seconds(200) == pytest.approx(sum(step.seconds for step in many), rel=0.02)
    assert growth.since + growth.bytes(200) == pytest.approx(many[-1].bytes, rel=1e-6)


def test_steps_of_one_size_take_their_median_whatever_their_number():
    seconds, growth = grown([Step(n, 7.0, s) for n, s in enumerate([0.1, 0.5, 0.2])])
    assert (seconds, growth) == (0.2, NONE) and growth.seconds(1000) == growth.bytes(1000) == 0


def test_noise_that_makes_later_steps_faster_is_not_taken_for_shrinking():
    seconds, growth = grown([Step(n, 1e6 * n, 0.5 - 0.01 * n) for n in range(1, 9)])
    assert growth.seconds(10_000) == 0 and 0.4 < seconds < 0.5
