"""How a film becomes the network's input: one spec, shared by training and inference.

The spec is part of a checkpoint's identity (`model_sha256`): what training did, inference does.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from vfscreen.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From stored values to normalised pixels.

    Stored value, modality LUT or rescale, first VOI LUT or window (`window_rule`), 0..1,
    inversion last (PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6); then a stretch to a square of
    `input_size_px` with an antialiased triangle filter; then `(x - mean) / std`.

    `first_voi_else_percentile`: a film without a VOI is shown linearly between the
    `low_percentile` and the `high_percentile` of its modality values, padding left out.
    """

    input_size_px: int = 224
    window_rule: str = "first_voi_else_percentile"
    low_percentile: float = 0.5
    high_percentile: float = 99.5
    interpolation: str = "linear_antialias"
    aspect: str = "stretch"
    mean: float = 0.45
    std: float = 0.25
    version: int = 1


def to_json(spec: Preprocessing) -> dict[str, Any]:
    """The spec as a JSON object, keys in the order of the dataclass."""
    return asdict(spec)


def from_json(raw: Any) -> Preprocessing:
    """Read a spec from a checkpoint's metadata.

    Raises
    ------
    CheckpointError
        A key is unknown or missing, or the spec asks for a rule that this version does not have:
        a film prepared in another way than in training would be scored wrongly, in silence.
    """
    names = [f.name for f in fields(Preprocessing)]
    if not isinstance(raw, dict) or sorted(raw) != sorted(names):
        raise CheckpointError(
            "The checkpoint's preprocessing is not understood by this version of vfscreen; "
            "use the version that it was made with."
        )
    spec = Preprocessing(**raw)
    known = Preprocessing()
    for name in ("window_rule", "interpolation", "aspect", "version"):
        if getattr(spec, name) != getattr(known, name):
            raise CheckpointError(
                f"The checkpoint's preprocessing has {name} = {getattr(spec, name)!r}, which this "
                "version of vfscreen does not know; use the version that it was made with."
            )
    numbers = (spec.low_percentile, spec.high_percentile, spec.mean, spec.std)
    if (
        type(spec.input_size_px) is not int
        or not all(type(number) in (int, float) and abs(number) < 1e6 for number in numbers)
        or not 16 <= spec.input_size_px <= 4096
        or not 0 <= spec.low_percentile < spec.high_percentile <= 100
        or not spec.std > 0
    ):
        raise CheckpointError("The checkpoint's preprocessing has an impossible size or scale.")
    return spec
