"""What a worker gets, and all that decides the bytes of a unit: network, settings, columns, batch, threads, versions.

A `Work` is small and can be pickled: it travels to every process that works on it.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regard.data.shards import Source
from regard.errors import UsageError
from regard.files import json_text
from regard.version import __version__

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow", "pyarrow")
"""What decodes, computes and writes, beside regard itself."""


@dataclass(frozen=True)
class Work:
    """A command over DATA. `network` is what the predictor is loaded with; `model` may be a module where one process
    works. `settings` are the command's own; `digest` is of the network, its preparation and classes.

    `masks` say where objects are (their digest is among the settings). `readers` threads decode; these, unlike
    `threads` of the network, change no byte.
    """

    command: str
    source: Source
    out: str
    model: Any
    network: Mapping[str, Any]
    settings: Mapping[str, Any]
    columns: tuple[str, ...]
    batch_size: int
    threads: int
    max_pixels: int
    unit: int
    readers: int = 2
    masks: str | None = None
    digest: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """All that decides the bytes of a unit, beside its pictures, as JSON; `job.json` of the output."""
        return {
            "command": self.command,
            "network": self.digest,
            "settings": dict(self.settings),
            "columns": list(self.columns),
            "batch_size": self.batch_size,
            "threads": self.threads,
            "max_pixels": self.max_pixels,
            "unit": self.unit,
            "versions": dict(self.versions),
        }


def check_versions(planned: Mapping[str, str], command: str) -> None:
    """Raise `UsageError` where this process has other versions than the one that planned."""
    here = versions(command)
    others = [
        f"{name} {here.get(name)} for {version}" for name, version in planned.items() if here.get(name) != version
    ]
    if others:
        raise UsageError(
            f"this worker has other versions than the job ({', '.join(others)}), and would give other results; "
            "install the same on every machine"
        )


def versions(command: str) -> dict[str, str]:
    """The versions that results depend on."""
    from PIL import features

    libraries = (*LIBRARIES, *(("transformers",) if command == "caption" else ()))
    jpeg = features.version("libjpeg_turbo") or features.version("jpg") or ""
    return {"regard": __version__, **{name: version(name) for name in libraries}, "libjpeg": str(jpeg)}


def digest(about: Mapping[str, Any]) -> str:
    """A hash of what is JSON."""
    return hashlib.sha256(json_text({**about}).encode("utf-8", "surrogateescape")).hexdigest()


def device_name(device: Any) -> str:
    """What a result says of the device that it was computed on."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    if device.type != "cpu":
        return str(device.type)
    models: set[str] = set()
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        lines = cpus.read_text(encoding="utf-8", errors="replace").splitlines()
        models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    name = min(models, default="") or platform.processor() or platform.machine()
    return f"cpu: {name} ({torch.backends.cpu.get_cpu_capability()})"
