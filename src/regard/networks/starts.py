"""The network that a run began with, to be compared with what came of it."""

import logging
from pathlib import Path
from typing import Any

from regard.errors import RegardError
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.run import recorded_start

log = logging.getLogger("regard")


def network_before(model: Any, before: str | Path | None) -> Network | None:
    """The network given, or the one that a run records to have begun with, where that can be had."""
    if before is not None:
        return load(before, device="cpu")
    start = recorded_start(model)
    if start is None:
        return None
    try:
        network = load(**start, device="cpu")
    except RegardError as error:
        log.info(f"the network that this run began with cannot be compared: {error}")
        return None
    log.info(f"compared with the network that this run began with: {network.name}")
    return network
