"""Networks by their timm or torchvision name, with their published weights or without, at any size of picture."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import timm
import torch
import torchvision
from torch import nn

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError
from regard.networks.anatomy.description import describe
from regard.networks.network import Network
from regard.networks.sources import hub, preparations
from regard.networks.sources.build import Architecture, build, check_tag
from regard.networks.sources.fit import fit

UNTRAINED = "the weights are random: this network is untrained"
_HUB_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
_SIZE_ARGUMENT = {"timm": "img_size", "torchvision": "image_size", "huggingface": "image_size"}


def load(
    kind: str, name: str, size: tuple[int, int] | None, seed: int, pretrained: bool, arguments: Mapping[str, Any]
) -> Network:
    """A named network: `pretrained` with its published weights (interpolated to `size`), else random at that size."""
    if pretrained and arguments.keys() - _HARMLESS:
        raise NetworkError(
            f"{name} with {', '.join(sorted(arguments.keys() - _HARMLESS))} changed has no published weights; "
            f"give --weights FILE, or random:{name} for an untrained network"
        )
    if pretrained:
        module = _pretrained_timm(name, arguments) if kind == "timm" else _pretrained_torchvision(name, arguments)
        network = _network(module, kind, name, dict(arguments))
        return resized(network, size)
    arguments = {**arguments, **_size_argument(kind, name, size)}
    module = build({"kind": kind, "name": name, "arguments": arguments}, seed)
    network = _network(module, kind, name, arguments, UNTRAINED)
    return network if size is None else replace(network, preparation=_at_size(network, size))


_HARMLESS = frozenset({"attn_drop_rate", "drop_path_rate", "drop_rate", "patch_drop_rate", "pos_drop_rate"}) | {
    "proj_drop_rate",
    "dropout",
    "attention_dropout",
}
"""Arguments under which published weights keep their meaning."""


def head_of(kind: str, name: str) -> str:
    """Where a named architecture keeps its head, known before it is built."""
    if kind == "torchvision":
        return "heads.head"
    check_tag(name)
    path = getattr(timm.get_pretrained_cfg(name), "classifier", None)
    return path if isinstance(path, str) else "head"


def resized(network: Network, size: tuple[int, int] | None) -> Network:
    """The network for pictures of another (height, width), its positional embeddings interpolated, and said so.

    A network that takes any size (a ConvNet) only has its preparation changed. Raises `NetworkError` for a size that
    does not hold whole patches, or a network of one size only.
    """
    if size is None or size == (network.preparation.height, network.preparation.width):
        return network
    preparation = _at_size(network, size)
    configuration = getattr(network.module, "pretrained_cfg", None) or {}
    if not configuration.get("fixed_input_size", True):  # where timm does not say, it is built for one size
        return replace(network, preparation=preparation)
    if network.edits:
        raise NetworkError(f"{network.name} carries registers and stays as it is; repair it anew at the other size")
    module: Any = network.module
    argument = _size_argument(network.architecture["kind"], network.name, size)
    if not argument:
        raise NetworkError(f"{network.name} takes pictures of one size only; leave --size out")
    arguments = {**network.architecture["arguments"], **argument}
    architecture: Architecture = {**network.architecture, "arguments": arguments}
    if hasattr(module, "set_input_size"):
        try:
            module.set_input_size(img_size=size)
        except (AssertionError, ValueError, TypeError, RuntimeError) as error:
            raise NetworkError(f"{network.name} cannot take pictures of {size[0]} × {size[1]}: {error}") from error
        what = "interpolated the positional embeddings" if network.anatomy.positions else "adapted the positions"
        notes = [f"{what} of {network.name} to pictures of {size[0]} × {size[1]}"]
    else:
        module = build(architecture)
        notes = fit(module, network.module.state_dict(), network.name, resample=True)
    messages = (*network.messages, *notes)
    return replace(
        network,
        module=module,
        architecture=architecture,
        preparation=preparation,
        messages=messages,
        anatomy=describe(module),
    )


def _at_size(network: Network, size: tuple[int, int]) -> Preparation:
    """The preparation at another size, which must hold whole patches."""
    patch = network.anatomy.patch
    if patch is not None and (size[0] % patch[0] or size[1] % patch[1]):
        raise NetworkError(
            f"{network.name} has patches of {patch[0]} × {patch[1]} pixels, so pictures of {size[0]} × {size[1]} do "
            "not hold whole ones; give a size that is a multiple"
        )
    return network.preparation.at_size(*size)


def _size_argument(kind: str, name: str, size: tuple[int, int] | None) -> dict[str, Any]:
    """The argument that builds an architecture for pictures of `size`, if it is built for a size at all."""
    if size is None:
        return {}
    if kind == "timm" and not getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
        return {}
    if kind == "torchvision":
        if size[0] != size[1]:
            raise NetworkError(
                f"{name} of torchvision takes square pictures only; timm's vit_* take {size[0]} × {size[1]}"
            )
        return {"image_size": size[0]}
    if kind == "huggingface" and size[0] == size[1]:  # some take one number only
        return {"image_size": size[0]}
    return {_SIZE_ARGUMENT[kind]: list(size)} if kind in _SIZE_ARGUMENT else {}


def _network(module: nn.Module, kind: str, name: str, arguments: Mapping[str, Any], *messages: str) -> Network:
    anatomy = describe(module)
    preparation, notes = preparations.timm(module) if kind == "timm" else preparations.torchvision(name, module)
    architecture = {"kind": kind, "name": name, "arguments": dict(arguments)}
    return Network(module.eval(), name, architecture, preparation, None, (*messages, *notes), anatomy)


def _pretrained_timm(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """With published weights: those fetched before, else from the hub once it is known to answer."""
    check_tag(name)
    settings = timm.get_pretrained_cfg(name)
    overlay = _local_file(settings)
    if overlay is None:
        _require_source(settings, name)
    try:
        module: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    except (OSError, URLError, RuntimeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise NetworkError(f"the weights of {name} could not be fetched: {reason}; {hub.OFFLINE}") from error
    return module


def _local_file(settings: Any) -> dict[str, Any] | None:
    """How to tell timm to read the file that lies in the hub's cache, without asking the hub about it."""
    if not settings.hf_hub_id or settings.custom_load == "hf":
        return None
    path = hub.cached(settings.hf_hub_id, (settings.hf_hub_filename,) if settings.hf_hub_filename else _HUB_FILES)
    return None if path is None else {"file": path, "custom_load": False}


def _require_source(settings: Any, name: str) -> None:
    if settings is None or not settings.has_weights:
        raise NetworkError(
            f"timm has no weights for {name}; give --weights FILE, or random:{name} for an untrained one"
        )
    if settings.hf_hub_id:
        hub.require_hub(f"the weights of {name}")
    elif not _in_torch_cache(settings.url):
        hub.require(settings.url, f"the weights of {name}")


def _in_torch_cache(address: str) -> bool:
    return (Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]).is_file()


def _pretrained_torchvision(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    if not _in_torch_cache(weights.url):
        hub.require(weights.url, f"the weights of {name}")
    try:
        module: nn.Module = torchvision.models.get_model(name, weights=weights, progress=False, **arguments)
    except (OSError, URLError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise NetworkError(f"the weights of {name} could not be fetched: {reason}; {hub.OFFLINE}") from error
    return module
