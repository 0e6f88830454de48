"""regard: fine-tune a vision transformer on your pictures, have it describe them, and see and measure what it looks at.

The tree is the pipeline, and imports go one way, from the right to the left and from below upwards:

    records → data → scenes → networks → measurement → training | explanation → predictors → audit → app
    frozen    any    drawn    a name,    how good,     a better   what it        pictures     what     the commands,
    results,  lay-   truth    a run or   with an       head,      looks at       in memory    holds    each also a
    numpy     out             a module   interval      exact                     → records             function here
    only                                               resume

    results writes records to the disk, so that it can be gone on with; rendering draws them, and needs no torch: app
    calls it, and of exports the one that is a page; jobs, between audit and app, has predictors work in processes of
    their own, for a server or through shards in bulk; exports, beside it, carries a network with what is known of it
    to other tools.

Predictors are loaded once and take any number of pictures in memory; every command is a function of the same name:

    import regard
    run = regard.train("pictures/", out="runs/first")
    explainer = regard.Explainer("runs/first")
    explainer("cat.jpg", method="legrad").upsampled()
    regard.explain("pictures/val", out="maps", model="runs/first")
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from regard.app.commands import COMMANDS
from regard.version import __version__

if TYPE_CHECKING:  # so that type checkers and editors know what is loaded when it is first used
    from regard.app.commands import *  # noqa: F403
    from regard.data.layouts import LAYOUTS as LAYOUTS
    from regard.data.layouts import register_layout as register_layout
    from regard.errors import RegardError as RegardError
    from regard.explanation import METHODS as METHODS
    from regard.explanation import register_method as register_method
    from regard.exports import EXPORTS as EXPORTS
    from regard.exports import register_export as register_export
    from regard.measurement import METRICS as METRICS
    from regard.measurement import register_metric as register_metric
    from regard.networks.captioners import CAPTIONER_FAMILIES as CAPTIONER_FAMILIES
    from regard.networks.captioners import register_captioner as register_captioner
    from regard.networks.load import load as load
    from regard.networks.run import save as save
    from regard.predictors.captioner import Captioner as Captioner
    from regard.predictors.classifier import Classifier as Classifier
    from regard.predictors.explainer import Explainer as Explainer
    from regard.predictors.inspector import Inspector as Inspector
    from regard.training.tracking import TRACKERS as TRACKERS
    from regard.training.tracking import register_tracker as register_tracker


_PLACES = {
    **{command.name: command.module for command in COMMANDS},
    "Captioner": "regard.predictors.captioner",
    "Explainer": "regard.predictors.explainer",
    "Classifier": "regard.predictors.classifier",
    "Inspector": "regard.predictors.inspector",
    "load": "regard.networks.load",
    "save": "regard.networks.run",
    "METHODS": "regard.explanation",
    "register_method": "regard.explanation",
    "EXPORTS": "regard.exports",
    "register_export": "regard.exports",
    "METRICS": "regard.measurement",
    "register_metric": "regard.measurement",
    "CAPTIONER_FAMILIES": "regard.networks.captioners",
    "register_captioner": "regard.networks.captioners",
    "LAYOUTS": "regard.data.layouts",
    "register_layout": "regard.data.layouts",
    "TRACKERS": "regard.training.tracking",
    "register_tracker": "regard.training.tracking",
    "RegardError": "regard.errors",
}
__all__ = ["__version__", *_PLACES]  # noqa: PLE0604


class _Regard(ModuleType):
    """This module. Where a package below it has the name of a public function (`scenes`), the function keeps it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Regard


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'regard' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
