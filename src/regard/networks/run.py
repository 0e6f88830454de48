"""The run folder: a network that can be rebuilt from the folder alone, offline.

runs/NAME/model.safetensors   the weights to use; of a run with an adapter (`networks.adapters`) what its base lacks
          model.json          schema, task, architecture, preparation, classes, edits, hash; always written last
          recipe.json, split.csv, metrics.jsonl, timing.jsonl, report.html   written by those who make them
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

from regard.errors import DataError, NetworkError, OutputError, UsageError
from regard.files import SCHEMA, is_file, read_json, reading, write_file, write_json, writing
from regard.networks.sources.shipped import folder_of
from regard.networks.tasks import CLASSIFICATION, CLASSIFIERS, MULTILABEL, SEVERAL_LABELS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from regard.networks.network import Network

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
AGAIN = "restore it or train again"


def is_run(path: Path | str) -> bool:
    """Whether a path is a run folder, whole or damaged."""
    return is_file(Path(path) / DESCRIPTION)


def run_of(model: Any) -> Path | None:
    """The run folder that a model names, or that a loaded network was read from; None where there is none."""
    named = isinstance(model, str | Path)
    folder = folder_of(model) if named else None if hasattr(model, "state_dict") else getattr(model, "folder", None)
    return folder if folder is not None and is_run(folder) else None


def recorded_start(model: Any) -> dict[str, Any] | None:
    """The arguments of `load` in a run's recipe; None where there are none, or their weights are not there any more."""
    run = run_of(model)
    path = None if run is None else run / "recipe.json"
    if path is None or not path.is_file():
        return None
    try:
        arguments = dict(json.loads(path.read_text(encoding="utf-8"))["arguments"])
    except (ValueError, KeyError, TypeError):
        return None
    weights = arguments.get("weights")
    if not arguments.get("model") or (weights is not None and not Path(weights).is_file()):
        return None
    plain = {"model": arguments["model"], "weights": weights, "size": arguments.get("size")}
    return {**plain, "seed": arguments.get("seed") or 0}


def task_of(path: Path | str) -> str | None:
    """What the network of a run folder was trained for; None where there is no run."""
    if not is_run(path):
        return None
    description = read_description(path)
    task = str(description.get("task", CLASSIFICATION))
    architecture = description.get("architecture")
    arguments = architecture.get("arguments") if isinstance(architecture, dict) else None
    problem = arguments.get("problem_type") if isinstance(arguments, dict) else None
    several = problem == SEVERAL_LABELS  # saved from a folder of such
    return MULTILABEL if several and task == CLASSIFICATION else task


def save_network(network: "Network", folder: Path | str, overwrite: bool = False) -> Path:
    """Write `model.safetensors`, then `model.json`, into a folder (one that `new_folder` gave, or a new one).

    Raises `NetworkError` for a module of the user's own, which no folder can rebuild, and `OutputError` when the
    folder holds a network already and not `overwrite`, or cannot be written.
    """
    import safetensors.torch

    from regard.networks.sources.build import BUILDERS

    folder = Path(folder)
    if network.architecture.get("kind") not in BUILDERS:
        raise NetworkError(
            f"{network.name} is a module of your own, which a run folder cannot rebuild; "
            f"what can be saved are networks of {', '.join(BUILDERS)}"
        )
    if not overwrite and any((folder / name).exists() for name in (WEIGHTS, DESCRIPTION)):
        raise OutputError(f"{folder} holds a network already; choose another folder, or --overwrite to replace it")
    description = _description(network)
    tensors = network.module.state_dict() if network.adapter is None else network.adapter.tensors()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / WEIGHTS, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(folder / DESCRIPTION, description)
    return folder


def save(network: "Network", folder: Path | str, overwrite: bool = False) -> Path:
    """Write a run folder with all weights, from which `load` gives this network again, whatever it was loaded from.

    So a run with an adapter becomes one that needs no base. Raises what `save_network` does.
    """
    return save_network(replace(network, adapter=None), folder, overwrite)


def load_run(folder: Path | str) -> "Network":
    """The network of a run folder, from that folder alone.

    Raises `NetworkError`, in one line, when the folder is no run, is damaged, or was written by a newer regard.
    """
    from regard.data.images.preparation import Preparation
    from regard.networks.anatomy.description import describe
    from regard.networks.network import Network
    from regard.networks.sources.build import build
    from regard.networks.sources.fit import fit

    folder = Path(folder)
    description = read_description(folder)
    task = description.get("task", CLASSIFICATION)
    if task not in CLASSIFIERS:
        raise NetworkError(f"{folder.name} is a run of {task}, no classifier; `regard caption` takes it")
    with reading_description(folder):
        architecture = dict(description["architecture"])
        preparation = Preparation.from_json(description["preparation"])
        classes = description["classes"]
        names = None if classes is None else tuple(map(str, classes))
        name = str(architecture["name"])
        tensors = read_weights(folder)
        with within(description, tensors, folder):
            module = build(architecture, drawn=False)
    fit(module, tensors, folder / WEIGHTS)
    network = Network(module, name, architecture, preparation, names, (), describe(module), folder=folder)
    network = replace(_edited(network, description.get("edits") or (), folder), multilabel=task == MULTILABEL)
    check_digest(network.weights_hash(), description.get("weights_sha256"), folder / WEIGHTS)
    return network


