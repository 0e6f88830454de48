"""Recipes: how a run was made, saved with it: `regard train --recipe RUN/recipe.json` does that run again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regard.errors import DataError, UsageError, unknown
from regard.files import SCHEMA, check_schema
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


def read_recipe(text: str | Path) -> Recipe:
    """A recipe's name, or the path of a run's `recipe.json`. Raises `UsageError` for an unknown name."""
    names = recipes()
    if str(text) in names:
        return _preset(str(text))
    path = Path(text)
    if not path.is_file():
        raise unknown("recipe", text, names, "The path of a run's recipe.json does that run again.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        check_schema(stored, path)
        name = stored["recipe"]
        arguments = dict(stored["arguments"])
        settings = None if stored.get("settings") is None else dict(stored["settings"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a run's recipe ({type(error).__name__}: {error})") from error
    if name not in names:
        raise unknown("recipe", name, names)
    recipe = replace(_preset(name), arguments=arguments)
    return recipe if recipe.settings is None else recipe.changed(settings or {})


def _preset(name: str) -> Recipe:
    preset = recipes()[name][1].preset
    return Recipe(name, settings=None if preset is None else preset())
