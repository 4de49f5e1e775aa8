"""Marks that an author puts around an argument: do not map it, do not resolve it, let it have failed."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Annotation(Generic[T]):
    """A mark around one value."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(Annotation[T]):
    """Give this argument of `map` to every task as it is, instead of going through it.

    load.map(urls, headers=unmapped(["a", "b"]))
    """

    __slots__ = ()


class allow_failure(Annotation[T]):
    """Run the task even if this future failed; it then gets the exception object in the future's place.

    report.submit(allow_failure(future))
    """

    __slots__ = ()


class quote(Annotation[T]):
    """Hand this argument over as it is: futures inside are not waited for, and nothing is searched.

    keep.submit(quote(large_nested_list))
    """

    __slots__ = ()


def unwrapped(value: Any) -> Any:
    """What stands inside an annotation, or the value itself."""
    return value.value if isinstance(value, Annotation) else value
