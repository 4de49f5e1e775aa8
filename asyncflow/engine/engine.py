"""How a run happens, from its call to its last hook, for both kinds and both colours."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from ..context import Frame
from ..core.names import run_name
from ..core.runs import Ownership, Run
from ..core.template import render
from ..exceptions import (
    LeaseLost,
    MissingContext,
)
from ..handles import Future
from ..ports import Results, Surroundings
from ..specs import FlowSpec, RunSpec, TaskSpec
from ..states import AwaitingConcurrencySlot, AwaitingRetry, Cancelled, Pending, State, StateType
from .bodies import Bodies
from .caching import Caching
from .calls import Call, dependencies, is_flow, release_identity
from .crossing import Interrupted, Pool, block_on, home_loop
from .hooks import Hooks
from .journal import Journal
from .keeping import Keeper
from .lifetime import Background, Children
from .outcomes import failure_of
from .slots import Lease, Slots
from .upstream import resolve
from .voice import Voice

NEW: State[Any] = State(StateType.PENDING, "Pending")
"""The state of every run that nothing was written of yet."""
STOPS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, Interrupted)


class Engine:
    """Runs flows and tasks for one application."""

    def __init__(
        self,
        application: Surroundings,
        journal: Journal,
        results: Results,
        slots: Slots,
        caching: Caching,
        pool: Pool,
        *,
        executor_id: str,
        ids: Callable[[int], str],
        source: random.Random,
    ) -> None:
        self.application = application
        self.journal = journal
        self.results = results
        self.slots = slots
        self.caching = caching
        self.pool = pool
        self.children = Background()
        self.warned: set[str] = set()
        self.voice = Voice(application)
        self._hooks = Hooks(self.voice, application.settings.cleanup_seconds)
        self._bodies = Bodies(application, journal, results, pool, self._hooks, self.voice)
        self._keeper = Keeper(application, journal, results, caching, self.voice)
        self._executor_id = executor_id
        self._ids = ids
        self._source = source
        self._clock = application.clock

    block_on = staticmethod(block_on)

    # -- the doors --------------------------------------------------------------------------------------------

    def submit(self, call: Call[Any]) -> Future[Any]:
        """Start a call on its owner's loop and give a handle on it; from any thread. Raises `TooManyPending`."""
        children, _ = self.owner(call.parent)
        if children.max_in_flight is not None:
            children.admit(len(children.live) + 1)
        future = self.adopt(call)
        self.start(call, children)
        return future

    def adopt(self, call: Call[Any]) -> Future[Any]:
        """Make the handle of a call among its owner's children, without starting it."""
        children, loop = self.owner(call.parent)
        if call.run is None:
            self.prepare(call)
        future: Future[Any] = Future(call.run, loop)
        call.future = future
        children.add(future)
        return future

    def owner(self, parent: Frame | None) -> tuple[Children, asyncio.AbstractEventLoop]:
        """Whose children the runs submitted from this body are, and the loop on which they live."""
        if parent is None:
            return self.children, asyncio._get_running_loop() or home_loop(None)
        return self._children_of(parent), parent.loop

    def start(self, call: Call[Any], children: Children, context: Context | None = None) -> None:
        """Make the asyncio task of a submitted call, on its owner's loop, in this context or a copy of the present."""
        assert call.future is not None
        loop = call.future.owner_loop
        if asyncio._get_running_loop() is loop:
            self._start(call, children, context)
        else:
            loop.call_soon_threadsafe(self._start, call, children, context or copy_context())

    def _start(self, call: Call[Any], children: Children, context: Context | None) -> None:
        future = call.future
        assert future is not None
        task = future.owner_loop.create_task(self.run(call, True), context=context)
        future.attach(task)
        task.add_done_callback(partial(self._landed, call, children))

    def _landed(self, call: Call[Any], children: Children, task: asyncio.Task[State[Any]]) -> None:
        future = call.future
        assert future is not None
        if not task.cancelled() and (error := task.exception()) is not None:
            # a stop is raised after the commit; anything else prevented it, whatever the run had come to
            state: State[Any] = call.run.state if isinstance(error, STOPS) else failure_of(error)
        elif call.started:
            state = call.run.state
        else:  # cancelled before its first step: its owner writes its end
            state = Cancelled(message=future.cancel_reason or "cancelled before it began")
            self.journal.enter(call.run, state)
            with suppress(LeaseLost):  # its next owner writes it then
                self.journal.queue(call.run)
            release_identity(call)
            if call.on_decided is not None:
                call.on_decided()
        future.settle(state)
        children.ended(future)

    @staticmethod
    def refuse(future: Future[Any], spec: RunSpec, children: Children, error: Exception) -> None:
        """Fail a handle whose call could not even be made; there is no run of it."""
        future.begin(Run("", spec.kind, spec.name, spec.name, spec.key, State(StateType.PENDING, "Pending"), 0))
        future.settle(failure_of(error))
        children.ended(future)

    # -- making runs ------------------------------------------------------------------------------------------

    def prepare(self, call: Call[Any]) -> None:
        """Make the run record of a call; nothing is stored yet."""
        spec, parent = call.spec, call.parent
        flow = parent.flow if parent is not None else None
        now = self._clock.now()
        name = run_name(self._source) if spec.kind == "flow" else self._task_run_name(spec, flow)
        call.run = run = Run(self._ids(now), spec.kind, name, spec.name, spec.key, NEW, now)
        run.tags = call.tags | spec.tags if call.tags else spec.tags
        run.source_digest = spec.source_digest
        if parent is None:
            run.owner = Ownership(run.id, 1, self._executor_id)
            return
        if parent.tags:
            run.tags |= parent.tags
        run.parent = parent.run
        run.owner = parent.run.owner
        run.key = call.key
        if flow is not None:
            run.flow_run_id = flow.run.id
        if call.wait_for or not call.plain:
            run.depends_on = dependencies(call)

    @staticmethod
    def _task_run_name(spec: RunSpec, flow: Frame | None) -> str:
        if flow is None:
            return spec.name
        count = flow.counts.number(spec.name)
        return f"{spec.name}-{count}" if count else spec.name

    def _children_of(self, frame: Frame) -> Children:
        if not frame.open:
            raise MissingContext(
                f"{frame.run.kind.title()} run {frame.run.name!r} has ended, so nothing can be submitted to it; "
                "await your own asyncio tasks before its body returns."
            )
        if frame.children is None:
            frame.children = Children(getattr(frame.spec, "max_in_flight", None))
        return frame.children  # type: ignore[no-any-return]

    # -- one run ----------------------------------------------------------------------------------------------

    async def run(self, call: Call[Any], return_state: bool) -> Any:
        """One run from beginning to end; gives the value of its committed final state, or the state itself."""
        if call.run is None:
            self.prepare(call)
        call.started = True
        stop: BaseException | None = None
        try:
            state = await self._steps(call)
        except STOPS as reason:
            stop = reason
            state = Cancelled(message=self._reason(call, reason))
        except Exception as error:  # no slot, no cache key, no name: the run ends as visibly as by its body
            state = failure_of(error)
        except GeneratorExit:  # closed and not cancelled, with its event loop say: nothing more can be awaited
            if call.flight is not None:
                call.flight.abandon()
            raise
        release_identity(call)
        if call.on_decided is not None:
            await self._make_way(call)
        if not call.replayed:
            await self._keeper.finish(call, state)
            if self._hooks.want_ending(call, state):
                await self._hooks.ended(call, state)
            if stop is not None or call.interrupted is not None:
                raise stop or call.interrupted  # type: ignore[misc]  # one of the two is there
        return state if return_state else state.result()

    @staticmethod
    async def _make_way(call: Call[Any]) -> None:
        """Let the next call of a map begin before the outcome of this one is stored."""
        assert call.on_decided is not None
        call.on_decided()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as interrupted:
            call.interrupted = interrupted

    def _steps(self, call: Call[Any]) -> Coroutine[Any, Any, State[Any]]:
        if call.run.kind == "flow":
            return self._flow_steps(call)
        if self._is_direct(call):
            call.run.attempt = 1
            return self._bodies.attempt(call, None)
        return self._task_steps(call)

    @staticmethod
    def _is_direct(call: Call[TaskSpec]) -> bool:
        """Whether a task goes straight to its only attempt: nothing to wait for, look up, hold or try again."""
        parent = call.parent
        replays = parent is not None and parent.flow is not None and parent.flow.replay is not None
        return call.spec.is_direct and not (call.upstream or call.wait_for or call.run.tags or replays)

    async def _task_steps(self, call: Call[TaskSpec]) -> State[Any]:
        """The order of a task run: upstream -> journal -> cache -> limits -> attempts; keeping comes after it."""
        if call.upstream or call.wait_for:
            self.journal.move(call.run, Pending())
            failed = await resolve(call)
            if failed is not None:
                return failed
        if call.key is not None and (replayed := await self._replayed(call)) is not None:
            return replayed
        if call.spec.run_name is not None:
            self._rename(call)
        if call.spec.cache_policy is not None:
            hit = await self._keeper.cached(call)
            if hit is not None:
                return hit
        return await self._attempts(call)

    async def _flow_steps(self, call: Call[FlowSpec]) -> State[Any]:
        """The order of a flow run: upstream -> parameters -> attempts; keeping comes after it."""
        run, spec = call.run, call.spec
        if call.upstream or call.wait_for:
            failed = await resolve(call)
            if failed is not None:
                return failed
        if call.key is not None and (replayed := await self._replayed(call)) is not None:
            return replayed
        run.parameters = self.results.preview(call.arguments)
        self.journal.move(run, Pending())
        try:
            if spec.validate_parameters:
                call.arguments = spec.validated(call.arguments)
            if spec.run_name is not None:
                self._rename(call)
        except Exception as error:
            self.voice.created(call)
            return failure_of(error)
        self.voice.created(call)
        return await self._attempts(call)

    @staticmethod
    async def _replayed(call: Call[Any]) -> State[Any] | None:
        flow = call.parent.flow if call.parent is not None else None
        return await flow.replay.answer(call) if flow is not None and flow.replay is not None else None

    def _rename(self, call: Call[Any]) -> None:
        spec, run = call.spec, call.run
        if isinstance(spec.run_name, str):
            about = {"flow_name": spec.name, "task_name": spec.name, "run_id": run.id}
            run.name = render(spec.run_name, call.arguments, about)
        else:
            run.name = spec.called_name(call.arguments)

    # -- attempts ---------------------------------------------------------------------------------------------

    async def _attempts(self, call: Call[Any]) -> State[Any]:
        run, spec, policy = call.run, call.spec, call.spec.retry
        failures = 0
        while True:
            run.attempt += 1
            lease = await self._lease(call) if spec.limits or run.tags else None
            try:
                state = await self._bodies.attempt(call, lease)
            except BaseException:
                if lease is not None:
                    lease.release()
                raise
            if not state.is_failed() or call.interrupted is not None or failures >= policy.retries:
                return state
            failures += 1
            if policy.condition is not None and not await self._condition(call, state):
                return state
            await self._delay(call, state, policy.delay(failures, self._source))

    async def _lease(self, call: Call[Any]) -> Lease | None:
        if is_flow(call):
            return None
        run = call.run
        names = [*call.spec.limits, *(f"tag:{tag}" for tag in sorted(run.tags))]

        def waiting(message: str) -> None:
            self.journal.move(run, AwaitingConcurrencySlot(message=message), keep=True)

        return await self.slots.acquire(names, frame=call.parent, run_id=run.id, waiting=waiting, blocked=call.blocked)

    async def _condition(self, call: Call[Any], state: State[Any]) -> bool:
        try:
            answer = call.spec.retry.condition(call.spec, call.run, state)
            return bool(await answer if inspect.isawaitable(answer) else answer)
        except Exception as error:
            self.voice.warn(call.run, f"retry_condition_fn raised {error!r}; not retrying.")
            return False

    async def _delay(self, call: Call[Any], state: State[Any], seconds: float) -> None:
        if seconds <= 0:
            self.voice.retrying(call.run, None)
            return
        self.journal.move(call.run, AwaitingRetry(message=state.message), keep=True)
        self.voice.retrying(call.run, seconds)
        await asyncio.sleep(seconds)

    # -- hooks and words --------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Return when no task that was submitted outside any run is left."""
        await self.children.drained()

    def warn(self, run: Run, message: str) -> None:
        """Say something about a run that its author should know."""
        self.voice.warn(run, message)

    @staticmethod
    def _reason(call: Call[Any], stop: BaseException) -> str:
        if call.future is not None and call.future.cancel_reason:
            return call.future.cancel_reason
        text = str(stop.args[0]) if stop.args and stop.args[0] else ""
        if isinstance(stop, asyncio.CancelledError):
            return text if text and not text.startswith("Cancelled ") else "cancelled by its caller"
        return f"interrupted by {text if isinstance(stop, Interrupted) else type(stop).__name__}"
