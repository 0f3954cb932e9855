"""The straightened column, in pixels: a bent bar stands upright, and every way leads back."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from vfscreen.errors import CheckpointError
from vfscreen.model.centreline import CURVE_POINTS, centreline
from vfscreen.model.column import (
    CELLS,
    LEVELS,
    ColumnSpec,
    column_spec,
    from_json,
    level_of,
    standard_places,
    to_json,
)
from vfscreen.model.straightening import (
    jittered,
    sampling,
    straighten,
    to_column,
    to_film,
)

SPEC = column_spec(224)
SPACING = 0.085


def bent(y, shift=0.06, lean=0.1):
    """x of a scoliotic spine at y."""
    return 0.5 + lean * (y - 0.5) + shift * np.exp(-(((y - 0.4) / 0.22) ** 2))


def centres(middle=0.47, spacing=SPACING, **curve):
    """Centres of an average spine, (levels, 2)."""
    y = middle + spacing * np.array(standard_places())
    return np.stack([bent(y, **curve), y], 1)


def heatmaps_of(points, *, mass=0.9, wrong=(), absent=(), column=True):
    """What a sure locator would answer, with some levels found at the wrong level, or nowhere."""
    at = (np.arange(CELLS) + 0.5) / CELLS
    maps = np.zeros((1, len(LEVELS) + 1, CELLS, CELLS), np.float32)
    for i, (x, y) in enumerate(points):
        if i in absent:
            continue
        if i in wrong:
            x, y = points[i - 1]
        blob = np.exp(-((at[:, None] - y) ** 2 + (at[None] - x) ** 2) * (CELLS / 0.8) ** 2 / 2)
        maps[0, i] = mass * blob / blob.sum()
    if column:
        inside = (at > points[0, 1]) & (at < points[-1, 1])
        width = np.abs(at[None] - np.interp(at, points[:, 1], points[:, 0])[:, None]) < 0.06
        maps[0, -1] = width & inside[:, None]
    return torch.from_numpy(maps)


def bar(size=600, **curve):
    """A film with a bent bar, 0.06 wide, that leaves the film at both ends."""
    at = (np.arange(size) + 0.5) / size
    return (np.abs(at[None] - bent(at, **curve)[:, None]) < 0.03).astype(np.float32)


def straighten_plainly(film, curve, spec):
    """The reference: a film (S, S) and a curve (K, 2), by SciPy, row after row."""
    size = len(film)
    step = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(step)])
    tangent = np.gradient(curve, axis=0)
    width = length[-1] * spec.width_px / spec.height_px
    rows = []
    for row in range(spec.height_px):
        s = (row + 0.5) / spec.height_px * length[-1]
        x, y = (np.interp(s, length, curve[:, axis]) for axis in (0, 1))
        dx, dy = (np.interp(s, length, tangent[:, axis]) for axis in (0, 1))
        across = ((np.arange(spec.width_px) + 0.5) / spec.width_px - 0.5) * width
        across /= np.hypot(dx, dy)
        at = np.stack([(y - across * dx) * size - 0.5, (x + across * dy) * size - 0.5])
        rows.append(ndimage.map_coordinates(film, at, order=1, mode="grid-constant"))
    return np.stack(rows)


@pytest.fixture(scope="module")
def line():
    return centreline(heatmaps_of(centres()), SPEC)


def test_the_curve_follows_a_scoliosis(line) -> None:
    assert line.located.all()
    x, y = line.curve[0].double().numpy().T
    inside = (y > centres()[0, 1]) & (y < centres()[-1, 1])
    assert np.abs(x - bent(y))[inside].max() < 0.1 * SPACING
    assert np.linalg.norm(line.points[0].numpy() - centres(), axis=1).max() < 0.05 * SPACING
    # From 0.9 spacings above T10 to 0.9 below L5.
    assert y[0] == pytest.approx(centres()[0, 1] - 0.9 * SPACING, abs=0.1 * SPACING)
    assert y[-1] == pytest.approx(centres()[-1, 1] + 0.9 * SPACING, abs=0.1 * SPACING)


def test_a_level_taken_for_its_neighbour_is_outvoted(line) -> None:
    found = centreline(heatmaps_of(centres(), wrong=(4,)), SPEC)
    assert found.located.all()
    assert (found.curve - line.curve).abs().max() < 0.15 * SPACING
    assert found.points.isnan().all(2).nonzero().tolist() == [[0, 4]]


def test_levels_that_the_film_does_not_show_are_not_seen_and_the_column_keeps_its_place() -> None:
    found = centreline(heatmaps_of(centres(), absent=(0, 1, 7)), SPEC)
    assert found.points.isnan().all(2)[0].tolist() == [i in (0, 1, 7) for i in range(8)]
    ends = found.curve[0, [0, -1], 1].numpy()
    expected = centres()[[0, -1], 1] + np.array([-0.9, 0.9]) * SPACING
    assert np.abs(ends - expected).max() < 0.3 * SPACING


@pytest.mark.parametrize(
    "heatmaps",
    [
        heatmaps_of(centres(), mass=0.1, column=False),
        heatmaps_of(centres(), absent=range(2, 8), column=False),
        heatmaps_of(centres(spacing=-SPACING)),
        torch.zeros(1, len(LEVELS) + 1, CELLS, CELLS),
    ],
    ids=["unsure", "two levels", "upside down", "nothing"],
)
def test_where_no_spine_is_found_the_column_is_the_middle_strip(heatmaps) -> None:
    found = centreline(heatmaps, SPEC)
    assert not found.located.any()
    assert found.points.isnan().all()
    positions = sampling(found.curve, SPEC, SPEC.height_px, SPEC.width_px)[0]
    share = SPEC.width_px / SPEC.height_px
    assert positions[0, 0].tolist() == pytest.approx([0.5 - share / 2, 0], abs=0.01)
    assert positions[-1, -1].tolist() == pytest.approx([0.5 + share / 2, 1], abs=0.01)


def test_a_film_gets_the_same_curve_whatever_comes_with_it(line) -> None:
    others = torch.cat([heatmaps_of(centres(shift=-0.05)), heatmaps_of(centres())])
    assert torch.equal(centreline(others, SPEC).curve[1], line.curve[0])


def test_a_bent_bar_is_straight_afterwards(line) -> None:
    film = torch.from_numpy(bar())[None, None]
    column = straighten(film, line.curve, SPEC)[0, 0].numpy()
    assert column.shape == (SPEC.height_px, SPEC.width_px)
    across = np.arange(SPEC.width_px) + 0.5
    # Between the levels that the curve was fitted to.
    rows = column[30:-30]
    middle = (rows * across).sum(1) / rows.sum(1)
    assert np.abs(middle - SPEC.width_px / 2).max() < 2.0
    width = rows.sum(1)
    assert width.std() / width.mean() < 0.04


def test_the_patients_left_stays_left(line) -> None:
    film = torch.zeros(1, 1, 100, 100)
    film[..., :50] = 1
    column = straighten(film, line.curve, SPEC)[0, 0]
    assert column[:, 0].mean() > 0.9
    assert column[:, -1].mean() < 0.1


def test_the_columns_pixels_are_those_of_the_plain_reference(line) -> None:
    film = np.random.default_rng(0).random((120, 120)).astype(np.float32)
    film = ndimage.gaussian_filter(film, 1.0)
    for curve in (line.curve, line.curve + torch.tensor([0.3, 0.2])):  # the latter half outside
        fast = straighten(torch.from_numpy(film)[None, None], curve, SPEC)[0, 0].numpy()
        plain = straighten_plainly(film, curve[0].double().numpy(), SPEC)
        assert np.abs(fast - plain).max() < 2e-3


def test_the_way_into_the_column_and_back_ends_where_it_began(line) -> None:
    positions = sampling(line.curve, SPEC, 40, 16)
    back = to_column(positions.flatten(1, 2), line.curve, SPEC).view(40, 16, 2)
    x, y = np.meshgrid((np.arange(16) + 0.5) / 16, (np.arange(40) + 0.5) / 40)
    apart = (back.numpy() - np.stack([x, y], 2)) * (SPEC.width_px, SPEC.height_px)
    assert np.abs(apart).max() < 1.0  # pixels of the column


def test_levels_lie_in_the_middle_of_the_column_at_their_standard_rows(line) -> None:
    places = to_column(line.points, line.curve, SPEC)[0].numpy()
    assert np.abs(places[:, 0] - 0.5).max() < 0.03
    expected = 0.5 + np.array(standard_places()) / SPEC.extent
    # Arc length: rows are lengths along the bent spine, standard places are straight.
    assert np.abs(places[:, 1] - expected).max() * SPEC.extent < 0.2
    assert to_column(torch.full((1, 1, 2), torch.nan), line.curve, SPEC).isnan().all()


def test_a_map_of_the_column_is_drawn_on_the_film(line) -> None:
    level = LEVELS.index("L1")
    column_x, column_y = to_column(line.points, line.curve, SPEC)[0, level].tolist()
    y, x = np.meshgrid((np.arange(36) + 0.5) / 36, (np.arange(12) + 0.5) / 12, indexing="ij")
    heat = np.exp(-((y - column_y) ** 2 + (x - column_x) ** 2) / 0.002).astype(np.float32)
    drawn = to_film(torch.from_numpy(heat)[None, None], line.curve, SPEC, 200)[0, 0].numpy()
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    at = (np.array([column, row]) + 0.5) / 200
    assert np.linalg.norm(at - centres()[level]) < 0.25 * SPACING
    assert (drawn[:, 0] == 0).all()  # outside the column


def test_training_moves_the_column_a_little(line) -> None:
    vary = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    curves = jittered(line.curve.expand(200, -1, -1), vary)
    places = to_column(line.points.expand(200, -1, -1), curves, SPEC)
    moved = (places - to_column(line.points, line.curve, SPEC)) * torch.tensor(
        [SPEC.width, SPEC.extent]
    )
    assert 0.05 < moved.std() < 0.5  # spacings
    assert moved.abs().max() < 1.0


def test_the_spec_survives_json_and_nonsense_does_not() -> None:
    assert from_json(to_json(SPEC)) == SPEC
    assert column_spec(1024).height_px * column_spec(1024).width_px < 1024**2 / 3
    assert SPEC.width_px % 32 == 0
    for change in (
        {"height_px": 100},
        {"width_px": 0},
        {"height_px": True},
        {"levels": ["L1"]},
        {"margin": float("nan")},
        {"min_confidence": 0.0},
        {"min_levels": 1},
        {"fallback": "guess"},
        {"version": 2},
        {"more": 1},
    ):
        with pytest.raises(CheckpointError):
            from_json(to_json(SPEC) | change)
    with pytest.raises(CheckpointError):
        from_json([])


def test_a_findings_level_is_read_off_its_name() -> None:
    assert level_of("vertebral_fracture_L1") == "L1"
    assert level_of("vertebral_fracture") is None
    assert level_of("L1") is None
    assert len(standard_places()) == len(LEVELS)
    assert ColumnSpec(288, 96).extent == pytest.approx(8.8)
    assert CURVE_POINTS > 100
