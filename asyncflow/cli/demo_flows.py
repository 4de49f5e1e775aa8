"""The flow of `asyncflow demo`: fetch Python's standard library from a server and count what is in it."""

from __future__ import annotations

import ast
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from ..cache_policies import INPUTS, TASK_SOURCE
from ..core.annotations import unmapped
from ..flows import flow
from ..tasks import exponential_backoff, task
from .demo_site import Client

SITE_LIMIT = "demo-site"
"""The concurrency limit that `fetch` asks for: how many requests the server is sent at once."""


_parser = Lock()
"""Python 3.11 trips over itself where two threads build syntax trees at once."""


@dataclass(frozen=True)
class Source:
    """A file that the server has."""

    path: str
    size: int
    modified: int


@dataclass(frozen=True)
class Module:
    """What is in one file; of one that is not valid Python, only its size."""

    path: str
    size: int
    valid: bool
    functions: int
    classes: int
    imports: list[str]


@dataclass(frozen=True)
class Totals:
    """What is in all files."""

    files: int
    size: int
    invalid: int
    functions: int
    classes: int
    imports: dict[str, int]
    biggest: list[Module]


@task(retries=3, retry_delay_seconds=exponential_backoff(0.05), ignore_inputs=["client"])
async def list_sources(client: Client) -> list[Source]:
    """Ask the server which files it has."""
    return [Source(**entry) for entry in json.loads(await client.get("/"))]


@task(
    retries=3,
    retry_delay_seconds=exponential_backoff(0.05),
    retry_jitter_factor=0.5,
    limits=[SITE_LIMIT],
    cache_policy=INPUTS - "client",  # a file that has not changed since is not fetched again
    ignore_inputs=["client"],  # a connection says nothing about which call this is
    preview=False,
)
async def fetch(source: Source, client: Client) -> bytes:
    """Get a file from the server, compressed as it is sent."""
    return await client.get(f"/files/{source.path}")


@task(cache_policy=TASK_SOURCE + INPUTS)
def parse(source: Source, page: bytes) -> Module:
    """Count what is in a file. A plain function: it runs in a thread, beside the event loop."""
    try:
        with _parser:
            tree = ast.parse(zlib.decompress(page))
    except SyntaxError:
        return Module(source.path, source.size, False, 0, 0, [])
    found = list(_statements(tree))
    return Module(
        source.path,
        source.size,
        True,
        functions=sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in found),
        classes=sum(isinstance(each, ast.ClassDef) for each in found),
        imports=[name for each in found for name in _imported(each)],
    )


@flow
async def add_up(modules: list[Module]) -> Totals:
    """Add up what is in all files."""
    imports = Counter(name for module in modules for name in module.imports)
    return Totals(
        files=len(modules),
        size=sum(module.size for module in modules),
        invalid=sum(not module.valid for module in modules),
        functions=sum(module.functions for module in modules),
        classes=sum(module.classes for module in modules),
        imports=dict(imports.most_common()),
        biggest=sorted(modules, key=lambda module: module.size, reverse=True)[:5],
    )


@flow
async def survey_library(url: str) -> Totals:
    """Fetch each file from the server at `url`, parse each in a thread, and add up."""
    async with Client(url) as client:
        sources = await list_sources(client)
        pages = await fetch.map(sources, unmapped(client), limit=64)
    modules = await parse.map(sources, pages, limit=3)
    return await add_up(modules)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node. Expressions are not searched: there are no statements in them."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, name, ())


def _imported(statement: ast.AST) -> list[str]:
    """The top-level names of the modules that a statement imports from elsewhere."""
    if isinstance(statement, ast.Import):
        return [alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        return [statement.module.partition(".")[0]]
    return []
