"""Large results as content-addressed files: written whole or not at all, checked when read."""

from __future__ import annotations

import contextlib
import os
import secrets
from hashlib import sha256
from pathlib import Path

from ..exceptions import DatabaseUnavailable, MissingResult, ResultTampered


class Files:
    """A directory of files named for the sha256 of what they hold."""

    __slots__ = ("directory",)

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, digest: str) -> Path:
        """Where the content of that digest is kept."""
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise MissingResult(f"{digest[:80]!r} is not the name of a result file")
        return self.directory / digest[:2] / digest

    def write(self, content: bytes) -> str:
        """Keep content, durably, and return its digest; what is already there is not written again."""
        digest = sha256(content).hexdigest()
        path = self.path(digest)
        try:
            if not _holds(path, len(content)):
                self._make_room(path.parent)
                _write(path, content)
        except OSError as error:
            raise DatabaseUnavailable(f"the result file {path} cannot be written: {error}") from error
        return digest

    def _make_room(self, folder: Path) -> None:
        """Folders for this user alone, as the database is."""
        if not self.directory.is_dir():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_directory(self.directory.parent)
        folder.mkdir(mode=0o700, exist_ok=True)

    def read(self, digest: str) -> bytes:
        """The content of that digest. Raises `MissingResult`, `ResultTampered` or `DatabaseUnavailable`."""
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise MissingResult(f"the result file {path} is gone; run again to make it anew") from None
        except OSError as error:
            raise DatabaseUnavailable(f"the result file {path} cannot be read: {error}") from error
        if sha256(content).hexdigest() != digest:
            raise ResultTampered(f"the result file {path} does not hold what was stored; run again to make it anew")
        return content


def _holds(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    for directory in (path.parent, path.parent.parent):
        _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    with contextlib.suppress(PermissionError):  # Windows does not open directories
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
