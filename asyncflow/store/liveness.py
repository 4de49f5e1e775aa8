"""Who is alive, told by locks on files, which the kernel frees at the moment a process dies.

A record lock belongs to a process and is lost when *any* descriptor of that file is closed in it; so each file is
opened once, our own files stand in a registry by process id, and a file in the registry is never probed. A forked
child has another process id, so it does not take its parent's locks for its own.
"""

from __future__ import annotations

import fcntl
import os
from functools import cache
from pathlib import Path

from ..core.runs import ExecutorId
from ..exceptions import DatabaseUnavailable, StoreError
from ..ports import Executor

_OWN: dict[tuple[int, str], int] = {}
"""The descriptors of the lock files that a process holds, by process id and path."""


def host_name() -> str:
    """The name of this machine."""
    return os.uname().nodename


@cache
def boot_id() -> str:
    """What tells one start of this machine from another; where the kernel does not say, the machine's name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return f"host:{host_name()}"


class LockFiles:
    """The lock files beside one database, `<database>.locks/<executor id>.lock`."""

    def __init__(self, database: str) -> None:
        self._directory = f"{database}.locks"
        self._held: set[str] = set()

    def hold(self, executor_id: ExecutorId) -> int:
        """Make and lock the file of one of our own executors; returns its inode."""
        path = self._path(executor_id)
        if (os.getpid(), path) in _OWN:
            raise StoreError(f"Executor {executor_id} has this database open already in this process.")
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnavailable(f"The lock file {path} cannot be made: {error.strerror}.") from error
        if not _try_lock(held):
            os.close(held)
            raise StoreError(f"Executor {executor_id} is alive in another process.")
        _OWN[os.getpid(), path] = held
        self._held.add(path)
        return os.fstat(held).st_ino

    def release(self, executor_id: ExecutorId) -> None:
        """Remove the file and give up the lock of an executor that was held by this very object."""
        path = self._path(executor_id)
        held = _OWN.pop((os.getpid(), path), None) if path in self._held else None
        self._held.discard(path)
        if held is not None:
            _unlink(path)
            os.close(held)

    def forget(self, executor_id: ExecutorId) -> None:
        """Remove the file of an executor that was found dead."""
        path = self._path(executor_id)
        if (os.getpid(), path) not in _OWN:
            _unlink(path)

    def alive(self, executor: Executor) -> bool | None:
        """Whether that executor lives; None where a lock cannot tell (another machine, no or another file)."""
        path = self._path(executor.id)
        if (os.getpid(), path) in _OWN:
            return True
        if executor.boot_id != boot_id():
            return False if executor.host == host_name() else None
        return _probe(path, executor.lock_inode)

    def _path(self, executor_id: ExecutorId) -> str:
        return os.path.join(self._directory, f"{executor_id}.lock")


def _probe(path: str, inode: int | None) -> bool | None:
    try:
        probe = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(probe).st_ino != inode:
            return None
        return not _try_lock(probe)
    finally:
        os.close(probe)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
