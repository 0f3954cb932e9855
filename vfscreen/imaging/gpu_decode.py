"""Codestreams to display values by nvImageCodec, on a GPU; on its CPU backend in tests.

A decoder that was never seen to fail is not trusted: what it answers must have the size and type
that the checked header promises, stay within the table, not be constant, and, for JPEG, show that
the data ended where it should. Anything else is None, and the film goes the CPU's way.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vfscreen.imaging.tasks import CodedFilm

_MCU_PX = 8  # rows of grey JPEG that are coded together


class CodestreamDecoder:
    """nvImageCodec's decoders on one device; for one thread.

    Parameters
    ----------
    device : str
        `cuda`, `cuda:N`, or `cpu` for the decoders that need no GPU.
    """

    def __init__(self, device: str) -> None:
        import nvidia.nvimgcodec as codec

        self.device = torch.device(device)
        self._codec: Any = codec
        kinds, number, threads = [codec.BackendKind.CPU_ONLY], codec.NVIMGCODEC_DEVICE_CPU_ONLY, 1
        if self.device.type == "cuda":
            # None that is the CPU's alone: those are not better than our own, and do not say.
            gpu = codec.BackendKind
            kinds = [gpu.HW_GPU_ONLY, gpu.GPU_ONLY, gpu.HYBRID_CPU_GPU]
            number, threads = self.device.index or 0, 0
        self._decoder = codec.Decoder(
            device_id=number, max_num_cpu_threads=threads, backends=list(map(codec.Backend, kinds))
        )
        # As they are stored: not scaled to 8 bits, not made RGB.
        self._parameters = codec.DecodeParams(
            allow_any_depth=True,
            color_spec=codec.ColorSpec.UNCHANGED,
            apply_exif_orientation=False,
        )

    def decode(self, films: Sequence[CodedFilm]) -> list[Tensor | None]:
        """Decode films to display values, all at once.

        Returns
        -------
        list of (uint16 tensor (rows, columns) on the device, or None)
            None: this decoder's answer cannot be used. Complete on return: the films' memory is
            not needed any more.
        """
        streams = [self._stream(film) for film in films]
        known = [stream for stream in streams if stream is not None]
        current = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None
        images = iter(
            self._decoder.decode(
                known,
                params=self._parameters,
                cuda_stream=0 if current is None else current.cuda_stream,
            )
            if known
            else []
        )
        shown = []
        for film, stream in zip(films, streams, strict=True):
            image = None if stream is None else next(images)
            shown.append(None if image is None else self._show(film, image))
        if current is not None:
            current.synchronize()
        return shown

    def _stream(self, film: CodedFilm) -> Any:
        try:
            return self._codec.CodeStream(film.codestream)
        except RuntimeError:  # a header that it does not understand
            return None

    def _show(self, film: CodedFilm, image: Any) -> Tensor | None:
        container = np.dtype("u1" if film.precision_bits <= 8 else "u2")
        if tuple(image.shape) != (film.coded_rows, film.columns, 1) or image.dtype != container:
            return None
        if self.device.type == "cuda":
            stored = torch.as_tensor(image, device=self.device)[:, :, 0]
        else:
            stored = torch.from_numpy(np.array(image))[:, :, 0]
        table = torch.from_numpy(film.table.view(np.int16).copy()).to(self.device)
        return show(stored, table, film.rows, film.precision_bits)


def show(stored: Tensor, table: Tensor, rows: int, precision_bits: int) -> Tensor | None:
    """Display values of stored values, by the film's table.

    Parameters
    ----------
    stored : uint8 or uint16 tensor, shape (coded rows, columns)
    table : int16 tensor, shape (2 ** bits,)
        The bits of uint16 display values: torch computes little with uint16 itself.
    rows : int
        How many of the coded rows are the film; the rest shows where a JPEG's data ended.
    precision_bits : int
        Of the codestream.

    Returns
    -------
    uint16 tensor (rows, columns), or None
        None: the values are constant or shown as one, are above what the precision allows (DALI's
        decoders stretch them over 16 bits on a GPU), or, for JPEG, the data was not as long as the
        film needs.
    """
    if stored.dtype == torch.uint16:
        patterns = stored.view(torch.int16).to(torch.int32) & 0xFFFF
    else:
        patterns = stored.to(torch.int32)
    film, probe = patterns[:rows], patterns[-(-rows // _MCU_PX) * _MCU_PX :]
    low, high = (int(value) for value in torch.aminmax(film))
    if low == high or high >> precision_bits:
        return None
    if len(probe) and not (_constant(probe[-_MCU_PX:]) and not _constant(probe[:_MCU_PX])):
        return None
    display = table.index_select(0, film.reshape(-1)).reshape(film.shape)
    if _constant(display):
        return None
    return display.view(torch.uint16)


def _constant(values: Tensor) -> bool:
    low, high = torch.aminmax(values)
    return bool(low == high)
