"""Where the running code stands: which run's body this is, in which branch, with which tags."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .core.counts import Counts
from .core.runs import Run
from .exceptions import InvalidName, MissingContext, UnkeyableInput
from .specs import RunSpec, checked_names

if TYPE_CHECKING:
    from .ports import Surroundings


class Frame:
    """One entry of a body: an attempt of a task or of a flow, and everything that the calls in it need to know.

    `counts` holds what was called since the body began; `scope` is where the identities of those calls stand.
    `blocked` are the event loops which this body's callers block while they wait for it.
    """

    __slots__ = (
        "_counts",
        "application",
        "arguments",
        "blocked",
        "children",
        "durability",
        "flow",
        "flow_run",
        "keyed",
        "lineage",
        "log_prints",
        "loop",
        "open",
        "parent",
        "persist",
        "replay",
        "run",
        "scope",
        "spec",
        "tags",
    )

    def __init__(
        self,
        run: Run,
        spec: RunSpec,
        application: Surroundings,
        parent: Frame | None,
        loop: AbstractEventLoop,
        arguments: Mapping[str, Any],
    ) -> None:
        self.run = run
        self.spec = spec
        self.application = application
        self.parent = parent
        self.loop = loop
        self.arguments = arguments
        self.flow: Frame | None = self if run.kind == "flow" else parent.flow if parent is not None else None
        self.flow_run: Run | None = self.flow.run if self.flow is not None else None
        self.scope = "" if run.kind == "flow" else f"{run.key or run.id}#{run.attempt}"
        self._counts: Counts | None = None
        self.children: Any = None
        self.keyed = run.kind == "flow" or run.key is not None
        self.open = True
        self.blocked: tuple[AbstractEventLoop, ...] = ()
        self.tags: frozenset[str] = run.tags
        self.lineage: Any = None
        self.replay: Any = None
        prints, persist = spec.log_prints, spec.persist_result
        if prints is None:
            prints = application.settings.log_prints if parent is None else parent.log_prints
        if persist is None:
            persist = parent is None or parent.persist
        self.log_prints: bool = prints
        self.persist: bool = persist
        self.durability: str = parent.durability if parent is not None else application.settings.durability

    @property
    def counts(self) -> Counts:
        """What was called in this body so far; made by the first call."""
        counts = self._counts
        if counts is None:
            counts = self._counts = Counts()
        return counts


_frame: ContextVar[Frame | None] = ContextVar("asyncflow_frame", default=None)
_branch: ContextVar[tuple[Frame, str] | None] = ContextVar("asyncflow_branch", default=None)
_tags: ContextVar[frozenset[str]] = ContextVar("asyncflow_tags", default=frozenset())

current_frame = _frame.get
enter_frame = _frame.set
leave_frame = _frame.reset
current_tags = _tags.get


def scope_of(frame: Frame) -> str:
    """The scope in which calls made here stand: the body's own, and the branches entered since."""
    branch = _branch.get()
    if branch is None or branch[0] is not frame:
        return frame.scope
    return branch[1]


def push_scope(frame: Frame, name: str) -> Any:
    """Enter a scope below the present one; give what this returns to `pop_scope`."""
    return _branch.set((frame, f"{scope_of(frame)}/{name}"))


pop_scope = _branch.reset


@contextmanager
def branch(name: str) -> Iterator[None]:
    """Name a branch of concurrent work, so that equal calls in different branches keep their identities apart.

    Everything called inside belongs to the branch. Use it where several asyncio tasks of your own make the *same*
    call (same task, same arguments) at once; calls with different arguments need none.

        async def pay(customer):
            with branch(customer):
                token = await new_token()      # no arguments: would be ambiguous without the branch
                await charge(customer, token)

    Raises `MissingContext` outside a run and `InvalidName` for an empty name.
    """
    frame = _frame.get()
    if frame is None:
        raise MissingContext("branch() works inside a flow or task run only.")
    if not isinstance(name, str) or not name:
        raise InvalidName(f"branch() was given {name!r}; it takes a text that is not empty.")
    token = push_scope(frame, name.replace("/", "//"))
    try:
        yield
    finally:
        _branch.reset(token)


@contextmanager
def tags(*names: str) -> Iterator[frozenset[str]]:
    """Add tags to every run that is made inside.

        with tags("nightly", "eu"):
            load_orders()

    Yields all tags in force. Raises `InvalidOption` for a tag that is not text.
    """
    new = _tags.get() | checked_names(names, "tags()")
    token = _tags.set(new)
    try:
        yield new
    finally:
        _tags.reset(token)


class CurrentRun:
    """The run whose body this is, as its own code sees it."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __repr__(self) -> str:
        return f"<CurrentRun {self.kind} {self.name!r} {self.id}, attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The run's id."""
        return self._frame.run.id

    @property
    def name(self) -> str:
        """The run's name."""
        return self._frame.run.name

    @property
    def kind(self) -> str:
        """ "flow" or "task"."""
        return self._frame.run.kind

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._frame.run.attempt

    @property
    def flow_run_id(self) -> str | None:
        """The id of the flow run that this is, or is part of; None outside any flow."""
        run = self._frame.run
        return run.id if run.kind == "flow" else run.flow_run_id

    @property
    def root_run_id(self) -> str:
        """The id of the outermost run."""
        return self._frame.run.owner.root_id

    @property
    def tags(self) -> frozenset[str]:
        """The run's tags."""
        return self._frame.run.tags

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The arguments of the call, by name."""
        return dict(self._frame.arguments)

    @property
    def idempotency_key(self) -> str:
        """The same text on every attempt and after a resume: give it to an outside service to act once.

        Raises `UnkeyableInput` for a call that has no identity, since a resume could not find it again.
        """
        run = self._frame.run
        if run.flow_run_id is None:
            return run.id
        if run.key is None:
            raise UnkeyableInput(
                f"Task run {run.name!r} has no identity, so no key of it would outlive a resume; "
                "give the task key= or ignore_inputs=, or pass it plain data."
            )
        return f"{run.flow_run_id}:{run.key}"


def current_run() -> CurrentRun:
    """The run whose body calls this.

        @task
        async def charge(amount: int) -> None:
            await client.post("/charges", headers={"Idempotency-Key": current_run().idempotency_key})

    Raises `MissingContext` outside a run.
    """
    frame = _frame.get()
    if frame is None:
        raise MissingContext("current_run() works inside a flow or task run only.")
    return CurrentRun(frame)
