"""The queue, and the worker processes that empty it: each has its networks loaded, one job at a time, and may die.

A job whose process died is given to the next one, once; a second death is answered. A job that nobody waits for, or
that takes longer than `deadline`, is told to stop at its next stage, and its process is ended where it does not.
"""

import asyncio
import logging
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from regard.errors import NetworkError
from regard.jobs.pool import wire
from regard.jobs.pool.errors import RequestError

log = logging.getLogger("regard")

WORKER = ("-P", "-X", "utf8", "-m", "regard.jobs.pool.worker")
"""What Python is started with; -P: nothing that lies in the folder where the server was started is imported."""
MOST_BYTES = 512_000_000
"""Bytes of pictures that may wait."""
GRACE = 10.0
"""Seconds that a cancelled job has to come to its next stage."""
PATIENCE = (1.0, 5.0, 30.0)
"""Seconds before a process that could not start is tried again; the last of them from then on."""
STOPPING = "the server is being stopped; come again when it runs"
Report = Callable[[Mapping[str, Any]], None]
Answer = tuple[dict[str, Any], bytes]


@dataclass(eq=False)
class Job:
    """What is to be done with a picture; `report` hears its stages, `result` gets its answer."""

    header: Mapping[str, Any]
    picture: bytes
    report: Report
    result: "asyncio.Future[Answer]"
    number: int
    deaths: int = 0

    def fail(self, status: int, message: str, retry: int | None = None) -> None:
        if not self.result.done():
            self.result.set_exception(RequestError(status, message, retry))


class Process:
    """One worker: what it says that it has in `about`, and the timer of its job."""

    def __init__(self, child: asyncio.subprocess.Process, about: dict[str, Any]) -> None:
        self.child = child
        self.about = about
        self.timer: asyncio.Timeout | None = None
        self.job: Job | None = None

    @classmethod
    async def start(cls, plan: Mapping[str, Any]) -> "Process":
        """A process whose networks are loaded. Raises `NetworkError` with what it says where they cannot be."""
        pipe = asyncio.subprocess.PIPE
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # threads that wait leave the cores to other work
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *WORKER,
            stdin=pipe,
            stdout=pipe,
            limit=1 << 20,
            env=environment,
            start_new_session=os.name == "posix",
        )
        process = cls(child, {})
        try:
            await process.send(plan)
            frame = await wire.receive(process.stdout)
        except asyncio.CancelledError:
            await process.end(0)
            raise
        if frame is None or frame[0]["kind"] != "ready":
            await process.end(0)
            code = child.returncode
            raise NetworkError(
                f"a worker ended with {code} before it was ready" if frame is None else frame[0]["error"]
            )
        process.about = frame[0]
        return process

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self.child.stdout is not None
        return self.child.stdout

    async def send(self, header: Mapping[str, Any], body: bytes = b"") -> None:
        assert self.child.stdin is not None
        with suppress(ConnectionError):  # a process that has died is noticed where it is read
            self.child.stdin.write(wire.packed(header, body))
            await self.child.stdin.drain()

    async def work(self, job: Job, deadline: float) -> bool:
        """Do a job to its end; whether the process is still good for another."""
        self.job = job
        try:
            async with asyncio.timeout(deadline) as self.timer:
                await self.send({**job.header, "job": job.number}, job.picture)
                while (frame := await wire.receive(self.stdout)) is not None and frame[0]["kind"] == "stage":
                    if not job.result.done():
                        job.report(frame[0])
        except TimeoutError:
            job.fail(
                503,
                f"this took longer than the {deadline:g} seconds that a job has; choose a cheaper method, fewer "
                "samples or a smaller network, or have the server started with a longer --deadline",
            )
            return False
        finally:
            self.timer = None
            self.job = None
        if frame is None:
            return False
        _settle(job, *frame)
        return True

    def cancel(self, job: Job) -> None:
        """Have the job stop at its next stage; the process ends where that does not come soon."""
        if self.timer is not None and self.child.stdin is not None and not self.child.stdin.is_closing():
            self.child.stdin.write(wire.packed({"kind": "cancel", "job": job.number}))
            when = self.timer.when()
            self.timer.reschedule(min(math.inf if when is None else when, asyncio.get_running_loop().time() + GRACE))

    async def end(self, patience: float = 2.0) -> None:
        """Close its input, which ends it, or kill it."""
        if self.child.stdin is not None:
            self.child.stdin.close()
        try:
            async with asyncio.timeout(patience):
                await self.child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.child.kill()
            await self.child.wait()


def _settle(job: Job, header: dict[str, Any], body: bytes) -> None:
    """Give a job the answer that its process has for it."""
    if job.result.done():  # nobody waits
        return
    if header["kind"] == "done":
        job.result.set_result(({**header["answer"], "notes": header["notes"]}, body))
    elif header["kind"] == "refused":
        job.fail(422, header["error"])
    elif header["kind"] == "exhausted":
        job.fail(503, "this needs more memory than the server has; choose a cheaper method or a smaller picture", 5)
    else:
        log.error(f"a job failed: {header.get('error', header['kind'])}")
        job.fail(500, "the server failed at this; its log has what happened: please report it")


