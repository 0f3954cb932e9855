"""What may become of a film's display between two sites, for tests of how far figures carry.

The same seed gives the same patients, findings, reports and headers with and without a shift: only
the display differs, and whatever differs in a figure is its doing.
"""

from enum import StrEnum


class Shift(StrEnum):
    """Another display of the same films."""

    CURVE = "curve"  # another manufacturer: hard curve, strong edges, other window
    NOISE = "noise"  # a fraction of the dose
    PHOTOGRAPH = "photograph"  # taken from a screen with a telephone
