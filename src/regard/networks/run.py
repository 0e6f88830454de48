"""The run folder: a network that can be rebuilt from the folder alone, offline.

runs/NAME/model.safetensors   the weights to use
          model.json          schema, task, architecture, preparation, classes, edits, hash; always written last
          recipe.json, split.csv, metrics.jsonl, timing.jsonl, report.html   written by those who make them
"""

import json
from pathlib import Path
from typing import Any

import safetensors.torch

from regard.data.images.preparation import Preparation
from regard.errors import DataError, NetworkError, OutputError, RegardError, UsageError
from regard.files import SCHEMA, check_schema, write_file, write_json, writing
from regard.networks.anatomy.description import describe
from regard.networks.edits import applied
from regard.networks.network import Network
from regard.networks.sources.build import BUILDERS, build
from regard.networks.sources.checkpoint import read_checkpoint
from regard.networks.sources.fit import fit

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
CLASSIFICATION = "classification"
CAPTIONING = "captioning"
"""What the network of a run was trained for."""


def is_run(path: Path | str) -> bool:
    """Whether a path is a run folder, whole or damaged."""
    return (Path(path) / DESCRIPTION).is_file()


def task_of(path: Path | str) -> str | None:
    """What the network of a run folder was trained for; None where there is no run."""
    return str(read_description(path).get("task", CLASSIFICATION)) if is_run(path) else None


def save_network(network: Network, folder: Path | str, overwrite: bool = False) -> Path:
    """Write `model.safetensors`, then `model.json`, into a folder (one that `new_folder` gave, or a new one).

    Raises `NetworkError` for a module of the user's own, which no folder can rebuild, and `OutputError` when the
    folder holds a network already and not `overwrite`, or cannot be written.
    """
    folder = Path(folder)
    if network.architecture.get("kind") not in BUILDERS:
        raise NetworkError(
            f"{network.name} is a module of your own, which a run folder cannot rebuild; "
            f"what can be saved are networks of {', '.join(BUILDERS)}"
        )
    if not overwrite and any((folder / name).exists() for name in (WEIGHTS, DESCRIPTION)):
        raise OutputError(f"{folder} holds a network already; choose another folder, or --overwrite to replace it")
    description = _description(network)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.module.state_dict().items()}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / WEIGHTS, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(folder / DESCRIPTION, description)
    return folder


def load_run(folder: Path | str) -> Network:
    """The network of a run folder, from that folder alone.

    Raises `NetworkError`, in one line, when the folder is no run, is damaged, or was written by a newer regard.
    """
    folder = Path(folder)
    description = read_description(folder)
    if description.get("task", CLASSIFICATION) != CLASSIFICATION:
        raise NetworkError(f"{folder.name} is a run of {description['task']}, no classifier; `regard caption` takes it")
    try:
        architecture = dict(description["architecture"])
        preparation = Preparation.from_json(description["preparation"])
        classes = description["classes"]
        name = str(architecture["name"])
        module = build(architecture)
    except (KeyError, TypeError, ValueError, AttributeError, DataError, UsageError) as error:
        raise NetworkError(
            f"{folder / DESCRIPTION} is damaged ({type(error).__name__}: {error}); restore it or train again"
        ) from error
    if not (folder / WEIGHTS).is_file():
        raise NetworkError(f"{folder} is damaged: it has no {WEIGHTS}; restore it or train again")
    fit(module, read_checkpoint(folder / WEIGHTS).tensors, folder / WEIGHTS)
    names = None if classes is None else tuple(map(str, classes))
    network = Network(module, name, architecture, preparation, names, (), describe(module))
    network = _edited(network, description.get("edits") or (), folder)
    check_digest(network.weights_hash(), description.get("weights_sha256"), folder / WEIGHTS)
    return network


def check_digest(digest: str, stored: Any, path: Path) -> None:
    """Raise `NetworkError` when a file of a run is not what `model.json` says was written; None says nothing."""
    if stored is not None and digest != stored:
        raise NetworkError(
            f"{path} is damaged: it was read whole, but is not what was stored (its SHA-256 is not the one in "
            f"{DESCRIPTION}); restore both or train again"
        )


def _edited(network: Network, edits: Any, folder: Path) -> Network:
    """The network with the edits that its run carries."""
    try:
        return applied(network, edits)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NetworkError(
            f"the edits in {folder / DESCRIPTION} are damaged ({type(error).__name__}: {error}); restore it"
        ) from error


def read_description(folder: Path | str) -> dict[str, Any]:
    """`model.json` as it stands, its schema checked. Raises `NetworkError` when it is missing, broken or newer."""
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise NetworkError(f"{folder} is not a run folder: it has no {DESCRIPTION}; give the folder that --out named")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(description, dict) or not isinstance(description.get("schema"), int):
            raise NetworkError(f"{path} is damaged: it has no schema version; restore it or train again")
        check_schema(description, path)
    except (OSError, ValueError) as error:
        raise NetworkError(f"{path} is damaged: it is not JSON ({error}); restore it or train again") from error
    except RegardError as error:
        raise NetworkError(str(error)) from error
    return description


def _description(network: Network) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "task": CLASSIFICATION,
        "architecture": network.architecture,
        "preparation": network.preparation.as_json(),
        "classes": None if network.classes is None else list(network.classes),
        "edits": list(network.edits),
        "weights_sha256": network.weights_hash(),
    }
