"""A run's folder while it is trained: begun, gone on with, or left alone; and what it may be gone on with.

It holds `recipe.json`, `split.csv` and `checkpoint/run.json` from the start. `model.json`, written last of all, makes
it a finished run, which nothing here changes.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from regard.data.dataset import Dataset, listed
from regard.data.splits import SplitRow, read_split, split_rows, split_text
from regard.errors import DataError, OutputError, UsageError
from regard.files import check_free, is_file, read_json, write_file, write_json
from regard.networks.run import WEIGHTS, is_run
from regard.training.processes import World
from regard.training.recipe import Recipe
from regard.training.tasks.table import all_settings
from regard.training.trainable import Trainable

CHECKPOINTS = "checkpoint"
IDENTITY = f"{CHECKPOINTS}/run.json"


class Restart(Protocol):
    """What is done with a training that is there already."""

    @property
    def resume(self) -> bool: ...

    @property
    def overwrite(self) -> bool: ...


def state_of(folder: Path | str) -> str:
    """`finished` (it has its network), `begun` (a training can go on there), or `free`."""
    if is_run(folder):
        return "finished"
    return "begun" if is_file(Path(folder) / IDENTITY) else "free"


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
    world: World,
    network: Trainable,
    parts: Sequence[Dataset],
    hashes: Mapping[str, str],
    recipe: Recipe,
    facts: Mapping[str, Any],
    restart: Restart,
) -> None:
    """Make the folder ready; where it is gone on with, check that recipe, network and data are the same as before.

    Raises `DataError` or `UsageError` naming what differs, in this process or between processes.
    """
    group = recipe.arguments.get("group")
    rows = split_rows(parts, hashes, group)
    now = _identity(network, rows, recipe, facts)
    world.check_same(now["digests"], "data, network or recipe")
    state = world.shared(check_folder(folder, resume=restart.resume, overwrite=restart.overwrite) if world.main else "")
    if not world.main:
        return
    if state == "finished" and restart.resume:
        raise OutputError(f"{folder} is finished; there is nothing to go on with")
    if state == "begun" and restart.resume:
        _check_same(folder, now, rows)
        # What a kill left: halves of files, and weights without the description that makes them a network.
        for path in [*folder.glob(".*.*"), *(folder / CHECKPOINTS).glob(".state.safetensors.*"), folder / WEIGHTS]:
            if path.is_file():
                path.unlink()
        return
    if folder.exists() and restart.overwrite:
        shutil.rmtree(folder)
    write_json(folder / "recipe.json", recipe.as_json())
    write_file(folder / "split.csv", split_text(rows))
    write_json(folder / IDENTITY, now)


def finish(folder: Path | str) -> None:
    """After the network was saved: checkpoints are of no more use, and are removed."""
    shutil.rmtree(Path(folder) / CHECKPOINTS, ignore_errors=True)


def _identity(network: Trainable, rows: Sequence[SplitRow], recipe: Recipe, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    settings = {} if recipe.settings is None else recipe.settings.as_json()
    shape = {"network": network.name, "preparation": network.preparation.as_json(), "outputs": network.outputs}
    facts = {"recipe": recipe.name, **settings, **facts, **shape}
    data = [[row.filename, row.label, row.split, row.sha256, row.group] for row in rows]
    digests = {"recipe": _digest(facts), "pictures": _digest(data), "weights": network.weights_hash()}
    return {"recipe": facts, "digests": digests}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_identity(folder: Path) -> dict[str, dict[str, Any]]:
    """What a training began with. Raises `DataError` where it is damaged."""
    path = folder / IDENTITY
    stored = read_json(path, "--overwrite starts anew", fields={"recipe": dict, "digests": dict})
    for name in ("recipe", "pictures", "weights"):
        if not isinstance(stored["digests"].get(name), str):
            raise DataError(f"{path} is damaged: it has no digest of its {name}; --overwrite starts anew")
    return stored


def _check_same(folder: Path, now: Mapping[str, Any], rows: Sequence[SplitRow]) -> None:
    """Raise the error that names the difference between this command and the one that began the run."""
    before = read_identity(folder)
    old = before["recipe"]
    digests = before["digests"]
    recipe = json.loads(json.dumps(now["recipe"]))
    retired = all_settings().keys() - recipe.keys()  # another task's, which captioners once stored at their defaults
    defaults = {name: each.default for name, each in all_settings().items()}
    new = {name for name in recipe.keys() - old.keys() if name in defaults and recipe[name] == defaults[name]}
    different = sorted(name for name in {*old, *recipe} - retired - new if old.get(name) != recipe.get(name))
    if different:
        changes = "; ".join(f"{name} was {old.get(name)!r} and is now {recipe.get(name)!r}" for name in different[:4])
        raise UsageError(
            f"{folder} was begun with another recipe: {changes}; give the same one, or --overwrite to start anew"
        )
    if digests["pictures"] != now["digests"]["pictures"]:
        raise DataError(
            f"the data changed since {folder} was begun: {_changes(read_split(folder / 'split.csv'), rows)}; put it "
            "back, or --overwrite to start anew"
        )
    if digests["weights"] != now["digests"]["weights"]:
        raise UsageError(f"{folder} was begun from other weights of {recipe['network']}; give the same, or --overwrite")


def _changes(before: Sequence[SplitRow], now: Sequence[SplitRow]) -> str:
    """Pictures that are gone, new, changed, or in another class, split or group, in words."""
    old = {row.filename: row for row in before}
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
