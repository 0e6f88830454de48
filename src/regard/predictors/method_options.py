"""The settings of a method as a user writes them: checked against what the method understands, and made its own."""

import logging
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, Self

from regard.errors import UsageError, unknown
from regard.explanation import METHODS, Method, MethodSettings

if TYPE_CHECKING:
    from regard.networks.network import Network

log = logging.getLogger("regard")

DEFAULTS: Mapping[str, str] = {"layer": "last", "head": "mean", "query": "CLS", "target": "predicted"}
"""What a setting that was left out is called in captions, where the method has no number for it."""


class MethodOptions(MethodSettings):
    """The settings of a method as a user writes them."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The options of these names. Raises `UsageError` for a name that no method has."""
        strange = [name for name in settings if name not in cls.__dataclass_fields__]
        if strange:
            raise unknown("setting", strange[0], cls.__dataclass_fields__)
        return cls(**settings)

    def chosen(self) -> dict[str, Any]:
        """The settings that are not left out, by the names that methods have for them."""
        settings = {**vars(self), "query": parse_query(self.query), "seed": None}
        return {name: value for name, value in settings.items() if value is not None}

    def check(self, method: Method) -> None:
        """Raise `UsageError` for a setting that the method does not understand, naming those it does."""
        if method.kind != "picture":
            raise UsageError(f"{method.name} makes maps of words, not of pictures; use it with `regard caption`")
        if self.against is not None and self.target is None:
            raise UsageError(f"--against {self.against} needs a --target that it is held against; give both")
        understood = {*method.settings, *(["against"] if "target" in method.settings else [])}
        strange = [name for name in self.chosen() if name not in understood]
        if strange:
            options = [f"--{name}" for name in self.__dataclass_fields__ if name in understood]
            allowed = (
                f"it takes {' and '.join(filter(None, [', '.join(options[:-1]), options[-1]]))}" if options else ""
            )
            raise UsageError(f"{method.name} takes no --{strange[0]}; {allowed or 'it takes no settings'}")

    def settings(self, method: Method, network: "Network") -> dict[str, Any]:
        """What the method is called with: the settings that it understands, classes as indices."""
        settings = self.chosen() | {"seed": self.seed}
        if self.target is not None and "target" in method.settings:
            target = class_index(self.target, network)
            against = None if self.against is None else class_index(self.against, network)
            if target == against:
                raise UsageError(
                    f"--target and --against are both {self.target}; a class cannot be held against itself"
                )
            settings["target"] = target if against is None else (target, against)
        return {name: value for name, value in settings.items() if name in method.settings}


def report_precision(method: Method, precision: str) -> None:
    """Say where a method stays in float32 though its network computes in less."""
    if precision != "float32" and not method.reduced:
        log.info(f"{method.name} computes in float32: its maps are not known to hold in {precision}")


def parse_query(query: str | tuple[int, int]) -> tuple[int, int] | None:
    """ "CLS" → None, "3,7" → (3, 7): the patch in row 3 and column 7, counted from 0; a pair is one already."""
    if isinstance(query, str) and query.strip().lower() == "cls":
        return None
    try:
        row, column = (int(part) for part in (query.split(",") if isinstance(query, str) else query))
    except (ValueError, TypeError):
        raise UsageError(f"--query is {query!r}; it must be CLS or ROW,COLUMN of a patch, such as 3,7") from None
    return row, column


def parse_grid(grid: str | tuple[int, int] | None) -> tuple[int, int] | None:
    """ "14,14" → (14, 14): rows and columns of patches; a pair is one already."""
    if grid is None:
        return None
    try:
        rows, columns = (int(part) for part in (grid.replace("x", ",").split(",") if isinstance(grid, str) else grid))
    except (ValueError, TypeError):
        rows = columns = 0
    if rows < 1 or columns < 1:
        raise UsageError(f"--grid is {grid!r}; it must be ROWS,COLUMNS of the network's patches, such as 14,14")
    return rows, columns


def class_index(name: str | int, network: "Network") -> int:
    """The index of a class, which may be given by name, in any case where that is clear, or by index.

    A name that looks like a number is a name first. Raises `UsageError` that offers the nearest names, or the range.
    """
    classes = network.classes or ()
    text = str(name).strip()
    if isinstance(name, str) and text in classes:
        return classes.index(text)
    alike = [index for index, each in enumerate(classes) if each.casefold() == text.casefold()]
    if isinstance(name, str) and len(alike) == 1:
        return alike[0]
    if not text.lstrip("-").isdecimal():
        if not classes:
            raise UsageError(f"{network.name}'s outputs have no names, so class {text!r} is unknown; give an index")
        raise unknown("class", text, classes)
    if not 0 <= int(text) < network.outputs:
        raise UsageError(f"there is no class {text}; classes of {network.name} go from 0 to {network.outputs - 1}")
    return int(text)


def described(method: Method, settings: Mapping[str, Any], network: "Network") -> dict[str, Any]:
    """All settings of a method as captions and manifests have them: the value, its default, or a word for that."""
    from regard.explanation.pictures.explain import explicit

    settings = explicit(method.name, settings, network)
    defaults = {name: each.default for name, each in signature(METHODS.load(method.name)).parameters.items()}
    words = DEFAULTS if network.anatomy.cls else {**DEFAULTS, "query": "pooling"}
    description = {}
    for name in method.settings:
        value = settings.get(name, defaults.get(name))
        value = words.get(name) if value is None else value
        value = _class_names(value, network.classes or ()) if name == "target" else value
        description[name] = list(value) if isinstance(value, tuple) else value
    return description


def _class_names(target: Any, classes: Sequence[str]) -> Any:
    """A class or two by name, where they have names."""
    if isinstance(target, tuple):
        return tuple(_class_names(each, classes) for each in target)
    return classes[target] if classes and isinstance(target, int) else target
