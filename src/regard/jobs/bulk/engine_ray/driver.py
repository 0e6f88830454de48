"""The loop that gives workers their units, begins workers where there is room, and does again what died."""

import logging
import os
import pickle
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from regard.errors import RegardError, UsageError
from regard.jobs.bulk.engine_local import Report, StoppedError, watched
from regard.jobs.bulk.engine_ray.actor import BulkActor
from regard.jobs.bulk.engine_ray.address import ray_address
from regard.jobs.bulk.engine_ray.cluster import connected, first_line, leaving_nodes, missing, nodes_of
from regard.jobs.bulk.engine_ray.queue import Place, Queue
from regard.jobs.bulk.pace import Pace
from regard.jobs.bulk.plan import Unit
from regard.jobs.bulk.work import Work
from regard.jobs.bulk.worker import Outcome
from regard.records.display import counted

log = logging.getLogger("regard")

DEATHS = 4
"""Workers that may die on one unit, before it is left out."""
FAILURES = 3
"""Errors of one unit, before the job ends with the last."""
STILLBORN = 8
"""Workers that may die before they begin, one after the other, before the job ends."""
LOOK = 2.0
"""Seconds between two looks at the nodes of the cluster."""
SILENCE = 60.0
"""Seconds without any worker, after which that is said."""


def check() -> None:
    """Raise `UsageError` where Ray is not installed, or is not at RAY_ADDRESS; nothing is begun."""
    ray_address(os.environ.get("RAY_ADDRESS", ""))
    if find_spec("ray") is None:
        raise missing()


def run(work: Work, units: Sequence[Unit], report: Report) -> None:
    """Have every unit done on a cluster of Ray's; `report` is called with the outcome of each.

    It is the one at RAY_ADDRESS, or is started here for the while. Raises `UsageError` where there is no Ray, or none
    of its nodes has the job's versions and network, `StoppedError` after a signal, and what workers raise of one unit
    time and again.
    """
    with connected() as ray, watched() as signals:
        Driver(ray, work, units, report).run(signals)


