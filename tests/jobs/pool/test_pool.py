"""The queue and its worker processes: they die, hang and are cancelled, and the next job is answered."""

import asyncio
import os
import signal
import time

import pytest
from serving import FAKE

from regard.errors import NetworkError
from regard.jobs.pool import pool as pools
from regard.jobs.pool.errors import RequestError
from regard.jobs.pool.pool import Pool

PLAN = {"models": [["first", ""]], "device": "cpu", "threads": 1, "max_pixels": 100, "deadline": 60}


def within(scenario, *, workers=1, limit=8, deadline=20.0):
    """Run a scenario with a pool that has started."""

    async def run():
        pool = Pool([PLAN] * workers, limit, deadline)
        await pool.start()
        try:
            return await asyncio.wait_for(scenario(pool), 30)
        finally:
            await pool.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(pools, "WORKER", FAKE)


def test_a_job_is_answered_with_its_stages_and_bytes():
    async def scenario(pool):
        stages = []
        answer, body = await pool.run(
            {"kind": "explain"}, b"echo \x00\xff", lambda stage: stages.append(stage["stage"])
        )
        return answer, body, stages

    answer, body, stages = within(scenario)
    assert (answer["kind"], body, stages) == ("explain", b"echo \x00\xff", ["begun", "echo"])


def test_more_jobs_than_may_wait_are_refused_with_a_time_to_come_again():
    async def scenario(pool):
        jobs = [asyncio.create_task(pool.run({}, b"slow"))]
        await asyncio.sleep(0.2)  # it runs
        jobs += [asyncio.create_task(pool.run({}, b"slow")) for _ in range(3)]
        await asyncio.sleep(0.2)
        assert len(pool.waiting) == 3
        with pytest.raises(RequestError) as refused:
            await pool.run({}, b"echo")
        for job in jobs:
            job.cancel()
        return refused.value

    refused = within(scenario, limit=3)
    assert refused.status == 429
    assert refused.retry >= 1


def test_a_worker_that_dies_is_replaced_and_its_job_done_by_the_next(tmp_path):
    async def scenario(pool):
        first, _ = await pool.run({}, b"echo")
        second, _ = await pool.run({}, f"die once {tmp_path / 'died'}".encode())
        return first["process"], second["process"], pool.slots[0].restarts

    first, second, restarts = within(scenario)
    assert first != second
    assert restarts == 1


def test_a_job_that_kills_twice_is_answered_and_the_next_one_served():
    async def scenario(pool):
        with pytest.raises(RequestError) as refused:
            await pool.run({}, b"die")
        answer, _ = await pool.run({}, b"echo")
        return refused.value.status, pool.slots[0].restarts, answer["process"]

    assert within(scenario)[:2] == (503, 2)


def test_a_worker_killed_from_outside_while_it_waits_is_replaced_before_a_job_comes():
    async def scenario(pool):
        answer, _ = await pool.run({}, b"echo")
        os.kill(answer["process"], signal.SIGKILL)
        while not (pool.slots[0].restarts and pool.slots[0].state == "idle"):
            await asyncio.sleep(0.02)
        again, _ = await pool.run({}, b"echo")
        return answer["process"], again["process"]

    first, second = within(scenario)
    assert first != second


def test_a_cancelled_job_stops_at_its_next_stage_and_its_process_lives():
    async def scenario(pool):
        first, _ = await pool.run({}, b"echo")
        job = asyncio.create_task(pool.run({}, b"slow"))
        await asyncio.sleep(0.2)
        assert pool.slots[0].state == "working"
        job.cancel()
        second, _ = await pool.run({}, b"echo")
        return first["process"], second["process"]

    first, second = within(scenario)
    assert first == second


def test_a_cancelled_job_that_hears_nothing_is_ended_with_its_process(monkeypatch):
    monkeypatch.setattr(pools, "GRACE", 0.3)

    async def scenario(pool):
        job = asyncio.create_task(pool.run({}, b"hang"))
        await asyncio.sleep(0.2)
        job.cancel()
        start = time.monotonic()
        await pool.run({}, b"echo")
        return time.monotonic() - start

    assert within(scenario) < 10


def test_a_job_that_is_cancelled_while_it_waits_leaves_the_queue():
    async def scenario(pool):
        running = asyncio.create_task(pool.run({}, b"slow"))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(pool.run({}, b"echo"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.sleep(0.05)
        left = len(pool.waiting)
        running.cancel()
        return left

    assert within(scenario) == 0


def test_a_job_past_its_deadline_is_answered():
    async def scenario(pool):
        with pytest.raises(RequestError, match=r"longer than the 0\.5 seconds") as refused:
            await pool.run({}, b"hang")
        await pool.run({}, b"echo")
        return refused.value.status

    assert within(scenario, deadline=0.5) == 503


@pytest.mark.parametrize(("word", "status"), [("refuse", 422), ("break", 500), ("exhaust", 503)])
def test_what_a_worker_cannot_do_has_its_own_status_and_the_worker_lives(word, status):
    async def scenario(pool):
        with pytest.raises(RequestError) as refused:
            await pool.run({}, word.encode())
        await pool.run({}, b"echo")
        return refused.value, pool.slots[0].restarts

    refused, restarts = within(scenario)
    assert (refused.status, restarts) == (status, 0)
    assert "Traceback" not in str(refused)


def test_a_network_that_cannot_be_loaded_stops_the_start():
    async def start():
        await Pool([{**PLAN, "models": [["first", "broken"]]}, PLAN], 1, 1).start()

    with pytest.raises(NetworkError, match="cannot be loaded"):
        asyncio.run(start())


def test_a_stopping_pool_refuses_what_waits_and_later_what_runs():
    async def scenario(pool):
        jobs = [asyncio.create_task(pool.run({}, b"slow")) for _ in range(2)]
        await asyncio.sleep(0.2)
        pool.refuse(0.2)
        return await asyncio.gather(*jobs, return_exceptions=True)

    assert [error.status for error in within(scenario)] == [503, 503]


def test_a_worker_ends_when_its_server_has_gone():
    async def scenario(pool):
        job = asyncio.create_task(pool.run({}, b"hang"))
        await asyncio.sleep(0.2)
        child = pool.slots[0].process.child
        child.stdin.close()
        await asyncio.wait_for(child.wait(), 5)
        job.cancel()

    within(scenario)
