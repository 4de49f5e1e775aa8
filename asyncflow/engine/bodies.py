"""One execution of a body: in its frame, where its colour belongs, within its time, and with its children seen out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from anyio import CancelScope, current_time

from ..context import Frame, current_frame, enter_frame
from ..exceptions import FlowRunTimeout, TaskRunTimeout, UnkeyableInput
from ..handles import ended
from ..ports import Results, Surroundings
from ..specs import TaskSpec
from ..states import Failed, Retrying, Running, State, StateType
from .arguments import ATOMS
from .calls import Call
from .crossing import Interrupted, Pool
from .hooks import Hooks
from .journal import Journal
from .lifetime import Children
from .lineage import Lineage
from .outcomes import failure_of, is_made_of_states, outcome_of, returned_futures, unobserved_failure
from .replay import Replay
from .slots import Lease
from .voice import Voice


class Bodies:
    """Executes the bodies of one application's runs."""

    def __init__(
        self, application: Surroundings, journal: Journal, results: Results, pool: Pool, hooks: Hooks, voice: Voice
    ) -> None:
        self._application = application
        self._journal = journal
        self._results = results
        self._pool = pool
        self._hooks = hooks
        self._voice = voice
        self._cleanup_seconds = application.settings.cleanup_seconds

    def attempt(self, call: Call[Any], lease: Lease | None) -> Coroutine[Any, Any, State[Any]]:
        """Begin an attempt; the coroutine returned executes it and gives the state that its end stands for.

        Most tasks have neither a timeout nor a hook nor an intent to declare, and go straight to their body.
        """
        run, spec = call.run, call.spec
        frame = Frame(run, spec, self._application, call.parent, asyncio.get_running_loop(), call.arguments)
        frame.blocked = call.blocked
        if run.kind == "flow" or spec.takes_care:
            return self._careful(call, frame, lease)
        if run.attempt == 1:
            self._journal.move(run, State(StateType.RUNNING, "Running"))
        else:
            self._journal.move(run, Retrying(), keep=True)
        return self._body(call, frame, lease)

    async def _careful(self, call: Call[Any], frame: Frame, lease: Lease | None) -> State[Any]:
        run, spec = call.run, call.spec
        if run.kind == "flow":
            frame.lineage = Lineage()
            frame.durability = spec.durability or frame.durability
            if run.attempt > 1:
                frame.replay = await Replay.of(self._application.store, self._results, run.id)
        self._journal.move(run, Running() if run.attempt == 1 else Retrying(), keep=run.attempt > 1)
        if run.kind == "task" and spec.on_interrupted != "retry":
            await self._declare(call, frame)
        await self._hooks.running(call)
        if spec.timeout_seconds is None:
            return await self._body(call, frame, lease)
        state = await self._within(spec.timeout_seconds, call, frame, lease)
        if state is not None:
            return state
        kind = FlowRunTimeout if run.kind == "flow" else TaskRunTimeout
        error = kind(f"{run.kind.title()} run {run.name!r} exceeded timeout of {spec.timeout_seconds} second(s).")
        return Failed(data=error, name="TimedOut", message=str(error))

    async def _declare(self, call: Call[TaskSpec], frame: Frame) -> None:
        """Commit that the body is about to begin, for a task that must not begin twice unasked."""
        if call.unkeyed is not None:
            raise UnkeyableInput(
                f"{call.spec.name!r} declares on_interrupted={call.spec.on_interrupted!r}, and this call has no "
                f"identity by which a resume could find it: {call.unkeyed}"
            )
        write = self._journal.commit(call.run, power=frame.durability == "power")
        assert write.waiter is not None
        try:
            await write.waiter
        except asyncio.CancelledError:
            await self._journal.outlast(write)
            raise

    async def _within(self, seconds: float, call: Call[Any], frame: Frame, lease: Lease | None) -> State[Any] | None:
        """The body under its two cancel scopes; None if its time ran out.

        The inner scope asks the body once, so that its clean-up may await; the outer one, `cleanup_seconds` later,
        asks at every await of what has still not ended.
        """
        scope, task, state = asyncio.timeout(seconds), asyncio.current_task(), None
        assert task is not None
        asked = task.cancelling()
        with CancelScope(deadline=current_time() + seconds + self._cleanup_seconds):
            try:
                async with scope:
                    state = await self._body(call, frame, lease)
            except TimeoutError:
                if not scope.expired():
                    raise
        if task.cancelling() <= asked:
            call.interrupted = None  # it was this very timeout, come while the body was seen out
        return state

    async def _body(self, call: Call[Any], frame: Frame, lease: Lease | None) -> State[Any]:
        """Execute the body once, and see its children out; gives the state that its end stands for."""
        spec = call.spec
        around = current_frame()
        enter_frame(frame)
        try:
            if spec.is_async:
                args, kwargs = spec.binder.unbind(call.arguments)
                value = await spec.fn(*args, **kwargs)
            else:
                ours, lease = lease, None
                value = await self._elsewhere(call, frame, ours)
            if frame.children is None and type(value) in ATOMS:
                return State(StateType.COMPLETED, "Completed", None, value)
            return await self._see_out(frame, value)
        except Exception as error:
            if isinstance(error, Interrupted):
                await self._cancel_children(call, frame, "its owner was interrupted")
                raise
            await self._cancel_children(call, frame, "its owner failed")
            return failure_of(error)
        except GeneratorExit:
            if current_frame() is not frame:  # closed by the garbage collector, in the middle of somebody else's code
                around = current_frame()
            raise
        except BaseException:
            await self._cancel_children(call, frame, "its owner was cancelled")
            raise
        finally:
            frame.open = False
            enter_frame(around)
            if lease is not None:
                lease.release()

    async def _elsewhere(self, call: Call[Any], frame: Frame, lease: Lease | None) -> Any:
        """Execute a sync body in the caller's lent thread or in the pool; the lease ends when the body really does."""
        args, kwargs = call.spec.binder.unbind(call.arguments)

        def body() -> Any:
            return call.spec.fn(*args, **kwargs)

        release = lease.release if lease is not None else _nothing
        if call.lent is None or call.spec.timeout_seconds is not None:
            return await self._pool.run(body, frame, release)
        try:
            return await call.lent.run(body, frame)
        finally:
            release()

    async def _see_out(self, frame: Frame, value: Any) -> State[Any]:
        """The body returned: wait for (or cancel) what it submitted, and say what its value makes of the run."""
        children = frame.children
        if type(value) not in ATOMS:
            for future in returned_futures(value):
                future.look()
                await ended(future)
        if children is not None:
            if children.live and _option(frame, "leftover", "wait") == "cancel":
                interrupted = await children.cancel("its owner returned", self._cleanup_seconds)
                if interrupted is not None:
                    raise interrupted
            await children.drained()
            self._judge(frame, children, decided=is_made_of_states(value))
        return outcome_of(value)

    def _judge(self, frame: Frame, children: Children, decided: bool) -> None:
        """Deal with failures nobody looked at; where the body's value has decided the state, they are only told."""
        failed = children.unobserved()
        if not failed:
            return
        rule = _option(frame, "unobserved", "fail")
        if rule == "fail" and not decided:
            raise unobserved_failure(failed)
        if rule != "ignore":
            for future in failed:
                state = future.outcome()
                self._voice.warn(frame.run, f"Nobody looked at the failure of task run {future.run.name!r}: {state!r}")

    async def _cancel_children(self, call: Call[Any], frame: Frame, reason: str) -> None:
        if frame.children is not None and frame.children.live:
            interrupted = await frame.children.cancel(reason, self._cleanup_seconds)
            call.interrupted = call.interrupted or interrupted


def _option(frame: Frame, name: str, default: str) -> Any:
    flow = frame.flow
    if name == "leftover" and frame is not flow:
        return default
    return getattr(flow.spec, name) if flow is not None else default


def _nothing() -> None:
    return None
