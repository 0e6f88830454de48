"""Recipes: how a run was made, saved with it: `regard train --recipe RUN/recipe.json` does that run again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regard.errors import UsageError, unknown
from regard.files import SCHEMA, is_file, read_json, reading
from regard.training.settings import Settings, option_of
from regard.training.tasks.table import TaskRow, recipes, with_changes


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

    @property
    def task(self) -> TaskRow:
        """The task that it is for."""
        return recipes()[self.name][0]


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


def _preset(name: str) -> Recipe:
    preset = recipes()[name][1].preset
    return Recipe(name, settings=None if preset is None else preset())
