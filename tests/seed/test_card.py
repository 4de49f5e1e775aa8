"""Every snippet of the card that needs no schedule, worker or server: as printed, and as its async twin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .scripts import CONSOLE_LINE, RUN_NAME, run_script, serving

COLOURS = ("sync", "async")

QUICK = {
    "sync": """
from asyncflow import flow, task

@task
def fetch_data(url: str) -> list[dict]:
    import httpx
    return httpx.get(url).json()

@task
def process(records: list[dict]) -> list[dict]:
    return [r for r in records if r.get("active")]

@flow(name="My Pipeline")
def pipeline(url: str) -> list[dict]:
    raw = fetch_data(url)
    return process(raw)

if __name__ == "__main__":
    result = pipeline("https://httpbin.org/json")
    print(result)
""",
    "async": """
import asyncio
from asyncflow import flow, task

@task
async def fetch_data(url: str) -> list[dict]:
    import httpx
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).json()

@task
async def process(records: list[dict]) -> list[dict]:
    return [r for r in records if r.get("active")]

@flow(name="My Pipeline")
async def pipeline(url: str) -> list[dict]:
    raw = await fetch_data(url)
    return await process(raw)

if __name__ == "__main__":
    result = asyncio.run(pipeline("https://httpbin.org/json"))
    print(result)
""",
}


@pytest.mark.parametrize("colour", COLOURS)
def test_quick_example(colour: str, tmp_path: Path, home: Path) -> None:
    with serving('[{"name": "{}", "active": false}]') as server:
        told = run_script(tmp_path, home, QUICK[colour], server=server.url)
    assert told.code == 0, told.text
    assert server.asked == ["/json"]
    assert told.printed == ["[]"]
    told.logged(
        rf"INFO \| asyncflow\.engine - Created flow run {RUN_NAME} for flow 'My Pipeline'",
        r"INFO \| Task run 'fetch_data' - Finished in state Completed\(\)",
        r"INFO \| Task run 'process' - Finished in state Completed\(\)",
        rf"INFO \| Flow run {RUN_NAME} - Finished in state Completed\(\)",
    )


@pytest.mark.parametrize("colour", COLOURS)
def test_what_a_script_prints_is_all_there_is_on_stdout(colour: str, tmp_path: Path, home: Path) -> None:
    with serving('[{"name": "{}", "active": true}]') as server:
        told = run_script(tmp_path, home, QUICK[colour], server=server.url, apart=True)
    assert told.text == "[{'name': '/json', 'active': True}]\n"


@pytest.mark.parametrize("name", ["quick", "parallel"])
def test_what_a_script_prints_after_its_flow_stands_below_the_flows_lines(
    name: str, tmp_path: Path, home: Path
) -> None:
    source = {"quick": QUICK, "parallel": PARALLEL}[name]["sync"]
    with serving("[]") as server:
        told = run_script(tmp_path, home, source, server=server.url)
    assert len(told.shown) > 1
    assert [told.shown[-1]] == told.printed


@pytest.mark.parametrize("colour", COLOURS)
def test_a_console_line_begins_with_time_and_level(colour: str, tmp_path: Path, home: Path) -> None:
    with serving("[]") as server:
        told = run_script(tmp_path, home, QUICK[colour], server=server.url)
    first = next(filter(None, map(CONSOLE_LINE.fullmatch, told.text.splitlines())))
    assert first[0].split(" | ")[1] == "INFO   "


RETRIES = {
    "sync": """
from asyncflow import flow, task
from datetime import timedelta

@task(
    retries=3,
    retry_delay_seconds=10,
    timeout_seconds=30,
    log_prints=True,
)
def unreliable_api_call(endpoint: str) -> dict:
    import httpx, random
    if random.random() < 0.5:
        raise ConnectionError("Simulated network failure")
    print(f"Called {endpoint} successfully")
    return {"status": "ok"}

