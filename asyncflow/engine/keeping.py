"""From the end of a body to its committed outcome: the cache, the kept result, the terminal state."""

from __future__ import annotations

import asyncio
from typing import Any

from ..cache_policies import CacheContext
from ..core.fingerprint import source_digest
from ..core.runs import StoredValue
from ..exceptions import UnstorableResult
from ..ports import Results, Surroundings
from ..specs import TaskSpec
from ..states import MISSING, Cached, State
from .caching import Caching, Flight
from .calls import Call
from .journal import Journal


class Keeper:
    """Keeps what runs come to. A cancellation that arrives here is remembered in `call.interrupted`."""

    def __init__(self, application: Surroundings, journal: Journal, results: Results, caching: Caching) -> None:
        self._clock = application.clock
        self._journal = journal
        self._results = results
        self._caching = caching

    async def finish(self, call: Call[Any], state: State[Any], flight: Flight | None) -> None:
        """Keep the outcome and commit the terminal state; the caller may go on after this.

        Raises what prevented the commit: a run is never reported Completed unstored.
        """
        run, parent = call.run, call.parent
        persist = self._persists(call)
        if state.is_completed():
            if persist and run.result is None:
                self._keep(call, state)
            self._note_lineage(call, state)
        elif isinstance(state.data, BaseException):
            run.result = self._results.encode_error(state.data)
        self._journal.enter(run, state)
        self._journal.forget(run)
        try:
            if run.kind == "task" and parent is not None and parent.durability == "relaxed":
                self._journal.queue(run)
            else:
                await self._journal.stored(self._journal.commit(run))
            if flight is not None:
                await self._land(call, flight, state)
        except asyncio.CancelledError:
            call.interrupted = True
        finally:
            if flight is not None:
                flight.abandon()

    def _persists(self, call: Call[Any]) -> bool:
        own = call.spec.persist_result
        if own is not None:
            return bool(own)
        return call.parent.persist if call.parent is not None else True

    def _keep(self, call: Call[Any], state: State[Any]) -> None:
        spec = call.spec
        preview = getattr(spec, "preview", True)
        try:
            call.run.result = self._results.encode(state.data, spec.result_serializer, preview)
        except UnstorableResult as error:
            state.message = state.message or f"The result is not stored, so a resume runs this again: {error}"

    @staticmethod
    def _note_lineage(call: Call[Any], state: State[Any]) -> None:
        if call.parent is not None and call.parent.flow is not None and call.parent.flow.lineage is not None:
            run = call.run
            key = f"{run.flow_run_id}:{run.key}" if run.key is not None else None
            call.parent.flow.lineage.made(state.data, run.id, key)

    # -- the cache --------------------------------------------------------------------------------------------

    async def cached(self, call: Call[TaskSpec]) -> tuple[State[Any] | None, Flight | None]:
        """The state of a cache hit; or the flight of the one who has to compute this key; or neither."""
        key = self._cache_key(call)
        if key is None:
            return None, None
        spec, run = call.spec, call.run
        found = await self._caching.enter(
            key, refresh=spec.refresh_cache, frame=call.parent, run_id=run.id, task_name=spec.name
        )
        if isinstance(found, Flight):
            return None, found
        run.result = found.value
        return Cached(data=self._results.decode(found.value), message="Cached"), None

    def _cache_key(self, call: Call[TaskSpec]) -> str | None:
        flow = call.parent.flow if call.parent is not None else None
        spec = call.spec
        context = CacheContext(
            task_key=spec.key,
            source_digest=lambda: source_digest(spec.fn),
            arguments=call.arguments,
            flow_parameters=flow.arguments if flow is not None else None,
            flow_run_id=flow.run.id if flow is not None else None,
        )
        key = spec.cache_policy.key(context)
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


