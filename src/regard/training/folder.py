"""A run's folder while it is trained: begun, gone on with, or left alone; and what it may be gone on with.

It holds `recipe.json`, `split.csv` and `checkpoint/run.json` from the start. After the training it gets its network,
so that nothing that fails later (the score, a table, the report) can lose it; when the rest is written too, `run.json`
moves up beside it, and with that the run is finished, which nothing here changes.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from regard.data.dataset import Dataset, listed
from regard.data.splits import EARLIER, SplitRow, read_split, split_rows, split_text
from regard.errors import DataError, OutputError, UsageError
from regard.files import check_free, is_file, read_json, write_file, write_json
from regard.networks.run import WEIGHTS, is_run
from regard.training.recipe import Recipe, read_recipe
from regard.training.tasks.table import FORMER, all_settings

if TYPE_CHECKING:
    from regard.training.processes import World
    from regard.training.trainable import Trainable

CHECKPOINTS = "checkpoint"
RUN = "run.json"
"""What must be the same when a run goes on."""
IDENTITY = f"{CHECKPOINTS}/{RUN}"


class FinishedRunError(OutputError):
    """There is nothing to go on with: the run is finished, and of the very same recipe, network and data."""


class Restart(Protocol):
    """What is done with a training that is there already."""

    @property
    def resume(self) -> bool: ...

    @property
    def overwrite(self) -> bool: ...


def state_of(folder: Path | str) -> str:
    """`begun` (a training can go on there, or its report is missing), `finished` (a run, whole), or `free`."""
    if is_file(Path(folder) / IDENTITY):
        return "begun"
    return "finished" if is_run(folder) else "free"


def check_folder(folder: Path | str, *, resume: bool = False, overwrite: bool = False) -> str:
    """`state_of` the folder, or `OutputError` where a training may not begin there; call it before any work."""
    state = state_of(folder)
    if resume and overwrite:
        raise UsageError("--resume goes on with what is there and --overwrite replaces it; give one of them")
    if state == "begun" and not (resume or overwrite):
        raise OutputError(
            f"{folder} holds a training that was not finished; --resume goes on with it, --overwrite starts it anew"
        )
    if state == "free" or not (resume or state == "begun"):
        check_free(folder, overwrite)
    return state


def begin(
    folder: Path,
    world: "World",
    network: "Trainable",
    parts: Sequence[Dataset],
    hashes: Mapping[str, str],
    recipe: Recipe,
    facts: Mapping[str, Any],
    restart: Restart,
) -> None:
    """Make the folder ready; where it is gone on with, check that recipe, network and data are the same as before.

    Raises `DataError` or `UsageError` naming what differs, in this process or between processes, and
    `FinishedRunError` where nothing does and nothing is left to do.
    """
    rows = split_rows(parts, hashes, recipe.arguments.get("group"))
    now = identity(network, rows, recipe, facts)
    world.check_same(now["digests"], "data, network or recipe")
    state = world.shared(check_folder(folder, resume=restart.resume, overwrite=restart.overwrite) if world.main else "")
    if state == "finished" and restart.resume:
        if world.main:
            check_same(folder, now, rows)
        raise FinishedRunError(f"{folder} is finished; there is nothing to go on with")
    if not world.main:
        return
    if state == "begun" and restart.resume:
        check_same(folder, now, rows)
        # What a kill left: halves of files, and weights without the description that makes them a network.
        left = [*folder.glob(".*.*"), *(folder / CHECKPOINTS).glob(".state.safetensors.*")]
        for path in left if is_run(folder) else [*left, folder / WEIGHTS]:
            if path.is_file():
                path.unlink()
        return
    if folder.exists() and restart.overwrite:
        shutil.rmtree(folder)
    write_start(folder, recipe, rows, now)


def write_start(folder: Path, recipe: Recipe, rows: Sequence[SplitRow], now: Mapping[str, Any]) -> None:
    """What a run's folder holds from the start; `now` is its `identity`."""
    write_json(folder / "recipe.json", recipe.as_json())
    write_file(folder / "split.csv", split_text(rows))
    write_json(folder / IDENTITY, now)


def add_earlier(folder: Path, earlier: Sequence[SplitRow]) -> None:
    """Pictures that the network had learnt before this run, into its `split.csv`; once, however often."""
    if earlier:
        rows = [row for row in read_split(folder / "split.csv") if row.split != EARLIER]
        write_file(folder / "split.csv", split_text([*rows, *earlier]))


