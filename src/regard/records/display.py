"""What a notebook shows of a record: a table of functions that draw, imported only when something is shown."""

from importlib import import_module
from typing import Any

DISPLAYS = {
    "Explanation": "regard.rendering.displays:explanation_png",
    "Classification": "regard.rendering.displays:classification_png",
    "Caption": "regard.rendering.displays:caption_png",
    "Captions": "regard.rendering.displays:captions_png",
    "Positions": "regard.rendering.displays:positions_png",
    "Evaluation": "regard.rendering.displays:evaluation_png",
    "overlay": "regard.rendering.displays:overlay",
}
"""Where each record's drawing is, as "module:function"."""


def draw(name: str, *arguments: Any, **settings: Any) -> Any:
    """What the function of a row makes."""
    module, function = DISPLAYS[name].split(":")
    return getattr(import_module(module), function)(*arguments, **settings)


class Displayed:
    """A record that shows itself in a notebook, as PNG bytes, by its row of DISPLAYS; elsewhere in a line of text."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_png_(self) -> bytes:
        content: bytes = draw(type(self).__name__, self)
        return content


def counted(n: int, noun: str) -> str:
    """ "1 picture", "2 pictures"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
