"""What a file of settings says, as defaults of the options that commands declare; all of it is checked."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regard.config.file import ConfigFile, Entry, option_name, resolved
from regard.errors import UsageError, unknown

COMMON = "common"
"""The section of what several commands share."""
NEVER = {
    "overwrite": "what is there would be replaced unasked",
    "resume": "it belongs to one call",
    "token": "it is a secret; set REGARD_TOKEN",
}
"""Options that no file gives, and why."""
_TYPES: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Option:
    """An option or argument of a command: its Python `name`, its `key` in files, its `label` on the command line.

    `types` are those of `_TYPES` that it takes, `parsed` what the command line reads: list where it may be repeated.
    """

    name: str
    key: str
    label: str
    types: frozenset[type]
    parsed: type = str
    several: bool = False
    path: bool = False
    low: float | None = None
    high: float | None = None
    check: Callable[[str], Any] | None = None


@dataclass(frozen=True)
class Default:
    """What a file gives an option: the `value`, as the command line would read it, and where it stands."""

    option: Option
    value: Any
    entry: Entry
    file: ConfigFile

    @property
    def place(self) -> str:
        return self.file.place(self.entry.line)


def defaults_of(file: ConfigFile, commands: Mapping[str, Sequence[Option]], command: str) -> dict[str, Default]:
    """What a file says for a command, by the option's Python name; its own section before the common one.

    The whole file is checked. Raises `UsageError`, with the line, for a section or key that there is not, and for a
    value that does not fit.
    """
    for section, line in file.sections.items():
        if section and section != COMMON and section not in commands:
            raise file.error(line, unknown("section", section, [COMMON, *commands]))
    everything = {option.key: option for options in commands.values() for option in options}
    here = {option.key: option for option in commands.get(command, ())}
    sections: dict[str, dict[str, Default]] = {COMMON: {}, command: {}}
    for entry in file.entries:
        if not entry.section:
            advice = f"put it under [{COMMON}], or under the name of a command"
            raise file.error(entry.line, f"{entry.key} stands above all sections; {advice}")
        shared = entry.section == COMMON
        options = everything if shared else {option.key: option for option in commands[entry.section]}
        key = option_name(entry.key)
        if key in NEVER and key in everything:
            raise file.error(entry.line, f"{key} cannot stand in a file: {NEVER[key]}")
        if key not in options:
            hint = "`regard settings COMMAND` lists those of a command."
            raise file.error(entry.line, unknown(f"key in [{entry.section}]", entry.key, options, hint))
        if not shared or key in here or not command:
            option = here.get(key, options[key]) if shared else options[key]
            value = _fitted(file, entry, option)
            if entry.section in sections:
                sections[entry.section][option.name] = Default(option, value, entry, file)
    return sections[COMMON] | sections[command]


def _fitted(file: ConfigFile, entry: Entry, option: Option) -> Any:
    """The value as the command line would read it. Raises `UsageError` for another type, or out of range."""
    values = entry.value if isinstance(entry.value, list) else [entry.value]
    single = values is not entry.value
    if not values or not (single or option.several) or not all(_is_one(value, option.types) for value in values):
        kinds = " or ".join(text for kind, text in _TYPES.items() if kind in option.types)
        allowed = f"{kinds}{', or a list of such' if option.several else ''}"
        text = json.dumps(entry.value, ensure_ascii=False, default=str)  # as TOML writes it, about
        raise file.error(entry.line, f"{entry.key} is {text}, which is no {option.key}: give {allowed}")
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        low = -float("inf") if option.low is None else option.low
        high = float("inf") if option.high is None else option.high
        if is_number and not low <= value <= high:
            allowed = f"at least {option.low}" if option.high is None else f"from {option.low} to {option.high}"
            raise file.error(entry.line, f"{entry.key} is {value}, which is out of range: give {allowed}")
    if option.path:
        values = [resolved(file.path, value) if isinstance(value, str) else value for value in values]
    if option.check is not None:
        try:
            for value in values:
                option.check(value)
        except UsageError as error:
            raise file.error(entry.line, error) from error
    if option.parsed is list:
        return [str(value) for value in values]
    joined = not single or (option.parsed is str and not isinstance(entry.value, bool))
    return ",".join(map(str, values)) if joined else values[0]


def _is_one(value: Any, types: frozenset[type]) -> bool:
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, int):
        return int in types or float in types
    return type(value) in types