def finish(folder: Path | str) -> None:
    """After network and report are there: the run is finished, and its checkpoints are of no more use."""
    folder = Path(folder)
    if (folder / IDENTITY).is_file():
        (folder / IDENTITY).replace(folder / RUN)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def identity(
    network: "Trainable", rows: Sequence[SplitRow], recipe: Recipe, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    settings = {} if recipe.settings is None else recipe.settings.as_json()
    shape = {"network": network.name, "preparation": network.preparation.as_json(), "outputs": network.outputs}
    facts = {"recipe": recipe.name, **settings, **facts, **shape}
    data = [[row.filename, row.label, row.split, row.sha256, row.group] for row in rows]
    digests = {"recipe": _digest(facts), "pictures": _digest(data), "weights": network.weights_hash()}
    return {"recipe": facts, "digests": digests}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_identity(folder: Path, name: str = IDENTITY) -> dict[str, dict[str, Any]]:
    """What a training began with. Raises `DataError` where it is damaged."""
    path = folder / name
    stored = read_json(path, "--overwrite starts anew", fields={"recipe": dict, "digests": dict})
    for part in ("recipe", "pictures", "weights"):
        if not isinstance(stored["digests"].get(part), str):
            raise DataError(f"{path} is damaged: it has no digest of its {part}; --overwrite starts anew")
    return stored


def check_same(folder: Path, now: Mapping[str, Any], rows: Sequence[SplitRow]) -> None:
    """Raise the error that names the difference between this command and the one that began the run.

    Of a finished run the precision may differ, which "auto" takes from the machine; one of an older version knows its
    pictures only.
    """
    name = next((name for name in (IDENTITY, RUN) if is_file(folder / name)), None)
    if name is None:
        stored = [row for row in read_split(folder / "split.csv") if row.split != EARLIER]
        if sorted(map(_compared, stored)) != sorted(map(_compared, rows)):
            raise _changed_data(folder, stored, rows)
        return
    before = read_identity(folder, name)
    old = before["recipe"]
    digests = before["digests"]
    recipe = json.loads(json.dumps(now["recipe"]))
    retired = all_settings().keys() - recipe.keys()  # another task's, which captioners once stored at their defaults
    defaults = {name: each.default for name, each in all_settings().items()}
    new = {name for name in recipe.keys() - old.keys() if name in defaults and recipe[name] == defaults[name]}
    if name == RUN:
        retired = retired | {"precision"}
    _check_values(folder, {name: old.get(name) for name in {*old, *recipe} - retired - new}, recipe)
    if digests["pictures"] != now["digests"]["pictures"]:
        raise _changed_data(folder, read_split(folder / "split.csv"), rows)
    if digests["weights"] != now["digests"]["weights"]:
        raise UsageError(f"{folder} was begun from other weights of {recipe['network']}; give the same, or --overwrite")


def check_recipe(folder: Path, recipe: Recipe) -> None:
    """Raise `UsageError` where a run that was begun, or finished, had other settings; before any picture is read.

    What names the network and its weights is not compared, as one file has many paths: `check_same` does it by content.
    """
    path = folder / "recipe.json"
    if not path.is_file():
        return
    stored = read_recipe(path)
    now = json.loads(json.dumps(recipe.as_json()))
    old = json.loads(json.dumps(stored.as_json()))
    names = {"seed", "label", "split", "group", "slices", "size"}
    arguments = {name: old["arguments"].get(name) for name in names}
    before = {"recipe": old["recipe"], **arguments, **old.get("settings", {})}
    after = {"recipe": now["recipe"], **now["arguments"], **now.get("settings", {})}
    known = before.keys() & after.keys()
    _check_values(folder, {name: before[name] for name in known}, after)


def _check_values(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    defaults = {name: each.default for name, each in all_settings().items()}

    def same(name: str) -> bool:
        was_default = name in FORMER and before[name] == FORMER[name] and now.get(name) == defaults[name]
        return was_default or before[name] == now.get(name)

    different = sorted((name for name in before if not same(name)), key=lambda name: (name != "recipe", name))
    if different:
        changes = "; ".join(f"{name} was {before[name]!r} and is now {now.get(name)!r}" for name in different[:4])
        raise UsageError(
            f"{folder} was begun with another recipe: {changes}; give the same one, or --overwrite to start anew"
        )


def _compared(row: SplitRow) -> tuple[str, ...]:
    return (row.filename, row.label, row.split, row.sha256, row.group)


def _changed_data(folder: Path, before: Sequence[SplitRow], now: Sequence[SplitRow]) -> DataError:
    return DataError(
        f"the data changed since {folder} was begun: {_changes(before, now)}; put it back, or --overwrite to start anew"
    )


def _changes(before: Sequence[SplitRow], now: Sequence[SplitRow]) -> str:
    """Pictures that are gone, new, changed, or in another class, split or group, in words."""
    old = {row.filename: row for row in before if row.split != EARLIER}
    new = {row.filename: row for row in now}
    both = [name for name in old if name in new]
    changes = {
        "gone": [name for name in old if name not in new],
        "new": [name for name in new if name not in old],
        "changed": [name for name in both if old[name].sha256 != new[name].sha256],
        "labelled, split or grouped otherwise": [
            name for name in both if old[name].sha256 == new[name].sha256 and old[name] != new[name]
        ],
    }
    parts = [f"{len(names)} {what} ({listed(names)})" for what, names in changes.items() if names]
    return "; ".join(parts) or "the order of its pictures"
