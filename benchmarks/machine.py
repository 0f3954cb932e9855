"""What the figures were made on and with; never a host's name."""

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "torchvision", "nvidia-dali-cuda120", "imagecodecs", "numpy", "scipy", "pillow",
    "pydicom", "duckdb", "pyarrow", "pyjpegls", "python-gdcm", "pylibjpeg", "pylibjpeg-openjpeg",
    "opencv-python-headless",
)  # fmt: skip
BASELINE_PACKAGES = ("monai", "torchxrayvision", "pylibjpeg-libjpeg", "pylibjpeg-rle")
# A change elsewhere (a page, a test, a result) cannot move a figure.
MEASURED = (":/vfscreen", ":/sql", ":/benchmarks/*.py")


def describe(baseline_python: Path | None = None) -> dict[str, Any]:
    """Processor, memory, versions, commit; the baselines' versions where they have a part."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in PACKAGES}
        | (_versions_of(baseline_python, BASELINE_PACKAGES) if baseline_python else {}),
        "commit": commit(),
    }


def commit() -> str:
    """The commit that runs; `-dirty` behind it where what is measured has changed since."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED)
    return _git("rev-parse", "--short=12", "HEAD") + "-dirty" * bool(changed)


def stem(here: dict[str, Any], made: str) -> str:
    """The beginning of a results file's name; `made` is when it was begun, as in ISO 8601."""
    torch = here["versions"]["torch"].split("+")[0]
    return f"{made[:16].replace(':', '')}-{precision()}-torch{torch}-{slug(here)}"


def keep(out: Path, name: str, command: str, figures: dict[str, Any]) -> Path:
    """Write the figures of one bench, with the date and the device in the file's name."""
    here, made = describe(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    path = out / f"{name}-{made[:10]}-{slug(here)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"made": made, "command": command, "machine": here}
    path.write_text(json.dumps(head | figures, indent=1) + "\n")
    return path


def precision() -> str:
    """What vfscreen's `auto` chooses on this CPU."""
    from vfscreen.model.inference import cpu_has_bfloat16

    return "bfloat16" if cpu_has_bfloat16() else "float32"


def slug(machine: dict[str, Any]) -> str:
    """The device as a part of a file's name, as in `cpu-amd-epyc-2-cores`."""
    name = re.sub(r"[^a-z0-9]+", "-", machine["processor"].lower()).strip("-")
    return f"cpu-{name}-{machine['cores']}-cores"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def version_of(name: str) -> str | None:
    """The version of an installed package, if it is installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _versions_of(python: Path, names: tuple[str, ...]) -> dict[str, str | None]:
    code = (
        "import sys\n"
        "from importlib.metadata import PackageNotFoundError, version\n"
        "for n in sys.argv[1:]:\n"
        "    try: print(version(n))\n"
        "    except PackageNotFoundError: print()\n"
    )
    done = subprocess.run(
        [python, "-c", code, *names], capture_output=True, text=True, check=False
    ).stdout.split("\n")
    return {name: (found or None) for name, found in zip(names, done, strict=False)}


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
