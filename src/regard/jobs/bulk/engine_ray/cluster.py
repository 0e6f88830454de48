"""Ray, joined or started, and what is known of its nodes."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from regard.errors import UsageError
from regard.jobs.bulk.engine_ray.address import ray_address
from regard.records.display import counted

log = logging.getLogger("regard")

OBJECTS = 100 * 2**20
"""Bytes of memory for Ray's objects, where it is started here; next to nothing travels through it."""


@contextmanager
def connected() -> Iterator[Any]:
    """The module `ray`, joined to RAY_ADDRESS or started here; what was started here is ended.

    Raises `UsageError` where Ray is not installed, or is not at that address.
    """
    address = ray_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        import ray
    except ImportError as error:
        raise missing() from error
    is_own = not ray.is_initialized()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if is_own:
            _begin(ray, address)
        processors = int(ray.cluster_resources().get("CPU", 0))
        log.info(
            f"Ray {'on this machine' if address is None else f'at {address}'}: {counted(len(nodes_of(ray)), 'node')}, "
            f"{counted(processors, 'processor')}"
        )
        yield ray
    finally:
        if is_own:
            ray.shutdown()
        for number, handler in before.items():  # Ray sets its own
            signal.signal(number, handler)


def missing() -> UsageError:
    """What is said where Ray is not installed."""
    return UsageError("--jobs ray needs Ray, which is not installed; pip install 'regard[ray]'")


def _begin(ray: Any, address: str | None) -> None:
    """Join the cluster at an address, or start one here."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before anything is started
        log.info("Ray starts on this machine, with its usage statistics switched off")
        options |= {"include_dashboard": False, "object_store_memory": OBJECTS}
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        if address is None:
            raise UsageError(f"Ray could not be started here: {first_line(error)}") from error
        raise UsageError(
            f"Ray could not be joined at {address}: {first_line(error)}; where `ray start` began it, it wants "
            "RAY_AUTH_MODE=token and its token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
        ) from error


def nodes_of(ray: Any) -> dict[str, dict[str, float]]:
    """What the nodes that live have, by their ids."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def leaving_nodes() -> set[str]:
    """The ids of nodes that were told to end, as those of a spot market are."""
    from ray._private.state import state

    find: Callable[[], dict[str, int]] = getattr(state, "get_draining_nodes", dict)  # not in every version
    return set(find())


def first_line(error: BaseException) -> str:
    """What an error says, in one line of some length."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
