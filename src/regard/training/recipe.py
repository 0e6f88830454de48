"""Recipes: how a run was made, saved with it: `regard train --recipe RUN/recipe.json` does that run again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regard.errors import UsageError, unknown
from regard.files import SCHEMA, is_file, read_json, reading
from regard.registry import load
from regard.training.settings import Settings, option_of
from regard.training.tasks.table import TASKS, ClassifierSettings, TaskRow, find_task, recipes, with_changes

PROBED = ("few", "folds")
"""Settings that count for a probe too, which does not train the network itself; it has them among its arguments."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's name, the arguments of the command that made a run (network, data columns, seed, ...), and, where the
    network itself is trained, its settings."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings | None = None

    def as_json(self) -> dict[str, Any]:
        stored: dict[str, Any] = {"schema": SCHEMA, "recipe": self.name, "arguments": dict(self.arguments)}
        return stored if self.settings is None else {**stored, "settings": self.settings.as_json()}

    def changed(self, overrides: Mapping[str, Any]) -> "Recipe":
        """This recipe with other settings; None leaves one as it is. Raises `UsageError` where it has none of them."""
        changes = {name: value for name, value in overrides.items() if value is not None}
        if not changes:
            return self
        if self.settings is None:
            names = ", ".join(map(option_of, changes))
            raise UsageError(f"the recipe {self.name!r} does not train the network and takes no {names}; leave it out")
        return replace(self, settings=with_changes(self.settings, changes))

    def with_arguments(
        self, arguments: Mapping[str, Any], standard: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> "Recipe":
        """This recipe with a command's arguments and settings; where a command says nothing else than its `standard`,
        what is stored holds. Raises `UsageError` for what cannot be together."""
        changed = {
            name: value for name, value in arguments.items() if name not in self.arguments or value != standard[name]
        }
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in changed.items()}
        if plain.get("val") and overrides.get("folds") is not None:
            raise UsageError(
                f"--val {plain['val']:g} sets pictures aside for the score, and --folds {overrides['folds']} scores "
                "all of them by cross-validation; give one of them"
            )
        if self.settings is not None:
            return replace(self, arguments={**self.arguments, **plain}).changed(overrides)
        plain |= {name: overrides[name] for name in PROBED if overrides.get(name) is not None}
        with_changes(ClassifierSettings(), {name: plain.get(name) for name in PROBED})  # their ranges
        rest = {name: value for name, value in overrides.items() if name not in (*PROBED, "batch_size", "precision")}
        return replace(self, arguments={**self.arguments, **plain}).changed(rest)

    @property
    def task(self) -> TaskRow:
        """The task that it is for."""
        return recipes()[self.name][0]

    def load_task(self) -> Callable[[], Any]:
        """The class of its `base.Task`: the recipe's own where it has one."""
        task, row = recipes()[self.name]
        return load(f"recipe {row.name!r}", row.target) if row.target else TASKS.load(task.name)


def read_recipe(text: str | Path, offered: Iterable[str] = ()) -> Recipe:
    """A recipe's name, or the path of a run's `recipe.json`. Raises `UsageError` for an unknown name, with those that
    are `offered`, by default all."""
    names = recipes()
    if str(text) in names:
        return _preset(str(text))
    path = Path(text)
    if not is_file(path):
        raise unknown("recipe", text, offered or names, "The path of a run's recipe.json does that run again.")
    advice = "it is not a run's recipe, as regard wrote it; give the recipe.json of a run"
    stored = read_json(path, advice, fields={"recipe": str, "arguments": dict})
    name = stored["recipe"]
    settings = stored.get("settings")
    if name not in names:
        raise unknown("recipe", name, names)
    recipe = replace(_preset(name), arguments=stored["arguments"])
    with reading(path, advice):
        return recipe if recipe.settings is None else recipe.changed(settings or {})


def recipe_for(text: str | Path, task: str | None) -> Recipe:
    """`read_recipe`, or, where none but the default was chosen, the one that a task takes.

    Raises `UsageError` where recipe and task do not agree.
    """
    row = find_task(task)
    if row is None:
        return read_recipe(text)
    if text == "finetune":
        return read_recipe(row.recipes[0].name)
    names = [each.name for each in row.recipes]
    own = f"{row.name}-{text}"  # `--task multilabel --recipe probe`
    recipe = read_recipe(own if own in names else text, names)
    if recipe.task.name != row.name:
        raise UsageError(f"the recipe {text} is for {recipe.task.name}, not for --task {task}; leave one of them out")
    return recipe


def _preset(name: str) -> Recipe:
    preset = recipes()[name][1].preset
    return Recipe(name, settings=None if preset is None else preset())