class Driver:
    """One job's workers and its queue."""

    def __init__(self, ray: Any, work: Work, units: Sequence[Unit], report: Report) -> None:
        self.ray = ray
        self.work = work
        self.report = report
        self.queue = Queue.of(units)
        self.places: list[Place] = []
        self.refusals: dict[str, str] = {}  # by node
        self.stillborn = 0
        self.pace = Pace(sum(unit.pictures for unit in units))
        self._actor = ray.remote(BulkActor)
        self._payload = ray.put(pickle.dumps(work))
        self._last_look = 0.0
        self._alone = time.monotonic()  # since then there is no worker

    def run(self, signals: Sequence[int]) -> None:
        """Until all units are done, or a signal came."""
        try:
            while self.queue.left:
                if signals:
                    raise StoppedError(signals[0])
                if time.monotonic() - self._last_look > LOOK:
                    self._look()
                    self._last_look = time.monotonic()
                calls = {place.call: place for place in self.places if place.call is not None}
                if not calls:
                    time.sleep(0.1)  # nodes may come
                    continue
                answers, _ = self.ray.wait([*calls], num_returns=1, timeout=0.5)
                for call in answers:
                    self._take_answer(calls[call], call)
        finally:
            for place in self.places:
                self._kill(place)

    def _look(self) -> None:
        """Begin workers wherever there is room, leave nodes that go away, and see who is late."""
        nodes = nodes_of(self.ray)
        leaving = leaving_nodes()
        for place in [each for each in self.places if each.node in leaving and each.unit is None]:
            self._end(place)
        share = self._share(nodes.values())
        for node, resources in nodes.items():
            if node in leaving or node in self.refusals:
                continue
            room = min(int(resources.get(name, 0) // count) for name, count in share.items())
            room -= sum(place.node == node for place in self.places)
            for _ in range(min(room, len(self.queue.left) - len(self.places))):
                self._begin(node, share)
        for place in self.places:
            self._note_late(place)
        self._give_idle()
        now = time.monotonic()
        if any(place.has_begun for place in self.places):
            self._alone = now
        elif now - self._alone > SILENCE:
            self._alone = now
            log.warning(f"no worker has begun yet on {counted(len(nodes), 'node')} of Ray: other work may have them")

    def _share(self, nodes: Iterable[Mapping[str, float]]) -> dict[str, float]:
        """What a worker takes of its node: a device, where the network is on one, else a processor for each thread."""
        if str(self.work.network.get("device") or "cpu").startswith("cuda"):
            return {"GPU": 1}
        largest = max((int(node.get("CPU", 0)) for node in nodes), default=1)
        return {"CPU": max(1, min(self.work.threads, largest))}

    def _begin(self, node: str, share: Mapping[str, float]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = self._actor.options(
            num_cpus=share.get("CPU", 0),
            num_gpus=share.get("GPU", 0),
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            max_restarts=0,
            max_task_retries=0,
        ).remote()
        versions = dict(self.work.versions)
        call = actor.begin.remote(versions, self.work.command, self._payload, str(Path.cwd()))
        self.places.append(Place(actor, node, call))

    def _take_answer(self, place: Place, call: Any) -> None:
        """What a worker answered; it gets its next unit."""
        place.call = None
        try:
            answer = self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            self._retry(place, error)
        except self.ray.exceptions.RayError as error:
            self._bury(place, error)
        else:
            if not place.has_begun:
                self._welcome(place, answer)
            elif answer is None:  # its process was told to end
                self._end(place)
            else:
                self._finish(place, answer)

    def _welcome(self, place: Place, refusal: str) -> None:
        """A worker has begun, or is not fit to."""
        place.has_begun = True
        self.stillborn = 0
        if not refusal:
            self._give(place)
            return
        if place.node not in self.refusals:
            log.warning(f"node {place.node[:8]} is refused: {refusal}")
        self.refusals[place.node] = refusal
        self._end(place)
        if {node for node, has in nodes_of(self.ray).items() if has.get("CPU")} <= set(self.refusals):
            raise UsageError(refusal)

    def _finish(self, place: Place, outcome: Outcome) -> None:
        """A unit is done, or has been by another one."""
        unit = place.unit
        place.unit = None
        if unit is not None and self.queue.finish(unit):
            self.pace.add(outcome.seconds, outcome.pictures, outcome.errors is not None)
            self.report(outcome)
        self._give(place)

    def _give(self, place: Place) -> None:
        """Its next unit, unless its node goes away."""
        if place.node in leaving_nodes():
            self._end(place)
        elif self.queue.take(place, self.places) is not None:
            place.since = time.monotonic()
            place.is_late = False
            place.call = place.actor.do.remote(place.unit, place.ahead)

    def _give_idle(self) -> None:
        for place in [each for each in self.places if each.is_idle]:
            self._give(place)

    def _retry(self, place: Place, error: Any) -> None:
        """A worker raised: the unit is tried again later, some times."""
        unit = place.unit
        if unit is None or not isinstance(error.cause, RegardError):
            raise error
        self.queue.failures[unit.name] += 1
        if self.queue.failures[unit.name] >= FAILURES:
            raise error.cause
        log.warning(f"unit {unit.label} is tried again: {error.cause}")
        place.unit = None
        if unit.name in self.queue.left:
            self.queue.waiting.append(unit)
        self._give(place)

    def _bury(self, place: Place, error: Exception) -> None:
        """A worker is gone: others do its unit, unless several have died of it."""
        if not place.has_begun:
            self.stillborn += 1
            if self.stillborn >= STILLBORN:
                reason = str(error).strip().splitlines()[-1].strip()[:300]  # the last is the cause
                raise UsageError(f"workers of Ray die before they begin ({reason}); see docs/ray.md") from error
        log.info(f"a worker on node {place.node[:8]} died ({first_line(error)}); others do its work")
        unit = place.unit
        if unit is not None and unit.name in self.queue.left:
            self.queue.deaths[unit.name] += 1
            if self.queue.deaths[unit.name] >= DEATHS:
                self.queue.finish(unit)
                reason = f"{DEATHS} workers died at {unit.label}; it may take more memory than a node has"
                self.report(Outcome(unit.name, unit.pictures, None, 0.0, False, reason))
        self._end(place)
        self._last_look = 0.0  # another one may begin at once

    def _end(self, place: Place) -> None:
        """Take a worker away, and give its units to others."""
        self.queue.give_back(place)
        self.places.remove(place)
        self._kill(place)
        self._give_idle()

    def _kill(self, place: Place) -> None:
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(place.actor)

    def _note_late(self, place: Place) -> None:
        """Say which unit takes several times as long as others, while it does."""
        if place.unit is None or place.is_late:
            return
        seconds = time.monotonic() - place.since
        times = self.pace.late(seconds, place.unit.pictures)
        if times is not None:
            place.is_late = True
            log.info(
                f"unit {place.unit.label} is late: {seconds:.0f} s on node {place.node[:8]}, {times:.1f} times what "
                "others take"
            )
