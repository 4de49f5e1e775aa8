"""Every example of the documentation does what it shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .pages import ROOT, all_pages, read, script_of


def run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    document = read(page)
    script = script_of(page)
    monkeypatch.setitem(sys.modules, "__main__", script)
    document.namespace = vars(script)
    for example in document.examples():
        example.evaluate()


@pytest.mark.blocks_loop
@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(page, tmp_path, monkeypatch)


PAGE = """
Some text.

```python
import asyncio
total = 1
```

```python
await asyncio.sleep(0)
if __name__ == "__main__":
    total += 1
```

```pycon
>>> total
{total}
```

<!-- skip: next -->

```python
total = 1 / 0
```

```bash
exit 1
```

```python
# saved.py
print("12:00:00.000 brave-otter is here")
```

```console
$ python saved.py
08:30:10.123 calm-finch is here
$ python not_a_file_of_this_page.py
```
"""


def test_a_page_is_one_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(total=2))
    run(page, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (PAGE.format(total=3), Exception),
        ("```python\nassert False\n```\n", AssertionError),
        ("```python\nimport asyncio\n\nawait asyncio.sleep('x')\n```\n", TypeError),
        ("```console\n$ asyncflow no-such-command\n```\n", AssertionError),
        ("```console\n$ asyncflow --version\nasyncflow 999\n```\n", AssertionError),
        ("```python\n# one.py\nraise SystemExit(1)\n```\n\n```console\n$ python one.py\n```\n", AssertionError),
    ],
    ids=["doctest", "python", "await", "console", "output", "file"],
)
def test_a_wrong_example_is_found(
    text: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(error):
        run(page, tmp_path, monkeypatch)


def test_an_error_shows_the_line_of_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nfine = 1\nassert fine == 2\n```\n")
    with pytest.raises(AssertionError) as caught:
        run(page, tmp_path, monkeypatch)
    assert caught.traceback[-1].lineno + 1 == 5
