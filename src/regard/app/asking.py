"""What is asked of a method, in words: checked against what the method understands, and made its settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from regard.errors import UsageError, unknown
from regard.explanation import METHODS, Method
from regard.networks.network import Network

DEFAULTS: Mapping[str, str] = {"layer": "last", "head": "mean", "query": "CLS", "target": "predicted"}
"""What a setting that is not given is called in captions, where the method has no number for it."""


@dataclass(frozen=True)
class Asked:
    """The settings as a user gives them, None where not given; a class by its name or its index."""

    layer: int | None = None
    head: int | None = None
    query: str = "CLS"
    start: int | None = None
    target: str | int | None = None
    against: str | int | None = None
    steps: int | None = None
    samples: int | None = None
    seed: int = 0

    def given(self) -> dict[str, Any]:
        """What was given, by the names that methods have for it."""
        settings = {**vars(self), "query": parse_query(self.query), "seed": None}
        return {name: value for name, value in settings.items() if value is not None}

    def check(self, row: Method) -> None:
        """Raise `UsageError` for a setting that the method does not understand, naming those it does."""
        if row.kind != "picture":
            raise UsageError(f"{row.name} makes maps of words, not of pictures; use it with `regard caption`")
        if self.against is not None and self.target is None:
            raise UsageError(f"--against {self.against} needs a --target that it is held against; give both")
        taken = {*row.settings, *(["against"] if "target" in row.settings else [])}
        strange = [name for name in self.given() if name not in taken]
        if strange:
            options = [f"--{name}" for name in self.__dataclass_fields__ if name in taken]
            allowed = (
                f"it takes {' and '.join(filter(None, [', '.join(options[:-1]), options[-1]]))}" if options else ""
            )
            raise UsageError(f"{row.name} takes no --{strange[0]}; {allowed or 'it takes no settings'}")

    def settings(self, row: Method, network: Network) -> dict[str, Any]:
        """What the method is called with: what it understands of what was given, classes as indices."""
        given = self.given() | {"seed": self.seed}
        if "target" in given and "target" in row.settings:
            given["target"] = self._target(network)
        return {name: value for name, value in given.items() if name in row.settings}

    def _target(self, network: Network) -> int | tuple[int, int]:
        target, against = (None if each is None else class_index(each, network) for each in (self.target, self.against))
        if target == against:
            raise UsageError(f"--target and --against are both {self.target}; a class cannot be held against itself")
        return target if against is None else (target, against)  # type: ignore[return-value]


def parse_query(text: str) -> tuple[int, int] | None:
    """ "CLS" → None, "3,7" → (3, 7): the patch in row 3 and column 7, counted from 0."""
    if text.strip().lower() == "cls":
        return None
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--query is {text!r}; it must be CLS or ROW,COLUMN of a patch, such as 3,7") from None
    return row, column


def class_index(came: str | int, network: Network) -> int:
    """The index of a class given by name, in any case where that is clear, or else by index.

    A name that looks like a number is a name first. Raises `UsageError` that offers the nearest names, or the range.
    """
    classes, text = network.classes or (), str(came).strip()
    if isinstance(came, str) and text in classes:
        return classes.index(text)
    alike = [index for index, name in enumerate(classes) if name.casefold() == text.casefold()]
    if isinstance(came, str) and len(alike) == 1:
        return alike[0]
    if not text.lstrip("-").isdecimal():
        if not classes:
            raise UsageError(f"{network.name}'s outputs have no names, so class {text!r} is unknown; give an index")
        raise unknown("class", text, classes)
    if not 0 <= int(text) < network.outputs:
        raise UsageError(f"there is no class {text}; classes of {network.name} go from 0 to {network.outputs - 1}")
    return int(text)


def described(row: Method, settings: Mapping[str, Any], network: Network) -> dict[str, Any]:
    """All settings of a method as captions and manifests have them: as given, or its default, or a word for that."""
    defaults = {name: each.default for name, each in signature(METHODS.load(row.name)).parameters.items()}
    words = DEFAULTS if network.anatomy.cls else {**DEFAULTS, "query": "pooling"}
    said = {}
    for name in row.settings:
        value = settings.get(name, defaults.get(name))
        value = words.get(name) if value is None else value
        said[name] = _names(value, network.classes or ()) if name == "target" else value
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def _names(target: Any, classes: Sequence[str]) -> Any:
    """A class or two by name, where they have names."""
    if isinstance(target, tuple):
        return tuple(_names(each, classes) for each in target)
    return classes[target] if classes and isinstance(target, int) else target
