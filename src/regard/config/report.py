"""What holds for a command and where it is from, as `regard settings` gives and prints it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "REGARD_CACHE": "folder where features of pictures are kept",
    "REGARD_TOKEN": "what a client of `regard serve` must send",
}
"""Variables of the environment that are read."""
SECRET = "***"
"""What stands for a token that is set."""
BUILT_IN = "built in"


def as_typed(value: Any) -> str:
    """A value as it is typed; `-` for none."""
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if text and value is not None else "-"


@dataclass(frozen=True)
class Setting:
    """What holds for an option: its Python `name`, its `label`, the `value`, and what that is from."""

    name: str
    label: str
    value: Any
    source: str = BUILT_IN

    @property
    def is_chosen(self) -> bool:
        """Whether the command line or a file says it."""
        return self.source != BUILT_IN and not self.source.startswith("recipe ")

    def as_json(self) -> dict[str, Any]:
        value = str(self.value) if isinstance(self.value, Path) else self.value
        return {"name": self.label, "value": value, "source": self.source}


@dataclass(frozen=True, repr=False)
class Settings:
    """The settings of a `command`, or, without one, all that the `file` says; and the environment's variables."""

    command: str | None
    file: Path | None
    settings: tuple[Setting, ...]
    environment: Mapping[str, str | None]

    def __repr__(self) -> str:
        return as_text(self)

    @property
    def values(self) -> dict[str, Any]:
        """What is not built in, as arguments of the Python function: `regard.train(data, out, **values)`."""
        return {each.name: each.value for each in self.settings if each.is_chosen}


def as_json(result: Settings) -> dict[str, Any]:
    return {
        "command": result.command,
        "file": None if result.file is None else str(result.file),
        "settings": [each.as_json() for each in result.settings],
        "environment": dict(result.environment),
    }


def as_text(result: Settings) -> str:
    file = "no file of settings" if result.file is None else str(result.file)
    title = f"{file}, by section" if result.command is None else f"regard {result.command}, with {file}"
    rows = [(each.label, as_typed(each.value), each.source) for each in result.settings]
    rows += [(name, value or "not set", ENVIRONMENT[name]) for name, value in result.environment.items()]
    wide, wider = (min(40, max((len(row[column]) for row in rows), default=0)) for column in (0, 1))
    return "\n".join([title, *(f"{key:<{wide}}  {value:<{wider}}  {source}" for key, value, source in rows)])
