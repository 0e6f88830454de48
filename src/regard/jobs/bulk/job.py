"""A job: what its output may hold, what is left to do, who does it, and the manifest at the end."""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import torch

from regard.data.stores import Store
from regard.errors import DataError, OutputError, unknown
from regard.files import SCHEMA, json_text, reading
from regard.jobs.bulk.columns import columns_of, fields_of
from regard.jobs.bulk.engine_local import StoppedError
from regard.jobs.bulk.pace import Pace
from regard.jobs.bulk.plan import Plan, Unit, plan
from regard.jobs.bulk.run import BulkRun
from regard.jobs.bulk.tasks import Task, load_task
from regard.jobs.bulk.work import Work, versions
from regard.jobs.bulk.worker import Outcome, Worker
from regard.progress import Progress, silent
from regard.records.display import counted
from regard.results.bulk import JOB, KIND, MANIFEST, part_about, part_name, unit_of

log = logging.getLogger("regard")

ENGINES = {"local": "regard.jobs.bulk.engine_local:run", "ray": "regard.jobs.bulk.engine_ray.driver:run"}
"""Who does units, by the name that `--jobs` takes: a function (work, units, report) that has each done once."""
SAMPLE = 10.0
"""Seconds for which a dry run measures."""
FOOTER = 1 << 16
"""Last bytes of a file that are read for its metadata; of a longer one the whole file is."""
AT_ONCE = 16
"""Files whose ends are read at once."""


