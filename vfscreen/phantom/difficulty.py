"""How hard films are to read: two settings, one place for what differs between them.

``EASY`` films are what a textbook prints: bones well delineated, the spine in the middle, every
fracture with a dense end plate. ``USUAL`` films are what an archive holds: the same patients in
the same mix, but thin and thick, osteopenic, turned, breathing, over- and underexposed, behind gas,
stool, contrast medium and lines, their normal vertebrae as varied as people's, their fractures as
often old as fresh. The default is what the shipped demonstration checkpoint was trained on.
"""

from dataclasses import dataclass
from enum import StrEnum

Range = tuple[float, float]


class Difficulty(StrEnum):
    """Which films are drawn."""

    EASY = "easy"
    USUAL = "usual"


DEFAULT_DIFFICULTY = Difficulty.EASY


@dataclass(frozen=True, slots=True)
class Setting:
    """The numbers in which the settings differ; standard deviations end in ``_sd``.

    What only ``USUAL`` films have at all (variants of the normal, what lies over the spine) is
    drawn from streams of its own where ``varied`` is set.
    """

    varied: bool
    # Body: z-score of the weight (mean, deviation, least, most), density of bone (the same), how
    # far the cortex thins along with the cancellous bone, turned pelvis.
    weight: tuple[float, float, float, float]
    bone: tuple[float, float, float, float]
    cortex_follows: float
    rotation_sd: float
    # Spine: lateral lean, rotation about its axis, slope of the end plates against the beam (of all
    # and of each), degenerated discs and how common spurs are without one, share of marked curves,
    # deviation of a body's height and disc from what its neighbours suggest.
    lean_sd: float
    axial_sd: float
    slope_sd_deg: float
    own_slope_sd_deg: float
    degeneration: float
    spur_share: float
    curve_share: float
    height_sd: float
    disc_sd: float
    # Field of view: centring across, share of films cut above T10, and how far they may be (mm).
    centre_sd_mm: float
    cut_share: float
    cut_mm: float
    # Fractures: shares of wedge, biconcave and crush by grade; what front and back lose relative to
    # the worst height; then what fades with age: density of the crushed trabeculae, buckled rim,
    # bone mass kept (exponent of the loss), density of the end plate.
    shapes: tuple[tuple[float, float, float], ...]
    minor: Range
    impaction: Range
    step_mm: Range
    packing: Range
    plate_gain: Range
    # Exposure: logarithm of the photons per square millimetre (mean, deviation), scatter to
    # primary for a body of usual thickness and how steeply it grows with it, unsharpness, share of
    # films on which the patient breathes.
    photons: tuple[float, float]
    scatter: Range
    scatter_power: float
    scatter_most: float
    blur_mm: Range
    moved_share: float
    # Display: width of the window, room above the spine (negative: burnt out), local contrast.
    latitude: Range
    spine_headroom: Range
    detail: Range
    # Structure of the soft tissue, relative.
    clutter: float


SETTINGS = {
    Difficulty.EASY: Setting(
        varied=False,
        weight=(0.0, 1.0, -1.8, 2.4),
        bone=(1.05, 0.13, 0.45, 1.35),
        cortex_follows=0.4,
        rotation_sd=0.05,
        lean_sd=0.015,
        axial_sd=0.06,
        slope_sd_deg=2.5,
        own_slope_sd_deg=1.2,
        degeneration=1.0,
        spur_share=0.12,
        curve_share=0.15,
        height_sd=0.018,
        disc_sd=0.09,
        centre_sd_mm=7.0,
        cut_share=0.15,
        cut_mm=30.0,
        shapes=((0.45, 0.25, 0.30),) * 3,
        minor=(0.50, 0.72),
        impaction=(0.5, 1.1),
        step_mm=(1.0, 1.8),
        packing=(0.75, 0.75),
        plate_gain=(1.4, 1.4),
        photons=(10.2, 0.35),
        scatter=(0.25, 0.6),
        scatter_power=1.0,
        scatter_most=0.9,
        blur_mm=(0.10, 0.22),
        moved_share=0.0,
        latitude=(1.0, 1.7),
        spine_headroom=(0.06, 0.28),
        detail=(0.5, 1.5),
        clutter=1.0,
    ),
    Difficulty.USUAL: Setting(
        varied=True,
        # In many countries a third of the adults are obese (NCD-RisC 2024, Lancet 403:1027).
        weight=(0.4, 1.15, -1.9, 3.2),
        bone=(0.92, 0.20, 0.22, 1.35),
        cortex_follows=0.7,
        rotation_sd=0.11,
        lean_sd=0.03,
        axial_sd=0.14,
        slope_sd_deg=4.5,
        own_slope_sd_deg=2.8,
        degeneration=1.8,
        spur_share=0.25,
        curve_share=0.30,
        # Ratios of the heights of normal neighbours scatter by 5 to 6 % in morphometry (Black et
        # al. 1995, J Bone Miner Res 10:890).
        height_sd=0.04,
        disc_sd=0.13,
        centre_sd_mm=22.0,
        cut_share=0.28,
        cut_mm=70.0,
        # Mild fractures are wedges and dents of an end plate; crushed bodies lose more.
        shapes=((0.60, 0.35, 0.05), (0.50, 0.30, 0.20), (0.40, 0.20, 0.40)),
        # A wedge keeps its back wall: that is what hides it from the front.
        minor=(0.0, 0.6),
        impaction=(-0.6, 0.9),
        step_mm=(0.0, 1.2),
        packing=(0.0, 0.6),
        plate_gain=(0.9, 1.25),
        photons=(9.1, 0.75),
        scatter=(0.35, 0.95),
        scatter_power=1.8,
        scatter_most=2.4,
        blur_mm=(0.12, 0.6),
        moved_share=0.25,
        latitude=(1.1, 2.7),
        spine_headroom=(-0.15, 0.55),
        detail=(0.15, 1.4),
        clutter=1.8,
    ),
}
