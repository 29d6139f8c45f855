"""How many digits a number deserves: two of its interval's half width, four where there is no interval."""

import math

from aurify.evaluate.figure import Measured

MOST = 7  # places after the point; smaller numbers are written with a power of ten,
LARGE = 1e9  # and so are larger ones
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def measured(m: Measured) -> tuple[str, str]:
    """(value, interval) as text: ("0.0123", "0.0101 to 0.0145")."""
    low, high = m.interval
    half = (high - low) / 2
    if not (math.isfinite(half) and half > 0):
        return number(m.value), "not known" if math.isnan(half) else f"{number(low)} to {number(high)}"
    places = 1 - math.floor(math.log10(half))
    return rounded(m.value, places), f"{rounded(low, places)} to {rounded(high, places)}"


def bounded(m: Measured) -> str:
    """Value and interval in one: "0.0123 (0.0101 to 0.0145)"."""
    value, interval = measured(m)
    return f"{value} ({'interval ' * (interval == 'not known')}{interval})"


def rounded(value: float, places: int) -> str:
    """To so many places after the point; places < 0 rounds before it."""
    if not math.isfinite(value):
        return number(value)
    if places > MOST or abs(value) >= LARGE:
        return power(value)
    return minus(f"{round(value, places) + 0.0:,.{max(places, 0)}f}")  # + 0.0: no minus before zero


def number(value: float) -> str:
    """At most four significant digits; whole numbers whole."""
    if not math.isfinite(value):
        return "not defined" if math.isnan(value) else minus("infinite" if value > 0 else "-infinite")
    if value == int(value) and abs(value) < 1e7:
        return minus(f"{int(value):,}")
    if 1e-3 <= abs(value) < 1e7:
        text = f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"
        return minus(text.rstrip("0").rstrip(".") if "." in text else text)
    return power(value)


def power(value: float) -> str:
    """Three significant digits and a power of ten: "1.31 × 10¹⁴"."""
    digits, _, exponent = f"{value:.3g}".partition("e")
    return minus(digits) + (f" × 10{str(int(exponent)).translate(RAISED)}" if exponent else "")


def share(value: float) -> str:
    """A share as a percentage: "93 %"."""
    return minus(f"{value * 100:,.0f} %") if math.isfinite(value) else "not defined"


def minus(text: str) -> str:
    """With the minus sign of print."""
    return text.replace("-", "\u2212")
