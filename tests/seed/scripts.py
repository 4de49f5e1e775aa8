"""How a snippet is run: as a script of its own, in an empty home, with a terminal that shows all it prints in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STAND_INS = Path(__file__).parent / "stand_ins"
CONSOLE_LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| (?P<level>[A-Z]+) *\| (?P<rest>.*)")
RUN_NAME = r"'[a-z]+-[a-z]+'"


@dataclass
class Told:
    """What a script wrote: `shown` is all of it as on a terminal, console lines without their time."""

    code: int
    text: str

    @property
    def shown(self) -> list[str]:
        """Every line in the order of writing; `INFO | ...` for a console line, as the card shows them."""
        lines = [(line, CONSOLE_LINE.fullmatch(line)) for line in self.text.splitlines()]
        return [f"{match['level']} | {match['rest']}" if match else line for line, match in lines]

    @property
    def printed(self) -> list[str]:
        """The lines that the script itself printed."""
        return [line for line in self.text.splitlines() if not CONSOLE_LINE.fullmatch(line)]

    def logged(self, *patterns: str) -> None:
        """Fail unless the console lines match these patterns, one for one and in this order."""
        lines = [line for line in self.shown if line not in self.printed]
        assert len(lines) == len(patterns), self.text
        for line, pattern in zip(lines, patterns, strict=True):
            assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}, in:\n{self.text}"


def run_script(
    folder: Path, home: Path, source: str, *, server: str = "", chances: str | None = None, apart: bool = False
) -> Told:
    """Run a snippet. stderr is mixed in as on a terminal, or left out where the test looks at stdout `apart`."""
    script = folder / "script.py"
    script.write_text(source)
    environment = {
        **os.environ,
        "ASYNCFLOW_HOME": str(home),
        "PYTHONPATH": str(STAND_INS),
        "SEED_SERVER": server,
        **({} if chances is None else {"SEED_CHANCES": chances}),
    }
    ended = subprocess.run(
        [sys.executable, "-u", str(script)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if apart else subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    return Told(ended.returncode, ended.stdout)


@dataclass
class Server:
    """The loopback server behind the stand-in for httpx; it knows how many asked at the same time."""

    url: str
    asked: list[str]
    inside: int = 0
    most: int = 0


@contextmanager
def serving(body: str, together: int = 1) -> Iterator[Server]:
    """A server that answers `{}` of the body with the path, and only when as many as `together` are asking."""
    gate, lock = threading.Barrier(together), threading.Lock()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                server.asked.append(self.path)
                server.inside += 1
                server.most = max(server.most, server.inside)
            gate.wait(20)
            content = body.replace("{}", self.path).encode()
            with lock:
                server.inside -= 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        server = Server(f"http://127.0.0.1:{http.server_port}", [])
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
