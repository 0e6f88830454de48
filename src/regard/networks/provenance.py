"""Where a result came from: network, weights, versions. No paths, no time, no names of machines."""

import platform
from typing import Any, Protocol

import PIL
import torch
from timm.version import __version__ as timm_version

from regard.version import __version__


class Named(Protocol):
    """A network of any task, which says what it is."""

    def origin(self) -> dict[str, Any]: ...


def provenance(network: Named | None = None, **more: Any) -> dict[str, Any]:
    """What a result's manifest says of its origin, as JSON; `more` stands beside it."""
    origin = {} if network is None else network.origin()
    versions = {"torch": torch.__version__, "timm": timm_version, "pillow": PIL.__version__}
    return {**origin, **more, "regard": __version__, "python": platform.python_version(), **versions}
