"""The commands: one file each, in which the function of the command's name declares its arguments once.

A row of COMMANDS is all that the command line, `regard.NAME` and the docs need to know of a command; its module is
imported when it is asked for, and has `as_text` and `as_json` for what the function gives.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING


@dataclass(frozen=True)
class Command:
    """A command by its `name`, and the `panel` of `regard --help` that it stands in."""

    name: str
    panel: str

    @property
    def module(self) -> str:
        return f"regard.app.commands.{self.name}"


COMMANDS = (
    Command("demo", "Start here"),
    Command("scenes", "Start here"),
    Command("train", "Train and score"),
    Command("evaluate", "Train and score"),
    Command("predict", "Train and score"),
    Command("compare", "Train and score"),
    Command("explain", "Look"),
    Command("caption", "Look"),
    Command("serve", "Look"),
    Command("audit", "Look"),
    Command("registers", "Look"),
    Command("positions", "Look"),
    Command("export", "Carry away"),
    Command("models", "What there is"),
    Command("methods", "What there is"),
    Command("metrics", "What there is"),
    Command("settings", "What there is"),
)

if TYPE_CHECKING:  # so that type checkers and editors know `regard.train` and its arguments
    from regard.app.commands.audit import audit as audit
    from regard.app.commands.caption import caption as caption
    from regard.app.commands.compare import compare as compare
    from regard.app.commands.demo import demo as demo
    from regard.app.commands.evaluate import evaluate as evaluate
    from regard.app.commands.explain import explain as explain
    from regard.app.commands.export import export as export
    from regard.app.commands.methods import methods as methods
    from regard.app.commands.metrics import metrics as metrics
    from regard.app.commands.models import models as models
    from regard.app.commands.positions import positions as positions
    from regard.app.commands.predict import predict as predict
    from regard.app.commands.registers import registers as registers
    from regard.app.commands.scenes import scenes as scenes
    from regard.app.commands.serve import serve as serve
    from regard.app.commands.settings import settings as settings
    from regard.app.commands.train import train as train
