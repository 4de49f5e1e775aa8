"""The signed envelope in which pickles travel, and the keys that sign it."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import DatabaseUnavailable, InvalidSetting, ResultTampered

_MAGIC = b"AFS1"
_MAC = 32
VARIABLE = "ASYNCFLOW_RESULT_KEY"


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The keys of signed results: the first signs, any verifies."""

    all: tuple[bytes, ...]

    @property
    def secret(self) -> bytes:
        """A key for the fingerprints of secrets, derived from the first one."""
        return hmac.digest(self.all[0], b"asyncflow fingerprints", "sha256")

    def seal(self, payload: bytes) -> bytes:
        """Put bytes into an envelope that `unseal` opens."""
        return b"".join((_MAGIC, hmac.digest(self.all[0], payload, "sha256"), payload))

    def unseal(self, sealed: bytes) -> memoryview:
        """The bytes that were sealed under one of these keys. Raises `ResultTampered`."""
        payload = memoryview(sealed)[len(_MAGIC) + _MAC :]
        mac = sealed[len(_MAGIC) : len(_MAGIC) + _MAC]
        if sealed.startswith(_MAGIC) and len(mac) == _MAC:
            for key in self.all:
                if hmac.compare_digest(mac, hmac.digest(key, payload, "sha256")):
                    return payload
        raise ResultTampered


def load_keys(setting: str | None, database: Path | None) -> Keys:
    """The keys of a database: from the setting (comma-separated), else from `<database>.key`, else made up.

    The file is made when it is missing, readable by its owner only. Keys made up for a database in memory last as
    long as the process.
    """
    if setting is not None and setting.strip():
        return _parse(setting, f"setting {VARIABLE}")
    if database is None:
        return Keys((secrets.token_bytes(32),))
    path = database.with_name(database.name + ".key")
    try:
        return _parse(_read_or_make(path), str(path))
    except OSError as error:
        raise DatabaseUnavailable(f"the key file {path} cannot be read or made: {error}") from error


def _parse(text: str, where: str) -> Keys:
    keys = tuple(part.strip().encode() for part in text.split(",") if part.strip())
    if not keys:
        raise InvalidSetting(f"{where} holds no key; put a long random text there")
    return Keys(keys)


def _read_or_make(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text("utf-8")
    # Linked into place complete, so that of two processes that start together both read the same whole key.
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text("utf-8")
