"""A small HTTP server and client for the demonstration: sources on loopback, slow and unreliable as the world is."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

SLOWEST, FASTEST = 0.030, 0.005
FAILING = 0.05
SURE = 3
"""The attempt from which on a request is always answered."""

REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


class SiteError(Exception):
    """The server did not answer with what was asked for."""


class Site:
    """Serves the files of a folder: `/` lists them as JSON, `/files/PATH` gives one, compressed.

    Which attempts at which file are refused is drawn from a seed, and so the same every time.
    """

    def __init__(self, folder: Path, paths: list[str], seed: int = 0) -> None:
        self.refused = 0
        self._folder = folder
        self._paths = paths
        self._seed = seed
        self._attempts: Counter[str] = Counter()
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until the client closes it."""
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = unquote(head.split(b" ", 2)[1].decode("ascii"))
                status, body = await self._answer(target)
                writer.write(_head(f"HTTP/1.1 {status} {REASONS[status]}", {"Content-Length": len(body)}) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, target: str) -> tuple[int, bytes]:
        self._attempts[target] += 1
        attempt = self._attempts[target]
        chance = random.Random(f"{self._seed} {target} {attempt}")
        await asyncio.sleep(chance.uniform(FASTEST, SLOWEST))
        if chance.random() < FAILING and attempt < SURE:
            self.refused += 1
            return 503, b""
        if target == "/":
            return 200, json.dumps([self._entry(path) for path in self._paths]).encode()
        path = target.removeprefix("/files/")
        return (200, self._compressed(path)) if path in self._paths else (404, b"")

    def _entry(self, path: str) -> dict[str, str | int]:
        found = (self._folder / path).stat()
        return {"path": path, "size": found.st_size, "modified": found.st_mtime_ns}

    def _compressed(self, path: str) -> bytes:
        return zlib.compress((self._folder / path).read_bytes(), level=1)


class Client:
    """Asks one server, over connections that are kept open between requests."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).hostname or ""
        self._port = urlsplit(url).port or 80
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()

    async def get(self, target: str) -> bytes:
        """The body of the answer. Raises `SiteError` for any answer but 200."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(_head(f"GET {quote(target)} HTTP/1.1", {"Host": self._host}))
            status, body = await _answer_of(reader)
        except BaseException:
            writer.close()  # half an answer may be on its way
            raise
        self._idle.append((reader, writer))
        if status != 200:
            raise SiteError(f"HTTP {status} for {target}")
        return body


async def _answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields if field)
    return int(first.split(" ")[1]), await reader.readexactly(int(headers["content-length"]))


def _head(first: str, headers: dict[str, str | int]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
