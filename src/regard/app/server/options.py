"""What a server is started with, checked before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from regard.errors import UsageError
from regard.jobs.pool.runs import evaluation_folder
from regard.networks.run import is_run
from regard.networks.sources.shipped import CAPTIONERS, SHIPPED, folder_of

SHORTEST = 16
"""Characters that a token of the user's own must have."""


@dataclass(frozen=True)
class ServerOptions:
    """Of `regard serve`; `models` are (name, what `--model` takes), `runs` (name, folder of its evaluation)."""

    models: tuple[tuple[str, str], ...]
    runs: tuple[tuple[str, str], ...] = ()
    data: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    names: tuple[str, ...] = ()
    devices: tuple[str | None, ...] = ("cpu",)
    waiting: int = 64
    deadline: float = 60.0
    max_bytes: int = 32_000_000
    max_pixels: int = 89_478_485


def options_of(
    sources: Sequence[str | Path], data: str | Path | None, device: str | None, workers: int | None, **rest: Any
) -> ServerOptions:
    """Raises `UsageError` for a token that is too short, data that are not there, a folder that is nothing, and two
    sources of one name."""
    token = rest.get("token")
    if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable()):
        raise UsageError(
            f"the token has {len(token)} characters; it must have {SHORTEST} or more, of ASCII; leave --token out for "
            "one that is made"
        )
    if data is not None and not Path(data).exists():
        raise UsageError(f"there is no {data} to take pictures from; --data takes what was evaluated; check the path")
    models: dict[str, str] = {}
    runs: dict[str, str] = {}
    for source in map(str, sources or [*SHIPPED, *CAPTIONERS]):
        folder = folder_of(source)
        name = source if source in (*SHIPPED, *CAPTIONERS) or not folder.exists() else folder.resolve().name
        evaluation = evaluation_folder(folder)
        if name in models or name in runs:
            raise UsageError(f"two of what is to be served are called {name}; each needs its own name; rename a folder")
        if evaluation is not None:
            runs[name] = str(evaluation)
        if evaluation is None or is_run(folder):
            models[name] = source
    devices = _devices(device, workers)
    assert set(rest) <= {each.name for each in fields(ServerOptions)}
    where = None if data is None else str(data)
    return ServerOptions(tuple(models.items()), tuple(runs.items()), where, devices=devices, **rest)


def _devices(device: str | None, workers: int | None) -> tuple[str | None, ...]:
    """The device of each worker: by default one a GPU where there are some; else one, on the best there is."""
    if device is not None:
        return (device,) * (workers or 1)
    count = _gpus()
    if count:
        return tuple(f"cuda:{index % count}" for index in range(workers or count))
    return ("cpu",) * (workers or 1)


def _gpus() -> int:
    """How many GPUs torch can use: asked in a process of its own, as this one is to stay without torch."""
    import os
    import subprocess
    import sys

    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not any(Path("/dev").glob("nvidia[0-9]*")):
        return 0
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 0) if done.returncode == 0 else 0
