"""`regard serve`: the viewer and the predictors over HTTP, for pictures that are dropped on a page and for programs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from regard.app.listing import Printed
from regard.app.options import DATA, WORK, Device, MaxPixels, argument, complete_models, option
from regard.data import MAX_PIXELS
from regard.errors import UsageError

log = logging.getLogger("regard")

ACCESS = "Who may ask"


@dataclass(frozen=True, repr=False)
class Served(Printed):
    """Where it was served, and how many requests, jobs and restarts of workers there were."""

    address: str
    counts: Mapping[str, Any]


def serve(
    runs: Annotated[
        str | Path | Sequence[str | Path] | None,
        argument(
            "Runs and networks to serve, by default those that ship.",
            metavar="[RUN]...",
            type=list[str] | None,
            complete=complete_models,
        ),
    ] = None,
    data: Annotated[
        str | Path | None,
        option("The pictures that the runs were scored on, to be looked at.", panel=DATA, type=Path | None),
    ] = None,
    host: Annotated[
        str, option("The address to listen at; any but this machine's own needs the token.", panel=ACCESS)
    ] = "127.0.0.1",
    port: Annotated[int, option("The port; 0 takes any that is free.", panel=ACCESS, min=0, max=65535)] = 8000,
    token: Annotated[
        str | None,
        option("What a client must send; by default a new one each time.", panel=ACCESS, envvar="REGARD_TOKEN"),
    ] = None,
    name: Annotated[
        Sequence[str] | None,
        option("A further host name that the server is reached by.", panel=ACCESS, type=list[str] | None),
    ] = None,
    device: Device = None,
    workers: Annotated[
        int | None, option("Processes; by default one a GPU, or one.", panel=WORK, min=1, max=64)
    ] = None,
    waiting: Annotated[
        int, option("How many jobs may wait before more are refused.", panel=WORK, min=1, max=10_000)
    ] = 64,
    deadline: Annotated[float, option("Seconds that a job may take.", panel=WORK, min=1, max=86_400)] = 60.0,
    max_upload: Annotated[int, option("Megabytes that a request may have.", panel=WORK, min=1, max=4_000)] = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> Served:
    """Serve the viewer over HTTP until Ctrl-C: drop a picture on the page, and see where the network looks.

    `runs` are what `--model` takes; those with an evaluation can be looked through, with their pictures where `data`
    says where these are. Without any, `pets-tiny` and `scenes-captioner` are served. What is not named is never loaded.

    Only this machine is listened to, unless `host` says otherwise; then every request needs the `token`. Raises
    `UsageError` where the extra `serve` is not installed or a model is named twice, `OutputError` for a port in use,
    `NetworkError` for a model that cannot be loaded.
    """
    missing = [module for module in ("fastapi", "uvicorn", "python_multipart") if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"`regard serve` needs {', '.join(missing)}, which the extra `serve` brings; install it: "
            "pip install 'regard[serve]'"
        )
    from regard.app.server.options import options_of
    from regard.app.server.start import serve as start  # fastapi is imported when nothing else is wrong

    sources = [runs] if isinstance(runs, str | Path) else list(runs or ())
    options = options_of(
        sources, data, host=host, port=port, token=token, names=tuple(name or ()), device=device, workers=workers,
        waiting=waiting, deadline=deadline, max_bytes=max_upload * 1_000_000, max_pixels=max_pixels,
    )  # fmt: skip
    addresses: list[str] = []

    def announce(address: str, stop: Callable[[], None]) -> None:
        addresses.append(address)
        log.info(f"serving {' and '.join(name for name, _ in options.models)} at {address} (Ctrl-C ends it)")

    counts = start(options, announce)
    return Served(addresses[0].partition("?")[0], counts)


def as_json(result: Served) -> dict[str, Any]:
    return {"address": result.address, **result.counts}


def as_text(result: Served) -> str:
    counts = result.counts
    return f"served {counts['requests']} requests and {counts['jobs']} jobs at {result.address}"
