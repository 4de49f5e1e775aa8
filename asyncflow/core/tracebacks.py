"""Tracebacks for whoever wrote the body: the engine's own frames taken out of them."""

from __future__ import annotations

import os
from types import TracebackType

from ..exceptions import AsyncflowError

_HOUSE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_GUESTS = _HOUSE + "cli" + os.sep  # its flows are bodies like any other


def prune(error: BaseException) -> None:
    """Take the engine's frames out of the error's traceback; where the engine itself failed, the innermost ones stay.

    An error of asyncflow's own explains itself and needs none of them.
    """
    frames: list[TracebackType] = []
    layer = error.__traceback__
    while layer is not None:
        frames.append(layer)
        layer = layer.tb_next
    kept = _foreign(frames, keep_last=not isinstance(error, AsyncflowError))
    if len(kept) < len(frames):
        error.__traceback__ = _chained(kept)


def _foreign(frames: list[TracebackType], keep_last: bool) -> list[TracebackType]:
    end = len(frames)
    while keep_last and end and _is_ours(frames[end - 1]):
        end -= 1
    return [one for one in frames[:end] if not _is_ours(one)] + frames[end:]


def _is_ours(layer: TracebackType) -> bool:
    name = layer.tb_frame.f_code.co_filename
    return name.startswith(_HOUSE) and not name.startswith(_GUESTS)


def _chained(layers: list[TracebackType]) -> TracebackType | None:
    chain: TracebackType | None = None
    for layer in reversed(layers):
        chain = TracebackType(chain, layer.tb_frame, layer.tb_lasti, layer.tb_lineno)
    return chain