@flow(
    retries=1,
    timeout_seconds=120,
    log_prints=True,
)
def robust_pipeline():
    result = unreliable_api_call("https://api.example.com/data")
    print(f"Result: {result}")

robust_pipeline()
""",
    "async": """
import asyncio
from asyncflow import flow, task
from datetime import timedelta

@task(
    retries=3,
    retry_delay_seconds=10,
    timeout_seconds=30,
    log_prints=True,
)
async def unreliable_api_call(endpoint: str) -> dict:
    import httpx, random
    if random.random() < 0.5:
        raise ConnectionError("Simulated network failure")
    print(f"Called {endpoint} successfully")
    return {"status": "ok"}

@flow(
    retries=1,
    timeout_seconds=120,
    log_prints=True,
)
async def robust_pipeline():
    result = await unreliable_api_call("https://api.example.com/data")
    print(f"Result: {result}")

asyncio.run(robust_pipeline())
""",
}
CREATED = rf"INFO \| asyncflow\.engine - Created flow run {RUN_NAME} for flow 'robust-pipeline'"
RETRYING = r"INFO \| Task run 'unreliable_api_call' - Retrying in 10\.0 seconds\.\.\."


@pytest.mark.parametrize("colour", COLOURS)
def test_retries(colour: str, tmp_path: Path, home: Path) -> None:
    told = run_script(tmp_path, home, RETRIES[colour], chances="0.1 0.9")
    assert told.code == 0, told.text
    told.logged(
        CREATED,
        RETRYING,
        r"INFO \| Task run 'unreliable_api_call' - Called https://api\.example\.com/data successfully",
        r"INFO \| Task run 'unreliable_api_call' - Finished in state Completed\(\)",
        r"INFO \| Result: {'status': 'ok'}",
        rf"INFO \| Flow run {RUN_NAME} - Finished in state Completed\(\)",
    )


@pytest.mark.parametrize("colour", COLOURS)
def test_retries_that_all_fail(colour: str, tmp_path: Path, home: Path) -> None:
    told = run_script(tmp_path, home, RETRIES[colour], chances=8 * "0.1 ")
    assert told.code == 1
    assert told.printed[-1] == "ConnectionError: Simulated network failure"
    assert sum(line.endswith("Retrying in 10.0 seconds...") for line in told.shown) == 2 * 3
    assert [line.partition(" - ")[2] for line in told.shown if line.startswith("ERROR | Flow run")] == [
        "Finished in state Failed('ConnectionError: Simulated network failure')"
    ]


CACHING = {
    "sync": """
from asyncflow import flow, task
from asyncflow.tasks import task_input_hash
from datetime import timedelta
import time

@task(
    cache_key_fn=task_input_hash,
    cache_expiration=timedelta(hours=1),
    log_prints=True,
)
def expensive_query(sql: str) -> list[dict]:
    print(f"Running query: {sql}")
    time.sleep(2)  # simulate slow DB call
    return [{"result": 42}]

@flow
def pipeline():
    # First call — runs the query
    r1 = expensive_query("SELECT * FROM big_table")
    # Second call with same input — returns cached result instantly
    r2 = expensive_query("SELECT * FROM big_table")
    print(r1, r2)

pipeline()
""",
    "async": """
import asyncio
from asyncflow import flow, task
from asyncflow.tasks import task_input_hash
from datetime import timedelta

@task(
    cache_key_fn=task_input_hash,
    cache_expiration=timedelta(hours=1),
    log_prints=True,
)
async def expensive_query(sql: str) -> list[dict]:
    print(f"Running query: {sql}")
    await asyncio.sleep(2)  # simulate slow DB call
    return [{"result": 42}]

@flow
async def pipeline():
    # First call — runs the query
    r1 = await expensive_query("SELECT * FROM big_table")
    # Second call with same input — returns cached result instantly
    r2 = await expensive_query("SELECT * FROM big_table")
    print(r1, r2)

