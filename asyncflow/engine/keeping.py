"""From the end of a body to its committed outcome: the cache, the kept result, the terminal state."""

from __future__ import annotations

import asyncio
from typing import Any

from ..cache_policies import CacheContext
from ..context import Frame
from ..core.runs import RunWrite, StoredValue
from ..exceptions import LeaseLost, MissingResult, ResultError, StoreError, UnkeyableInput, UnstorableResult
from ..ports import Results, Surroundings
from ..specs import TaskSpec
from ..states import MISSING, Cached, State, StateType
from .arguments import ATOMS
from .caching import Caching, Flight
from .calls import Call
from .crossing import outlasting
from .journal import Journal
from .outcomes import failure_of
from .voice import Voice


class Keeper:
    """Keeps what runs come to. A cancellation that arrives here is remembered in `call.interrupted`."""

    def __init__(
        self,
        application: Surroundings,
        journal: Journal,
        results: Results,
        caching: Caching,
        voice: Voice,
    ) -> None:
        self._voice = voice
        self._secret = application.secret
        self._clock = application.clock
        self._journal = journal
        self._results = results
        self._caching = caching
        self._inline_limit = application.settings.result_inline_bytes
        self._default_durability = application.settings.durability

    async def finish(self, call: Call[Any], state: State[Any]) -> None:
        """Keep the outcome and commit the terminal state; the caller may go on after this.

        Raises what prevented the commit: a run is never reported Completed unstored. A cancellation meanwhile does
        not end the wait.
        """
        try:
            too_large = self._keep(call, state)
            if too_large is not None:
                await self._place(call, too_large)
            write = self._write(call, state)
            if write is not None:
                try:
                    await write.waiter  # type: ignore[misc]  # a write that is waited for has a waiter
                except asyncio.CancelledError as interrupted:
                    call.interrupted = interrupted
                    await self._journal.outlast(write)
            if call.flight is not None:
                await self._land(call, call.flight, state)
            self._voice.ended(call.run, state)
        except asyncio.CancelledError as interrupted:
            call.interrupted = interrupted
        except StoreError as error:
            if isinstance(error, LeaseLost):
                call.run.owner.lost = True
            self._voice.ended(call.run, failure_of(error))
            raise
        finally:
            if call.flight is not None:
                call.flight.abandon()

    def _write(self, call: Call[Any], state: State[Any]) -> RunWrite | None:
        """Queue the terminal state; None where the caller need not wait for its commit."""
        run, parent, durability = call.run, call.parent, call.spec.durability
        if durability is None:
            durability = parent.durability if parent is not None else self._default_durability
        self._journal.enter(run, state)
        if durability == "relaxed" and run.kind == "task" and parent is not None:
            self._journal.forget(run)
            self._journal.queue(run)
            return None
        return self._journal.commit(run, power=durability == "power")

    def _keep(self, call: Call[Any], state: State[Any]) -> StoredValue | None:
        """Make bytes of what the run came to; gives them if they are too large to be inline."""
        run, spec, parent, value = call.run, call.spec, call.parent, state.data
        if state.type is not StateType.COMPLETED:
            if isinstance(value, BaseException):
                run.result = self._results.encode_error(value)
            return None
        if parent is not None and type(value) not in ATOMS:
            self._note_lineage(call, parent, value)
        persist = spec.persist_result
        if persist is None:
            persist = parent is None or parent.persist
        if not persist or run.result is not None:
            return None
        try:
            run.result = kept = self._results.pack(value, spec.result_serializer, spec.preview)
        except UnstorableResult as error:
            state.message = state.message or f"The result is not stored, so a resume runs this again: {error}"
            return None
        return kept if kept.size > self._inline_limit else None

    async def _place(self, call: Call[Any], kept: StoredValue) -> None:
        """Write a large result to its file, in a thread; a cancellation waits for it."""
        placed = asyncio.get_running_loop().run_in_executor(None, self._results.place, kept)
        try:
            call.run.result = await outlasting(placed)
        except asyncio.CancelledError as interrupted:
            call.run.result = placed.result()
            call.interrupted = interrupted

    @staticmethod
    def _note_lineage(call: Call[Any], parent: Frame, value: Any) -> None:
        run, flow = call.run, parent.flow
        if flow is not None and flow.lineage is not None:
            key = f"{run.flow_run_id}:{run.key}" if run.key is not None else None
            flow.lineage.made(value, run.id, key)

    # -- the cache --------------------------------------------------------------------------------------------

    async def cached(self, call: Call[TaskSpec]) -> State[Any] | None:
        """The state of a cache hit; None if the body has to run (as the flight of its key, where there is one)."""
        key = self._cache_key(call)
        if key is None:
            return None
        spec, run = call.spec, call.run
        found = await self._caching.enter(
            key,
            refresh=spec.refresh_cache,
            frame=call.parent,
            run_id=run.id,
            task_name=spec.name,
            blocked=call.blocked,
        )
        if isinstance(found, Flight):
            call.flight = found
            return None
        try:
            value = await self._decoded(found.value)
        except (MissingResult, ResultError) as error:
            self._voice.warn(run, f"The cached result of {spec.name!r} cannot be read, so it runs again: {error}")
            await self._fly(call, key)
            return None
        run.result = found.value
        return Cached(data=value)

    async def _fly(self, call: Call[TaskSpec], key: str) -> None:
        found = await self._caching.enter(
            key,
            refresh=True,
            frame=call.parent,
            run_id=call.run.id,
            task_name=call.spec.name,
            blocked=call.blocked,
        )
        call.flight = found if isinstance(found, Flight) else None

    async def _decoded(self, kept: StoredValue) -> Any:
        if kept.digest is None:
            return self._results.decode(kept)
        return await asyncio.get_running_loop().run_in_executor(None, self._results.decode, kept)

    def _cache_key(self, call: Call[TaskSpec]) -> str | None:
        flow = call.parent.flow if call.parent is not None else None
        spec = call.spec
        context = CacheContext(
            task_key=spec.key,
            source_digest=lambda: spec.source_digest,
            arguments=call.arguments,
            flow_parameters=flow.arguments if flow is not None else None,
            flow_run_id=call.run.owner.root_id,
            secret_key=self._secret,
            closure=spec.closure() if spec.closed_over else {},
        )
        try:
            key = spec.cache_policy.key(context)
        except Exception as error:  # the author's own cache_key_fn may raise anything
            what = error if isinstance(error, UnkeyableInput) else repr(error)
            self._voice.warn(call.run, f"{spec.name!r} is not cached this time: {what}")
            return None
        return key if isinstance(key, str) else None

    async def _land(self, call: Call[TaskSpec], flight: Flight, state: State[Any]) -> None:
        kept = call.run.result
        if not state.is_completed() or state.data is MISSING or not isinstance(kept, StoredValue):
            return
        expiration = call.spec.cache_expiration
        expires = None
        if expiration is not None:
            expires = self._clock.now() + int(expiration.total_seconds() * 1_000_000)
        await flight.land(kept, expires)
