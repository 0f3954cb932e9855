"""The house plan: which room may import which, and how heavy the front door is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vfscreen

PACKAGE = Path(vfscreen.__file__).parent
FOUNDATION = {"errors", "config", "config_file", "privacy", "preprocessing"}
MIDDLE = {"archive", "imaging", "model", "reports", "phantom"}
BELOW = {
    "cli": {"cli", "jobs", "results"} | MIDDLE | FOUNDATION,
    "jobs": {"jobs", "results"} | MIDDLE | FOUNDATION,
    **{room: {room, "results"} | FOUNDATION for room in MIDDLE},
    "results": {"results", "sql"} | FOUNDATION,
    **dict.fromkeys(FOUNDATION, FOUNDATION),
}


def _imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module == "vfscreen":
            names = [f"vfscreen.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {n.split(".")[1] for n in names if n.startswith("vfscreen.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_arrows_point_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert _imported_rooms(path) <= BELOW[room]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_modules_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_the_front_door_is_light():
    heavy = ["torch", "nvidia", "duckdb", "pyarrow", "pydicom", "imagecodecs", "numpy", "rich"]
    code = f"import sys, vfscreen.cli.main;print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_rule_that_labels_is_in_the_lexicons_hash():
    """A changed rule labels anew: what `labelling` imports of its room must be known."""
    from vfscreen.reports.lexicon import _RULES

    room = PACKAGE / "reports"
    seen, waiting = set(), ["labelling"]
    while waiting:
        name = waiting.pop()
        if name in seen or not (room / f"{name}.py").exists():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((room / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "vfscreen.reports."
            ):
                waiting.append(node.module.split(".")[2])
    assert seen == set(_RULES)