asyncio.run(pipeline())
""",
}
RUNNING_QUERY = "INFO | Task run 'expensive_query' - Running query: SELECT * FROM big_table"


@pytest.mark.parametrize("colour", COLOURS)
def test_caching(colour: str, tmp_path: Path, home: Path) -> None:
    first = run_script(tmp_path, home, CACHING[colour])
    assert first.code == 0, first.text
    assert first.printed == ["[{'result': 42}] [{'result': 42}]"]
    assert first.shown.count(RUNNING_QUERY) == 1
    again = run_script(tmp_path, home, CACHING[colour])
    assert again.printed == first.printed
    assert again.shown.count(RUNNING_QUERY) == 0


PARALLEL = {
    "sync": """
from asyncflow import flow, task
from asyncflow.futures import wait
import time

@task(log_prints=True)
def process_item(item: int) -> int:
    time.sleep(0.5)
    return item ** 2

@flow
def parallel_pipeline(items: list[int]) -> list[int]:
    futures = [process_item.submit(item) for item in items]
    wait(futures)
    return [f.result() for f in futures]

result = parallel_pipeline(list(range(10)))
print(result)
""",
    "async": """
import asyncio
from asyncflow import flow, task
from asyncflow.futures import wait

@task(log_prints=True)
async def process_item(item: int) -> int:
    await asyncio.sleep(0.5)
    return item ** 2

@flow
async def parallel_pipeline(items: list[int]) -> list[int]:
    futures = [process_item.submit(item) for item in items]
    await wait(futures)
    return [await f for f in futures]

result = asyncio.run(parallel_pipeline(list(range(10))))
print(result)
""",
}


@pytest.mark.parametrize("colour", COLOURS)
def test_parallel_submission(colour: str, tmp_path: Path, home: Path) -> None:
    told = run_script(tmp_path, home, PARALLEL[colour])
    assert told.code == 0, told.text
    assert told.printed == ["[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]"]
    finished = sorted(line for line in told.shown if "Task run" in line)
    names = sorted(["process_item", *(f"process_item-{number}" for number in range(1, 10))])
    assert finished == [f"INFO | Task run '{name}' - Finished in state Completed()" for name in names]


SUBFLOWS = {
    "sync": """
from asyncflow import flow, task

@task
def validate(data: list) -> bool:
    return len(data) > 0

@flow(name="transform")
def transform_flow(data: list) -> list:
    if validate(data):
        return [x * 2 for x in data]
    return []

@flow(name="main")
def main_flow():
    raw = [1, 2, 3, 4, 5]
    result = transform_flow(raw)   # sub-flow call
    print(f"Transformed: {result}")

main_flow()
""",
    "async": """
import asyncio
from asyncflow import flow, task

@task
async def validate(data: list) -> bool:
    return len(data) > 0

@flow(name="transform")
async def transform_flow(data: list) -> list:
    if await validate(data):
        return [x * 2 for x in data]
    return []

@flow(name="main")
async def main_flow():
    raw = [1, 2, 3, 4, 5]
    result = await transform_flow(raw)   # sub-flow call
    print(f"Transformed: {result}")

asyncio.run(main_flow())
""",
}


@pytest.mark.parametrize("colour", COLOURS)
def test_subflows(colour: str, tmp_path: Path, home: Path) -> None:
    told = run_script(tmp_path, home, SUBFLOWS[colour])
    assert told.code == 0, told.text
    assert told.printed == ["Transformed: [2, 4, 6, 8, 10]"]
    told.logged(
        rf"INFO \| asyncflow\.engine - Created flow run {RUN_NAME} for flow 'main'",
        rf"INFO \| asyncflow\.engine - Created subflow run {RUN_NAME} for flow 'transform'",
        r"INFO \| Task run 'validate' - Finished in state Completed\(\)",
        rf"INFO \| Flow run {RUN_NAME} - Finished in state Completed\(\)",
        rf"INFO \| Flow run {RUN_NAME} - Finished in state Completed\(\)",
    )


HOOKS = {
    "sync": """
from asyncflow import flow, task
from asyncflow.states import State

