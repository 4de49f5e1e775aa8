"""Executors across processes: the dead are known at once, the living are never harmed."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asyncflow.exceptions import StoreError
from asyncflow.ports import LimitRecord
from asyncflow.store.liveness import boot_id, host_name
from asyncflow.store.sqlite import SQLiteStore

from ..contracts.makers import commit, executor, flow_write, holding
from .conftest import Opener
from .processes import said, started

HERE = {"host": host_name(), "boot_id": boot_id()}

HOLDING = (
    "await store.open()\n"
    "await store.take([Holding('api', 1, 'theirs', 'other', None, 1)])\n"
    "assert await store.claim_flight('key', 'other', 'theirs')\n"
    "print('holding', flush=True)\n"
    "await asyncio.to_thread(sys.stdin.readline)\n"
    "await store.close()"
)


@pytest.fixture
async def limited(opened: Opener) -> SQLiteStore:
    store = await opened(executor_id="me")
    await store.set_limit(LimitRecord("api", 1))
    return store


async def test_a_killed_process_frees_what_it_held_at_once(limited: SQLiteStore, path: Path) -> None:
    other = await started(path, "other", HOLDING)
    await said(other)
    assert not await limited.take([holding("api", "mine")])
    [theirs] = [found for found in await limited.executors() if found.id == "other"]
    assert await limited.alive(theirs) is True
    other.send_signal(signal.SIGSTOP)
    assert await limited.alive(theirs) is True
    other.kill()
    await other.communicate()
    assert await limited.alive(theirs) is False
    limited._reaped_at = float("-inf")
    assert await limited.take([holding("api", "mine")])
    assert await limited.claim_flight("key", "me", "mine")
    assert [found.id for found in await limited.executors()] == ["me"]
    await limited.data_version()
    assert os.listdir(f"{path}.locks") == ["me.lock"]


async def test_a_closed_process_leaves_nothing(limited: SQLiteStore, path: Path) -> None:
    other = await started(path, "other", HOLDING)
    await said(other)
    assert not await limited.claim_flight("key", "me", "mine")
    await other.communicate(b"\n")
    assert other.returncode == 0
    assert await limited.holdings() == []
    assert os.listdir(f"{path}.locks") == ["me.lock"]
    assert await limited.take([holding("api", "mine")])
    assert await limited.claim_flight("key", "me", "mine")


async def test_reaping_names_the_dead_and_spares_the_unknown(limited: SQLiteStore) -> None:
    await limited.enlist(executor("elsewhere"))
    await limited.enlist(executor("before the last start", host=host_name(), boot_id="earlier"))
    await limited.enlist(executor("without a file", **HERE))
    assert await limited.reap() == ["before the last start"]
    assert {found.id for found in await limited.executors()} == {"elsewhere", "without a file", "me"}


async def test_probing_others_keeps_our_own_locks(opened: Opener, path: Path) -> None:
    first, second = await opened(executor_id="first"), await opened(executor_id="second")
    assert await first.reap() == []
    assert await second.reap() == []
    body = "await store.open()\nprint(await store.reap())\nawait store.close()"
    other = await started(path, "third", body)
    assert await said(other) == "[]"
    await other.communicate()
    assert other.returncode == 0


async def test_an_executor_is_open_once_in_a_process(opened: Opener, path: Path) -> None:
    store = await opened(executor_id="me")
    with pytest.raises(StoreError, match="already"):
        await opened(executor_id="me")
    assert await commit(store, flow_write()) == [None]
    assert [found.id for found in await store.executors()] == ["me"]
    assert os.listdir(f"{path}.locks") == ["me.lock"]


async def test_a_file_of_the_same_name_that_is_another_file_tells_nothing(limited: SQLiteStore, path: Path) -> None:
    lock = Path(f"{path}.locks", "other.lock")
    lock.touch()
    free = executor("other", **HERE, lock_inode=lock.stat().st_ino)
    assert await limited.alive(free) is False
    assert await limited.alive(replace(free, lock_inode=1)) is None


FORKING_LOCKS = """
import os
from asyncflow.ports import Executor
from asyncflow.store.liveness import LockFiles, boot_id, host_name
locks = LockFiles(sys.argv[1])
inode = locks.hold("me")
me = Executor("me", host_name(), boot_id(), os.getpid(), 1, inode)
assert locks.alive(me) is True
child = os.fork()
if child == 0:
    seen = locks.alive(me)  # through the kernel, since the registry is the parent's
    locks.release("me")  # must not touch the parent's file
    os._exit(0 if seen is True else 2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.listdir(sys.argv[1] + ".locks"))
locks.release("me")
print(os.listdir(sys.argv[1] + ".locks"))
"""


async def test_a_forked_child_does_not_take_its_parents_locks_for_its_own(path: Path) -> None:
    other = await started(path, "other", FORKING_LOCKS.strip())
    assert await said(other) == "0 ['me.lock']"
    assert await said(other) == "[]"
    assert (await other.communicate())[1] == b""


FORKING = """
import os
from asyncflow.core.runs import RunWrite
await store.open()
child = os.fork()
if child == 0:
    write = RunWrite((), (), "r", 1)
    store.put(write)
    store.close_now()
    os._exit(0 if write.done and "fork" in str(write.error) else 2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
await store.flush()
await store.close()
"""


async def test_a_store_refuses_to_work_in_a_forked_child(path: Path) -> None:
    other = await started(path, "other", FORKING.strip())
    assert await said(other) == "0"
    _, errors = await other.communicate()
    assert (other.returncode, errors) == (0, b"")


def test_the_boot_id_is_known_here() -> None:
    assert boot_id() == boot_id() != ""
    if sys.platform == "linux":
        assert not boot_id().startswith("host:")
