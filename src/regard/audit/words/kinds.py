"""Which of the options of `regard audit` are of which kind of network; what decides that imports no network."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from regard.errors import UsageError
from regard.networks.captioners import is_captioner

OF_PICTURES = ("weights", "weights_part", "masks", "maps", "before", "full", "in_domain", "group", "slices", "size")
"""Options of a classifier's audit alone."""
OF_WORDS = ("captions", "which", "layer", "head")
"""Those of a captioner's alone."""


def check_kind(values: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> bool:
    """Whether the `model` among a command's arguments is a captioner. Raises `UsageError` for an option that is of
    audits of the other kind of network."""
    model = values["model"]
    captioner = is_captioner(model)
    for name in OF_PICTURES if captioner else OF_WORDS:
        if values[name] != parameters[name].default:
            whose, kind = ("a classifier", "captioner") if captioner else ("a captioner", "classifier")
            instead = " (what words speak of, DATA say)" if name == "masks" else ""
            raise UsageError(
                f"--{name.replace('_', '-')} is of audits of {whose}, and {getattr(model, 'name', model)} is a {kind}; "
                f"leave it out{instead}, or give another --model"
            )
    return captioner
