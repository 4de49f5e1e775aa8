"""Where results are kept: small ones inline with their row, large ones in files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.runs import StoredError, StoredValue
from ..exceptions import MissingResult
from .codecs import PLAIN, decode, encode, plain_text, to_bytes
from .envelope import Keys
from .errors import load_error, store_error
from .files import Files
from .previews import LIMIT, preview, preview_parameters, suspicious

INLINE_LIMIT = 64 * 1024

_WORD = 1 << 63


class ResultStore:
    """Turns values into `StoredValue` and back. `directory=None` keeps everything inline, whatever its size."""

    __slots__ = ("_files", "_inline_limit", "_keys")

    def __init__(self, directory: Path | None, keys: Keys, inline_limit: int = INLINE_LIMIT) -> None:
        self._files = Files(directory) if directory is not None else None
        self._keys = keys
        self._inline_limit = inline_limit

    def encode(self, value: Any, serializer: str | None = None, preview: bool = True) -> StoredValue:
        """Keep a value: a large one is in its file when this returns. Raises as `pack` and `place` do."""
        return self.place(self.pack(value, serializer, preview))

    def place(self, packed: StoredValue) -> StoredValue:
        """Write what is too large to be inline to its file; blocks. Raises `DatabaseUnavailable`."""
        if self._files is None or packed.data is None or packed.size <= self._inline_limit:
            return packed
        return packed._replace(data=None, digest=self._files.write(packed.data))

    def pack(self, value: Any, serializer: str | None = None, preview: bool = True) -> StoredValue:
        """A value as bytes, inline whatever their size; no I/O.

        Raises `UnstorableResult` for a value that no codec gives back as it was.
        """
        if serializer is None:
            if type(value) is int and -_WORD <= value < _WORD:
                text = repr(value)
                return StoredValue(PLAIN, text.encode(), None, len(text), text if preview else None)
            plain = plain_text(value)
            if plain is not None:
                return self._plain(value, plain, preview)
        codec, data = encode(value, self._keys, serializer)
        return StoredValue(codec, data, None, len(data), _shown(value) if preview else None)

    def decode(self, stored: StoredValue) -> Any:
        """The value that was kept. Raises `MissingResult`, `UndecodableResult` or `ResultTampered`."""
        data = stored.data
        if data is None:
            if stored.digest is None or self._files is None:
                raise MissingResult
            data = self._files.read(stored.digest)
        return decode(stored.codec, data, self._keys)

    def encode_error(self, error: BaseException) -> StoredError:
        """Keep an exception; never raises."""
        return store_error(error)

    def decode_error(self, stored: StoredError) -> BaseException:
        """The exception that was kept, of the same type where that can be imported."""
        return load_error(stored)

    def preview(self, arguments: Mapping[str, Any]) -> str:
        """The arguments of a call as JSON for people: short, secrets masked; never raises."""
        return preview_parameters(arguments)

    def _plain(self, value: Any, text: str, wanted: bool) -> StoredValue:
        data = to_bytes(text)
        if not wanted:
            return StoredValue(PLAIN, data, None, len(data), None)
        # Plain JSON is its own preview, unless it is long, or holds a name to mask or a surrogate.
        if len(data) <= LIMIT and text.isascii() and not _may_hide(value, text):
            return StoredValue(PLAIN, data, None, len(data), text)
        return StoredValue(PLAIN, data, None, len(data), _shown(value))


def _may_hide(value: Any, text: str) -> bool:
    return "://" in text if type(value) is str else suspicious(text)


def _shown(value: Any) -> str:
    return preview(value)
