"""What will work on this machine and what will not, found by trying it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vfscreen.config import Config

LOW_DISK_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `needed`: without it the nightly job cannot run."""

    what: str
    works: bool
    detail: str
    needed: bool = False


def examine(results: Path | None, config: Config) -> list[Check]:
    """Try everything; nothing here raises."""
    return [
        *_processor(),
        *_memory(config),
        *_disk(results),
        *_torch(),
        *_dali(),
        *_codecs(),
        *_checkpoint(),
    ]


def _processor() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0))
    flags: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                flags = set(line.split())
                break
    except OSError:
        pass
    yield Check("processor", True, f"{cores} cores")
    fast = sorted(flags & {"avx512_bf16", "amx_bf16"})
    detail = ", ".join(fast) if fast else "neither avx512_bf16 nor amx_bf16: float32 is used"
    yield Check("bfloat16 on the processor", bool(fast), detail)


def _memory(config: Config) -> Iterator[Check]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    enough = free > config.decode.buffer_bytes + (2 << 30)
    yield Check("memory", enough, f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free")


def _disk(results: Path | None) -> Iterator[Check]:
    folder = results if results is not None else Path.cwd()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    what = "disk of the results folder" if results is not None else "disk here"
    yield Check(what, free > LOW_DISK_BYTES, f"{free / 2**30:.1f} GiB free")


def _torch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:  # noqa: BLE001  whatever breaks its import is what we report
        yield Check("torch", False, f"cannot be imported ({type(error).__name__})", needed=True)
        return
    yield Check("torch", True, str(torch.__version__), needed=True)
    if not torch.cuda.is_available():
        yield Check("GPU", False, "none that torch can use: the processor does the work")
        return
    memory = torch.cuda.get_device_properties(0).total_memory
    driver = _driver_version()
    detail = f"{torch.cuda.get_device_name(0)}, {memory / 2**30:.0f} GiB, driver {driver}"
    yield Check("GPU", True, detail)


def _driver_version() -> str:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return "unknown"
    return next((word for word in text.split() if word[:1].isdigit() and "." in word), "unknown")


def _dali() -> Iterator[Check]:
    try:
        import numpy as np
        from nvidia import dali

        from vfscreen.imaging.dali import Preparer
        from vfscreen.preprocessing import Preprocessing

        Preparer(Preprocessing(), 1).prepare([np.zeros((8, 8), np.uint16)])
        yield Check("DALI", True, str(dali.__version__), needed=True)
    except Exception as error:  # noqa: BLE001  as for torch
        yield Check("DALI", False, f"cannot be used ({type(error).__name__})", needed=True)


def _codecs() -> Iterator[Check]:
    from vfscreen.imaging.codecs import probe

    for codec in probe():
        detail = f"{codec.decoder}{': ' + codec.detail if codec.detail else ''}"
        yield Check(f"decode {codec.name}", codec.works, detail)


def _checkpoint() -> Iterator[Check]:
    from vfscreen.errors import CheckpointError
    from vfscreen.model.checkpoint import read_info

    try:
        info = read_info("demo")
        yield Check("demonstration checkpoint", True, info.name)
    except CheckpointError as error:
        yield Check("demonstration checkpoint", False, str(error))