@task(log_prints=True)
def my_task():
    print("task running")
    return 42

def on_failure(flow, flow_run, state):
    print(f"Flow {flow.name} failed: {state.message}")

def on_completion(flow, flow_run, state):
    print(f"Flow {flow.name} completed successfully")

@flow(
    on_failure=[on_failure],
    on_completion=[on_completion],
    log_prints=True,
)
def instrumented_flow():
    result = my_task()
    print(f"Result: {result}")

instrumented_flow()
""",
    "async": """
import asyncio
from asyncflow import flow, task
from asyncflow.states import State

@task(log_prints=True)
async def my_task():
    print("task running")
    return 42

async def on_failure(flow, flow_run, state):
    print(f"Flow {flow.name} failed: {state.message}")

async def on_completion(flow, flow_run, state):
    print(f"Flow {flow.name} completed successfully")

@flow(
    on_failure=[on_failure],
    on_completion=[on_completion],
    log_prints=True,
)
async def instrumented_flow():
    result = await my_task()
    print(f"Result: {result}")

asyncio.run(instrumented_flow())
""",
}


@pytest.mark.parametrize("colour", COLOURS)
def test_logging_and_hooks(colour: str, tmp_path: Path, home: Path) -> None:
    told = run_script(tmp_path, home, HOOKS[colour])
    assert told.code == 0, told.text
    assert told.printed == ["Flow instrumented-flow completed successfully"]
    told.logged(
        rf"INFO \| asyncflow\.engine - Created flow run {RUN_NAME} for flow 'instrumented-flow'",
        r"INFO \| Task run 'my_task' - task running",
        r"INFO \| Task run 'my_task' - Finished in state Completed\(\)",
        r"INFO \| Result: 42",
        rf"INFO \| Flow run {RUN_NAME} - Finished in state Completed\(\)",
    )


@pytest.mark.parametrize("colour", COLOURS)
def test_the_hook_of_a_failure(colour: str, tmp_path: Path, home: Path) -> None:
    source = HOOKS[colour].replace("return 42", 'raise ValueError("no answer")')
    told = run_script(tmp_path, home, source)
    assert told.code == 1
    assert "Flow instrumented-flow failed: ValueError: no answer" in told.printed
    assert told.printed[-1] == "ValueError: no answer"


LIMITS = {
    "sync": """
from asyncflow import flow, task
from asyncflow.concurrency.sync import concurrency

@task
def api_call(endpoint: str) -> dict:
    with concurrency("external-api", occupy=1):
        import httpx
        return httpx.get(endpoint).json()

@flow
def batch_requests(endpoints: list[str]) -> list[dict]:
    futures = [api_call.submit(ep) for ep in endpoints]
    return [f.result() for f in futures]

print(batch_requests([f"https://api.example.com/{number}" for number in range(10)]))
""",
    "async": """
import asyncio
from asyncflow import flow, task
from asyncflow.concurrency.asyncio import concurrency

@task
async def api_call(endpoint: str) -> dict:
    async with concurrency("external-api", occupy=1):
        import httpx
        async with httpx.AsyncClient() as client:
            return (await client.get(endpoint)).json()

@flow
async def batch_requests(endpoints: list[str]) -> list[dict]:
    futures = [api_call.submit(ep) for ep in endpoints]
    return [await f for f in futures]

print(asyncio.run(batch_requests([f"https://api.example.com/{number}" for number in range(10)])))
""",
}


@pytest.mark.parametrize("colour", COLOURS)
def test_concurrency_limits(colour: str, tmp_path: Path, home: Path) -> None:
    command = [sys.executable, "-m", "asyncflow", "concurrency-limit", "create", "external-api", "5"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    with serving('{"path": "{}"}', together=5) as server:
        told = run_script(tmp_path, home, LIMITS[colour], server=server.url)
    assert told.code == 0, told.text
    assert told.printed == [str([{"path": f"/{number}"} for number in range(10)])]
    assert (len(server.asked), server.most) == (10, 5)
