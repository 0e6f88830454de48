"""A name, a run, a checkpoint, a folder or a module → a network, and never silently.

M is, in this order: a run folder; a checkpoint file whose layout is recognised; a shipped name; a timm or torchvision
name; `hf:ID` or a local Hugging Face folder. `random:NAME` is any timm or torchvision name without its weights. The
rows of `SOURCES` are that grammar.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError, unknown
from regard.files import check_local, is_file, is_folder
from regard.networks.adapters import open_adapter
from regard.networks.anatomy.description import describe
from regard.networks.arguments import check_arguments
from regard.networks.guard import usable
from regard.networks.network import Network, set_head, with_outputs
from regard.networks.precision import best_precision
from regard.networks.run import is_classifier, is_run, load_run, read_description
from regard.networks.sources import huggingface, huggingface_files, timm_folder, zoo
from regard.networks.sources.build import build, fresh_head, is_timm, is_torchvision, offered
from regard.networks.sources.checkpoint import listed, read_checkpoint
from regard.networks.sources.fit import fit, taken_out
from regard.networks.sources.foreign import LAYOUTS, Converted, open_clip, recognise
from regard.networks.sources.shipped import CAPTIONERS, SHIPPED, folder_of
from regard.networks.sources.strangers import FILE_ENDINGS, what_folder
from regard.networks.sources.user_module import describe_module, with_grid

__all__ = ["SOURCES", "Network", "load"]

log = logging.getLogger("regard")

RANDOM = "random:"


@dataclass(frozen=True)
class Options:
    """The arguments of `load` beside M."""

    weights: Path | None = None
    outputs: int | None = None
    size: tuple[int, int] | None = None
    seed: int = 0
    pretrained: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    preparation: Preparation | None = None
    part: str | None = None


@dataclass(frozen=True)
class Source:
    """A row of the grammar: what this kind of M is called, when M is one, and how it is loaded."""

    name: str
    fits: Callable[[str], bool]
    load: Callable[[str, Options], Network]


@torch.inference_mode(mode=False)  # weights that are made in it could never get a gradient
def load(
    model: str | Path | nn.Module | Network,
    *,
    weights: str | Path | None = None,
    weights_part: str | None = None,
    classes: int | Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    pretrained: bool = True,
    arguments: Mapping[str, Any] | None = None,
    preparation: Preparation | None = None,
    precision: str = "float32",
    grid: tuple[int, int] | None = None,
) -> Network:
    """The network that `model` names, in evaluation mode, with what there was to say in its `messages` and in the log.

    `weights` is a checkpoint file for the named architecture, and `weights_part` which of its networks where it holds
    several (teacher, student, ema; by default the averaged one); `pretrained=False` (or `random:NAME`) takes random
    values from `seed` instead. `classes` (a number, or names) decides the head: one of another size is replaced and
    said so. `size`, in pixels or as (height, width), interpolates positional embeddings and says so. `arguments` go
    to a timm or torchvision architecture (`depth`, `attn_drop_rate`, ...). `preparation` replaces the network's own;
    `precision` is what it computes in: float32, bfloat16, or auto, which is bfloat16 where the machine multiplies that
    itself (see `best_precision`).
    `grid` (rows, columns) tells the patches of a network that regard does not know, so that its attention can be found.
    A module of the user's own is never changed: where the head or device must change, a copy is. So is a network that
    is loaded already, which comes back as it is otherwise.

    Raises `UsageError` for an unknown name (the nearest are offered) or options that exclude each other, and
    `NetworkError` for weights that do not fit, a file that is damaged or unsafe, or a hub that cannot be reached.
    """
    check_arguments(model, weights, weights_part, precision)
    _check_kind(model)
    names = None if classes is None or isinstance(classes, int) else tuple(classes)
    outputs = _count(classes)
    pretrained = pretrained and weights is None
    if isinstance(model, str) and model.startswith(RANDOM):
        pretrained = False
        model = model.removeprefix(RANDOM)
        if not (is_timm(model) or is_torchvision(model)):
            raise unknown("network", model, offered(), f"{RANDOM}NAME takes a timm or torchvision name.")
    path = None if weights is None else Path(weights)
    options = Options(path, outputs, _pair(size), seed, pretrained, dict(arguments or {}), preparation, weights_part)
    if isinstance(model, Network):
        network = _checked(model, options, grid)
    elif isinstance(model, nn.Module):
        if options.weights is not None or options.arguments:
            raise UsageError(
                "a module comes with its weights; leave `weights` and `arguments` out, or load them into it"
            )
        if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
            model = copy.deepcopy(model)
        network = describe_module(model, options.size, preparation, grid)
    else:
        network = _source(str(model)).load(str(model), options)
    is_given = isinstance(model, Network | nn.Module)
    network = _with_outputs(network, outputs, seed, copied=is_given)
    network = replace(
        network,
        classes=names or network.classes,
        preparation=preparation or network.preparation,
    )
    if grid is not None and not isinstance(model, nn.Module):
        size_of_input = network.preparation.height, network.preparation.width
        anatomy, notes = with_grid(network.module, network.anatomy, size_of_input, grid)
        network = replace(network, anatomy=anatomy, messages=(*network.messages, *notes))
    network = _on_device(network, device, copied=is_given)
    if not isinstance(model, Network) or precision != "float32":
        network = replace(network, precision=best_precision(precision, network.device))
    for message in network.messages:
        if not isinstance(model, Network) or message not in model.messages:
            log.info(message)
    return network


def _check_kind(model: object) -> None:
    if not isinstance(model, str | Path | nn.Module | Network):
        advice = "give a name, a path, a module or what regard.load gave"
        if isinstance(getattr(model, "network", None), Network):
            advice = "give its .network"
        elif hasattr(model, "teacher_force"):
            advice = "it captions: give it to regard.Captioner or regard.caption"
        raise UsageError(f"a network came as {type(model).__name__}, which is none; {advice}")


def _checked(network: Network, options: Options, grid: tuple[int, int] | None) -> Network:
    """A network that is loaded already. Raises `UsageError` for what only loading can change."""
    preparation = network.preparation
    same = options.size in (None, (preparation.height, preparation.width))
    if options.weights is not None or options.arguments or grid is not None or not same:
        raise UsageError(
            f"{network.name} is loaded already; leave weights, size, grid and arguments out, or load it with them"
        )
    return network


def available(pattern: str = "") -> list[tuple[str, str]]:
    """(name, where its architecture comes from) of all names with `pattern` in them; `*` stands for anything."""
    glob = f"*{pattern.lower()}*"
    shipped = [(name, f"shipped: {about}") for name, about in (SHIPPED | CAPTIONERS).items() if fnmatch(name, glob)]
    return shipped + [
        (name, "timm" if is_timm(name) else "torchvision") for name in offered() if fnmatch(name.lower(), glob)
    ]


def _source(model: str) -> Source:
    """The first row that M fits; else the error that says what M may be."""
    source = next((source for source in SOURCES if source.fits(model)), None)
    if source is not None:
        return source
    path = Path(model)
    if is_folder(path):
        raise NetworkError(what_folder(path))
    if path.suffix in FILE_ENDINGS:
        check_local(model, NetworkError)
        raise NetworkError(f"no checkpoint at {model}: there is no such file; check the path")
    if "/" in model and not is_timm(model):
        beside = path.parent.iterdir() if is_folder(path.parent) else ()
        runs = {each.name: str(each) for each in beside if is_classifier(each)}
        near = [runs[name] for name in get_close_matches(path.name, list(runs), n=3, cutoff=0.5)]
        offer = f"did you mean {' or '.join(map(repr, near))}? Else give" if near else "give"
        raise UsageError(
            f"there is no {model}; {offer} a run folder, a checkpoint file, hf:ID, a folder of Hugging Face's, or a "
            "name: `regard models` lists them"
        )
    hint = "A network may also be a run folder, a checkpoint file, hf:ID or a local Hugging Face folder."
    raise unknown("network", model, [*SHIPPED, *offered()], hint)


def _count(classes: int | Sequence[str] | None) -> int | None:
    if classes is None:
        return None
    if isinstance(classes, str):
        raise UsageError(f"classes is {classes!r}, one text; give a number, or a list of names")
    count = classes if isinstance(classes, int) else len(classes)
    if count < 1 or (not isinstance(classes, int) and len(set(classes)) != count):
        raise UsageError(f"classes is {classes!r}; give a number from 1 on, or a list of names that differ")
    return count


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise UsageError(f"size is {size}; give a number of pixels, or (height, width)")
    return int(height), int(width)


def _with_outputs(network: Network, outputs: int | None, seed: int, copied: bool) -> Network:
    """The network with a head of this many outputs: its own where it has that many, else a new one, and said so."""
    if outputs is None or outputs == network.outputs:
        return network
    path = network.head_path()
    old = network.module.get_submodule(path)
    if isinstance(old, nn.Linear):
        inputs = old.in_features
        message = f"replaced the head of {old.out_features} outputs by a new one of {outputs}"
    else:
        inputs = network.outputs
        message = f"the network has no head; added one of {outputs} outputs"
    module = copy.deepcopy(network.module) if copied else network.module
    set_head(module, path, fresh_head(inputs, outputs, next(module.parameters()), seed))
    return replace(
        network,
        module=module,
        classes=None,
        multilabel=False,
        architecture=with_outputs(network.architecture, outputs),
        anatomy=replace(network.anatomy, head=describe(module).head),
        messages=(*network.messages, f"{message}, which is untrained"),
    )


def _on_device(network: Network, device: str | torch.device | None, copied: bool) -> Network:
    if device is None:
        return network
    with usable(device):
        if copied and torch.device(device).type != network.device.type:
            network = replace(network, module=copy.deepcopy(network.module))
        network.module.to(device)
    return network


# What each row loads; the network comes back on the CPU, with the head that the weights have.


def _load_run(model: str, options: Options) -> Network:
    description = read_description(model)
    if "adapter" in description and not options.arguments:
        load_base = partial(_load_base, weights=options.weights)
        return zoo.resized(open_adapter(Path(model), description, options.weights, load_base), options.size)
    if options.weights is not None or options.arguments:
        raise UsageError(
            f"{model} is a run with weights of its own; leave --weights out, or name the architecture that they "
            "are of: --model NAME"
        )
    return zoo.resized(load_run(model), options.size)


def _load_base(base: Mapping[str, Any], outputs: int, weights: Path | None) -> Network:
    """The network that an adapter is of; `weights` is where it is now: of a name its file, else the network itself."""
    model = str(base["model"]).removeprefix(RANDOM)
    file = None if base["weights"] is None else Path(base["weights"])
    if weights is not None and (file is not None or is_timm(model) or is_torchvision(model)):
        file = weights
    elif weights is not None:
        model = str(weights)
    pretrained = file is None and model == base["model"]
    part = base["weights_part"]
    options = Options(file, outputs, _pair(base["size"]), int(base["seed"] or 0), pretrained, part=part)
    check_arguments(model, file, part)
    return _with_outputs(_source(model).load(model, options), outputs, options.seed, copied=False)


def _load_file(model: str, options: Options) -> Network:
    """A checkpoint alone: its layout must say which network it is."""
    if options.weights is not None:
        raise UsageError(f"{model} is a checkpoint itself; leave --weights out, or name an architecture instead")
    checkpoint = read_checkpoint(model, options.part)
    converted: Converted | None = open_clip.convert_trunk(checkpoint, options.size, options.outputs)
    if recognised := recognise(checkpoint, options.part):
        layout, checkpoint = recognised
        converted = layout.convert(checkpoint, options.size, options.outputs)
    if converted is None:
        raise NetworkError(
            f"{model} has a layout that is not recognised (its keys: {listed(checkpoint.tensors, 4)}); known are "
            f"{', '.join(layout.name for layout in LAYOUTS)}; else name the architecture: --model NAME --weights FILE"
        )
    head = converted.tensors.get("head.weight")
    arguments = {**converted.architecture["arguments"], **options.arguments}
    arguments["num_classes"] = options.outputs or 0 if head is None else len(head)
    architecture = {**converted.architecture, "arguments": arguments}
    module = build(architecture, options.seed)
    notes = fit(
        module, converted.tensors, model, resample=options.size is not None, headless=options.outputs is not None
    )
    messages = (*checkpoint.messages, *converted.messages, *converted.unnamed, *notes)
    if head is None and options.outputs is None:
        messages = (*messages, _HEADLESS.format(model))
    return Network(module, Path(model).stem, architecture, converted.preparation, None, messages, describe(module))


_HEADLESS = "{} has no head: loaded as an encoder, which has features and no classes"


def _load_zoo(model: str, options: Options) -> Network:
    kind = "timm" if is_timm(model) else "torchvision"
    if options.weights is not None:
        return _fitted(kind, model, options)
    return zoo.load(kind, model, options.size, options.seed, options.pretrained, options.arguments)


def _fitted(kind: str, model: str, options: Options) -> Network:
    """A named architecture with the weights of a file, which also decides how many outputs there are."""
    checkpoint = read_checkpoint(Path(str(options.weights)), options.part)
    tensors = checkpoint.tensors
    messages = checkpoint.messages
    recognised = recognise(checkpoint, options.part) if kind == "timm" else None
    if recognised is not None:
        layout, checkpoint = recognised
        converted = layout.convert(checkpoint, options.size, options.outputs)
        tensors = converted.tensors
        messages = (*checkpoint.messages, *converted.messages)
    arguments = dict(options.arguments)
    head_name = f"{zoo.head_of(kind, model)}.weight"
    if recognised is None and kind == "timm" and "fc_norm.weight" in tensors and "norm.weight" not in tensors:
        arguments.setdefault("global_pool", "avg")  # the same network, read from the mean of its patches, as MAE's are
    if recognised is None:
        state = zoo.load(kind, model, options.size, options.seed, False, arguments).module.state_dict()
        tensors, notes = taken_out(tensors, state, head_name, options.part, options.weights)
        messages = (*messages, *notes)
    head = tensors.get(head_name)
    if head is not None or options.outputs is not None:
        arguments["num_classes"] = options.outputs if head is None else len(head)
    elif kind == "timm":
        arguments["num_classes"] = 0
        messages = (*messages, _HEADLESS.format(options.weights))
    network = zoo.load(kind, model, options.size, options.seed, False, arguments)
    notes = fit(
        network.module,
        tensors,
        Path(str(options.weights)),
        resample=options.size is not None,
        headless=options.outputs is not None,
    )
    others = tuple(message for message in network.messages if message != zoo.UNTRAINED)
    prepared = open_clip.preparation_beside(checkpoint, (network.preparation.height, network.preparation.width))
    network = replace(network, preparation=prepared or network.preparation)
    return replace(network, messages=(*others, *messages, *notes))


def _load_huggingface(model: str, options: Options) -> Network:
    if options.weights is not None or options.arguments or not options.pretrained:
        raise UsageError(f"{model} comes with its own weights and architecture; leave --weights and arguments out")
    folder = huggingface_files.folder_of(model)
    if not (folder / "config.json").is_file():
        network = _load_file(str(open_clip.weights_of(folder)), options)
        return replace(network, name=model if model.startswith(huggingface_files.PREFIX) else folder.name)
    config = timm_folder.read_config(folder)
    if config is not None:
        return zoo.resized(timm_folder.load(folder, config, model, options.outputs), options.size)
    return zoo.resized(huggingface.load(model, options.outputs, options.preparation), options.size)


SOURCES: tuple[Source, ...] = (
    Source("a run folder", is_run, _load_run),
    Source("a checkpoint file", is_file, _load_file),
    Source(
        "a shipped name",
        lambda model: model in SHIPPED or model in CAPTIONERS,
        lambda model, options: replace(_load_run(str(folder_of(model)), options), name=model),
    ),
    Source("a timm or torchvision name", lambda model: is_timm(model) or is_torchvision(model), _load_zoo),
    Source(
        "hf:ID or a folder of Hugging Face's, timm's or open_clip's",
        huggingface_files.is_huggingface,
        _load_huggingface,
    ),
)
"""The grammar of M: the first row that fits is taken."""