@dataclass
class Slot:
    """A place for a process: how it is started, and what became of it so far."""

    plan: Mapping[str, Any]
    process: Process | None = None
    state: str = "starting"
    jobs: int = 0
    restarts: int = 0
    error: str = ""
    failures: int = 0
    rest: "Job | None" = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        about = {"device": self.plan["device"] or "auto", "state": self.state, "jobs": self.jobs}
        return {**about, "restarts": self.restarts, **({"error": self.error} if self.error else {})}


class Pool:
    """As many processes as there are `plans`, and at most `limit` jobs that wait for them."""

    def __init__(self, plans: Sequence[Mapping[str, Any]], limit: int, deadline: float) -> None:
        self.slots = [Slot(plan) for plan in plans]
        self.limit = limit
        self.deadline = deadline
        self.waiting: deque[Job] = deque()
        self.models: list[dict[str, Any]] = []
        self.seconds = 0.5
        """What a job takes, of late."""
        self._arrived = asyncio.Event()
        self._numbers = count(1)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> list[str]:
        """Start every process, and give what they said. Raises `NetworkError` where the networks cannot be loaded."""
        starts = [asyncio.create_task(Process.start(slot.plan)) for slot in self.slots]
        try:
            processes = await asyncio.gather(*starts)
        except BaseException:
            done = await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(each.end(0) for each in done if isinstance(each, Process)))
            raise
        for slot, process in zip(self.slots, processes, strict=True):
            slot.process = process
            slot.state = "idle"
        self.models = processes[0].about["models"]
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in self.slots]
        return list(processes[0].about["notes"])

    async def close(self) -> None:
        """End every process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.process.end() for slot in self.slots if slot.process is not None))

    def refuse(self, seconds: float) -> None:
        """The server is stopping: jobs that wait are refused, and those that run after so many seconds."""
        self.limit = 0
        for job in self.waiting:
            job.fail(503, STOPPING)
        running = [slot.process.job for slot in self.slots if slot.process is not None and slot.process.job is not None]
        for job in running:
            asyncio.get_running_loop().call_later(seconds, job.fail, 503, STOPPING)

    @property
    def healthy(self) -> bool:
        return any(slot.state in ("idle", "working") for slot in self.slots)

    def check_room(self) -> None:
        """Raise `RequestError` where no more jobs may wait."""
        if len(self.waiting) >= self.limit or sum(len(job.picture) for job in self.waiting) > MOST_BYTES:
            retry = max(1, math.ceil(self.seconds * len(self.waiting) / len(self.slots)))
            raise RequestError(
                429, f"{len(self.waiting)} jobs wait already, as many as may; come again in {retry} seconds", retry
            )

    async def run(self, header: Mapping[str, Any], picture: bytes, report: Report = lambda stage: None) -> Answer:
        """The answer of a worker. Raises `RequestError` where there is none; where the caller is cancelled, so is the
        job."""
        self.check_room()
        job = Job(header, picture, report, asyncio.get_running_loop().create_future(), next(self._numbers))
        self.waiting.append(job)
        self._arrived.set()
        try:
            return await job.result
        finally:
            if job in self.waiting:
                self.waiting.remove(job)
            for slot in self.slots:
                if slot.process is not None and slot.process.job is job:  # still at it
                    slot.process.cancel(job)

    async def _keep(self, slot: Slot) -> None:
        """Give one process job after job, and put another in its place where it dies."""
        while True:
            if slot.process is None:
                await self._restart(slot)
                continue
            slot.state = "idle"
            job = slot.rest or await self._next(slot.process)
            slot.rest = None
            slot.state = "working"
            start = asyncio.get_running_loop().time()
            if job is not None and (job.result.done() or await slot.process.work(job, self.deadline)):
                slot.jobs += 1
                self.seconds += 0.1 * (asyncio.get_running_loop().time() - start - self.seconds)
                continue
            slot.state = "starting"
            slot.restarts += 1
            await slot.process.end(0)
            log.warning(f"a worker ended with {slot.process.child.returncode}; another is started")
            slot.process = None
            if job is not None:
                job.deaths += 1
                if job.deaths > 1:
                    job.fail(503, "a worker died of this twice; try another picture, or a cheaper method", 5)
                slot.rest = None if job.result.done() else job

    async def _next(self, process: Process) -> Job | None:
        """The job that has waited longest; None where the process has died meanwhile."""
        end = asyncio.create_task(process.child.wait())
        end.add_done_callback(lambda task: self._arrived.set())
        try:
            while not self.waiting:
                self._arrived.clear()
                await self._arrived.wait()
                if end.done():
                    return None
            return self.waiting.popleft()
        finally:
            end.cancel()

    async def _restart(self, slot: Slot) -> None:
        try:
            slot.process = await Process.start(slot.plan)
            slot.failures = 0
            slot.error = ""
        except (NetworkError, OSError) as error:
            slot.state = "failed"
            slot.error = str(error)
            log.warning(f"a worker could not be started again: {error}")
            for job in [slot.rest, *self.waiting] if not self.healthy else [slot.rest]:
                if job is not None:
                    job.fail(503, "no worker can be started at the moment; come again later", 30)
            slot.rest = None
            await asyncio.sleep(PATIENCE[min(slot.failures, len(PATIENCE) - 1)])
            slot.failures += 1