def run_job(
    work: Work,
    engine: str = "local",
    *,
    dry_run: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> BulkRun:
    """Do what is not done yet of a work, and write the manifest.

    `work.threads` 0 are those of the job that began in this output, else torch's here. Raises `OutputError` where the
    output holds something else, `DataError` for DATA that cannot be planned, and at the end for shards that could not
    be read; what was done until then is kept.
    """
    run = _engine(engine)
    store = Store.of(work.out)
    files = _files(store)
    stored = _stored(store, files)
    work = replace(
        work,
        versions=versions(work.command),
        threads=work.threads or (stored or {}).get("threads") or torch.get_num_threads(),
    )
    task = load_task(work)
    work = replace(work, digest=task.digest)
    planned = plan(work)
    stale = _check_output(planned, files, stored, overwrite)
    units = {unit_of(name) for name in files - stale}
    left = [unit for unit in planned.units if unit.name not in units]
    result = BulkRun(
        work.out,
        work.command,
        len(planned.units),
        len(planned.units) - len(left),
        planned.pictures,
        None,
        sum(unit.size for unit in left) / 1e9,
        sum((unit.pictures if unit.shard.address.startswith("keys:") else 1) + 2 for unit in left),
        is_dry=dry_run,
    )
    if dry_run:
        return replace(result, hours=_hours(work, left, task))
    for name in sorted(stale, key=lambda name: name not in (MANIFEST, JOB)):  # never parts of another job under a name
        store.delete(name)
    content = (json_text(work.identity(), indent=1) + "\n").encode("utf-8", "surrogateescape")
    if not store.put_new(JOB, content):  # the first file there says which job it is
        raise OutputError(f"another job has just begun in {work.out}; choose another --out")
    errors = _do(planned, left, partial(run, task=task) if engine == "local" else run, progress)
    if int(os.environ.get("RANK", 0)) == 0:
        manifest = _manifest(planned, task, errors, store)
        result = replace(result, errors=manifest["errors"])
        content = (json_text(manifest, indent=1) + "\n").encode("utf-8", "surrogateescape")
        if MANIFEST not in files - stale or store.read(MANIFEST) != content:
            store.put(MANIFEST, content)
    return result


def _engine(name: str) -> Callable[..., None]:
    if name not in ENGINES:
        raise unknown("engine of --jobs", name, ENGINES)
    module = import_module(ENGINES[name].split(":")[0])
    if hasattr(module, "check"):  # before anything is loaded
        module.check()
    run: Callable[..., None] = module.run
    return run


def _files(store: Store) -> set[str]:
    """The names of what the output holds. Raises `OutputError` where that is not of bulk work."""
    names = {entry.key for entry in store.entries()}
    strange = sorted(name for name in names if name not in (JOB, MANIFEST) and unit_of(name) is None)
    if strange or (names and JOB not in names and MANIFEST in names):
        what = strange[0] if strange else MANIFEST
        raise OutputError(
            f"{store.address} holds what no bulk job wrote there ({what}); choose another --out, or a folder in it"
        )
    return names


def _stored(store: Store, files: set[str]) -> dict[str, Any] | None:
    """What the job that began here is."""
    if JOB not in files:
        return None
    with reading(store.full(JOB), "choose another --out, or --overwrite to begin anew", OutputError):
        return dict(json.loads(store.read(JOB)))


def _check_output(planned: Plan, files: set[str], stored: Mapping[str, Any] | None, overwrite: bool) -> set[str]:
    """The files that must go: none but with `overwrite`. Raises `OutputError` for those of another job, and of shards
    that are not in DATA as they are."""
    work = planned.work
    others = [] if stored is None else _differences(stored, work.identity())
    if others and not overwrite:
        raise OutputError(
            f"{work.out} holds the results of another job ({'; '.join(others)}); choose another --out, or --overwrite "
            "to remove them"
        )
    names = {part_name(unit.name) for unit in planned.units}
    stale = {name for name in files if unit_of(name) is not None and (others or name not in names)}
    if stale and not overwrite:
        first = min(stale)
        place = Store.of(work.out)
        shard = part_about(_end(place, first), place.full(first)).get("shard")
        raise OutputError(
            f"{work.out} holds {counted(len(stale), 'result')} of shards that changed since or are not in "
            f"{work.source.address} (the first is of {shard}); choose another --out, or --overwrite to remove them"
        )
    return stale | ({JOB, MANIFEST} & files if others else {MANIFEST} & files if stale else set())


def _differences(stored: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """What another job has otherwise, in words."""
    lines = []
    for name, here in identity.items():
        other = stored.get(name)
        if other == here:
            continue
        if isinstance(here, Mapping) and isinstance(other, Mapping):
            keys = [key for key in {**other, **here} if other.get(key) != here.get(key)]
            lines += [f"{key} {other.get(key)}, here {here.get(key)}" for key in keys]
        elif name == "network":
            lines.append("another network")
        else:
            texts = [" ".join(map(str, each)) if isinstance(each, list) else str(each) for each in (other, here)]
            lines.append(f"{name.replace('_', ' ')} {texts[0]}, here {texts[1]}")
    return lines


def _hours(work: Work, units: Sequence[Unit], task: Task) -> float | None:
    if not units:
        return 0.0
    rate = Worker(work, task).rate(units, SAMPLE)
    return sum(unit.pictures for unit in units) / rate / 3600 if rate else None


def _do(planned: Plan, left: Sequence[Unit], run: Callable[..., None], progress: Progress) -> dict[str, int]:
    """Have the units done; the number of errors of those that this job computed."""
    pace = Pace(sum(unit.pictures for unit in left))
    by_name = {unit.name: unit for unit in left}
    errors: dict[str, int] = {}
    failures: list[str] = []
    counts: Counter[bool] = Counter()

    with progress(f"{planned.work.command}, pictures", planned.pictures) as advance:
        advance(planned.pictures - pace.pictures)

        def report(outcome: Outcome) -> None:
            unit = by_name[outcome.name]
            if outcome.failure:
                failures.append(outcome.failure)
                log.warning(f"unit {unit.label} is left out: {outcome.failure}")
                return
            counts[True] += 1
            times = pace.late(outcome.seconds, outcome.pictures) if outcome.errors is not None else None
            if times is not None:
                log.info(f"unit {unit.label} took {outcome.seconds:.0f} s, {times:.1f} times what others take")
            pace.add(outcome.seconds, outcome.pictures, outcome.errors is not None)
            if outcome.errors is not None:
                errors[outcome.name] = outcome.errors
            advance(outcome.pictures)
            if pace.is_time():
                log.info(f"{counts[True]} of {len(left)} units{_left(pace)}")

        try:
            if left:
                run(planned.work, left, report)
        except (StoppedError, KeyboardInterrupt) as error:
            stopped = error if isinstance(error, StoppedError) else StoppedError(2)
            message = (
                f"stopped by {stopped.args[0]}: {len(planned.units) - len(left) + counts[True]} of "
                f"{len(planned.units)} units are there, whole; the same command goes on with the rest"
            )
            stopped.args = (message,)
            raise stopped from error
    if failures:
        raise DataError(
            f"{counted(len(failures), 'unit')} of {len(planned.units)} could not be read (the first: {failures[0]}); "
            "the others are there: mend this, and the same command goes on with the rest"
        )
    return errors


def _left(pace: Pace) -> str:
    from regard.training.schedule import duration

    seconds = pace.left()
    return "" if seconds is None else f", about {duration(seconds)} left"


def _manifest(planned: Plan, task: Task, errors: Mapping[str, int], store: Store) -> dict[str, Any]:
    """What the output holds. Errors of units that were there before are read from the ends of their files."""
    work = planned.work

    def count(unit: Unit) -> int:
        if unit.name in errors:
            return errors[unit.name]
        name = part_name(unit.name)
        return int(part_about(_end(store, name), store.full(name))["errors"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        counts = list(pool.map(count, planned.units))
    units = [
        {"name": unit.name, "shard": unit.label, "pictures": unit.pictures, "errors": number}
        for unit, number in zip(planned.units, counts, strict=True)
    ]
    about = {"schema": SCHEMA, "kind": KIND, **work.identity(), **task.about}
    about |= {"fields": list(fields_of(columns_of(work.command, work.columns)))}
    return {**about, "pictures": planned.pictures, "errors": sum(counts), "units": units}


def _end(store: Store, name: str) -> bytes:
    """The last bytes of a Parquet file, with its whole metadata."""
    size = store.head(name).size
    content = store.read(name, max(0, size - FOOTER))
    needed = int.from_bytes(content[-8:-4], "little") + 8
    return content if needed <= len(content) else store.read(name, size - needed)