def check_digest(digest: str, stored: Any, path: Path) -> None:
    """Raise `NetworkError` when a file of a run is not what `model.json` says was written; None says nothing."""
    if stored is not None and digest != stored:
        raise NetworkError(
            f"{path} is damaged: it was read whole, but is not what was stored (its SHA-256 is not the one in "
            f"{DESCRIPTION}); restore both or train again"
        )


def _edited(network: "Network", edits: Any, folder: Path) -> "Network":
    """The network with the edits that its run carries."""
    from regard.networks.edits import applied

    try:
        return applied(network, edits)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, UsageError) as error:
        raise NetworkError(
            f"the edits in {folder / DESCRIPTION} are damaged ({type(error).__name__}: {error}); restore it"
        ) from error


def is_classifier(path: Path) -> bool:
    """Whether a path is the run folder of a classifier, and can be read."""
    try:
        return task_of(path) in CLASSIFIERS
    except NetworkError:
        return False


def read_description(folder: Path | str) -> dict[str, Any]:
    """`model.json` as it stands, its schema checked. Raises `NetworkError` when it is missing, broken or newer."""
    path = Path(folder) / DESCRIPTION
    if not is_file(path):
        raise NetworkError(f"{folder} is not a run folder: it has no {DESCRIPTION}; give the folder that --out named")
    return read_json(path, AGAIN, NetworkError, {"schema": int})


def classes_of(folder: Path | str) -> tuple[str, ...]:
    """The names of a classifier's classes, from its description."""
    description = read_description(folder)
    with reading_description(folder):
        return tuple(map(str, list(description["classes"])))


@contextmanager
def reading_description(folder: Path | str) -> Iterator[None]:
    """What is wrong with a part of `model.json`, as a `NetworkError`."""
    path = Path(folder) / DESCRIPTION
    with reading(path, AGAIN, NetworkError):
        try:
            yield
        except (DataError, UsageError) as error:
            raise NetworkError(f"{path} is damaged ({type(error).__name__}: {error}); {AGAIN}") from error


def read_weights(folder: Path) -> "dict[str, Tensor]":
    """The weights of a run. Raises `NetworkError` where they are missing or damaged."""
    from regard.networks.sources.checkpoint import read_safetensors

    path = folder / WEIGHTS
    if not path.is_file():
        raise NetworkError(f"{folder} is damaged: it has no {WEIGHTS}; {AGAIN}")
    return read_safetensors(path).tensors


@contextmanager
def within(description: Mapping[str, Any], tensors: "Mapping[str, Tensor]", folder: Path) -> "Iterator[None]":
    """While a network is built from a description: `NetworkError` where that asks for more than the weights hold.

    A damaged size could otherwise build without end, or fill the memory before the weights are found not to fit.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    largest = max(_LARGEST, len(tensors), *(side for tensor in tensors.values() for side in tensor.shape), 0)
    problem = f"{folder / DESCRIPTION} is damaged: it describes a network larger than the one in {WEIGHTS}"
    for name in ("architecture", "edits", "preparation"):
        size = max(map(abs, _numbers(description.get(name))), default=0)
        if size > largest:
            raise NetworkError(f"{problem} ({name} has a size of {size:.3g}); {AGAIN}")
    room = 2 * sum(tensor.numel() for tensor in tensors.values()) + _SPARE
    parameters = 2 * len(tensors) + _SPARE  # heads and others are made twice
    thread = get_ident()

    def count(module: "nn.Module", name: str, value: "nn.Parameter | None") -> None:
        nonlocal room, parameters
        if value is None or get_ident() != thread:
            return
        room -= value.numel()
        parameters -= 1
        if min(room, parameters) < 0:
            raise NetworkError(f"{problem}; {AGAIN}")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


_LARGEST = 2**13
"""Sizes up to here may stand in a description and be no side of a weight: those of pictures, mostly."""
_SPARE = 4096
_OF_TEXTS = ("text_config", "vocab_size", "token_id")
"""Ends of names in transformers' configurations, which keep sizes of a part that is not built."""


def _numbers(value: Any) -> Iterator[int]:
    """All whole numbers of a piece of JSON that are sizes."""
    if isinstance(value, Mapping):
        value = [each for name, each in value.items() if not str(name).endswith(_OF_TEXTS)]
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int):
        yield value


def _description(network: "Network") -> dict[str, Any]:
    adapter = {} if network.adapter is None else {"adapter": network.adapter.as_json()}
    return {
        "schema": SCHEMA,
        "task": MULTILABEL if network.several_labels else CLASSIFICATION,
        "architecture": network.architecture,
        "preparation": network.preparation.as_json(),
        "classes": None if network.classes is None else list(network.classes),
        "edits": list(network.edits),
        **adapter,
        "weights_sha256": network.weights_hash(),
    }
