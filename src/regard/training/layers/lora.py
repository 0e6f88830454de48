"""LoRA by peft: beside some linear layers a product of two small matrices learns, and the layers stay as they are.

Hu et al. 2021, arXiv 2106.09685: W x becomes W x + alpha / rank · B A x. peft's layers stand in the network only while
it trains; what comes out is merged (`networks.adapters`). peft's own treatment of torch's multi-head attention adds the
product to the weights and takes it off again at every step, which leaves other weights behind each time: a run that
goes on would differ. So fused attention is taken apart (`Attention`) before peft sees it.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import UsageError
from regard.networks.adapters import BASE, Adapter, merged
from regard.networks.attention.replay import token_blocks
from regard.networks.network import Network
from regard.networks.sources.checkpoint import listed
from regard.training.optimise import State, interpolated, on_cpu, trainable_layers, trained_state
from regard.training.tasks.table import ClassifierSettings

STREAM = 0x10FA  # keeps the numbers that adapters start from apart from all others
NARROW = 4
"""A layer of attention with a side below a quarter of the tokens' width is no projection of them: a bias of positions,
talking heads."""


@dataclass(frozen=True)
class Part:
    """A linear layer: where it is while the network trains, and the name of its weight in the network as it is."""

    path: str
    weight: str


class Attention(nn.Module):
    """torch's multi-head attention with its two projections as layers; the parameters are those of `whole`."""

    def __init__(self, whole: nn.MultiheadAttention) -> None:
        super().__init__()
        self.qkv = nn.Linear(whole.embed_dim, 3 * whole.embed_dim, bias=whole.in_proj_bias is not None, device="meta")
        self.qkv.weight = whole.in_proj_weight
        self.qkv.bias = whole.in_proj_bias
        self.proj = nn.Linear(whole.embed_dim, whole.embed_dim, bias=whole.out_proj.bias is not None, device="meta")
        self.proj.weight = whole.out_proj.weight
        self.proj.bias = whole.out_proj.bias
        self.num_heads = whole.num_heads
        self.dropout = whole.dropout
        self.batch_first = whole.batch_first

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> tuple[Tensor, None]:
        """Self-attention over tokens (batch, tokens, width), or (tokens, batch, width); `attn_mask` is added."""
        if query is not key or key is not value or options.get("need_weights", False):
            raise UsageError("an adapter can be in self-attention only; name other layers by --targets")
        x = query if self.batch_first else query.transpose(0, 1)
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (3, batch, heads, tokens, d)
        dropped = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], options.get("attn_mask"), dropped)
        out = self.proj(out.transpose(1, 2).flatten(2))  # (batch, tokens, width)
        return out if self.batch_first else out.transpose(0, 1), None


def targets(network: Network, settings: ClassifierSettings) -> list[Part]:
    """The layers that get an adapter: those of attention, or what `--targets` names, in the last `open_layers` blocks.

    Raises `UsageError` where there are none.
    """
    module = network.module
    blocks = token_blocks(network)
    names = [name.strip() for name in settings.targets.split(",")] if settings.targets else []
    if settings.open_layers is not None and settings.open_layers > len(blocks):
        raise UsageError(
            f"--open-layers is {settings.open_layers}; {network.name} has {len(blocks)} blocks regard knows"
        )
    open_blocks = blocks[len(blocks) - (len(blocks) if settings.open_layers is None else settings.open_layers) :]
    linear = {path: part for path, part in module.named_modules() if isinstance(part, nn.Linear) and part.out_features}
    fused = {
        path: part
        for path, part in module.named_modules()
        if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None
    }
    inside = tuple(f"{path}." for path in fused)
    parts = [Part(path, f"{path}.weight") for path in linear if not path.startswith(inside)]
    for path in fused:
        parts.append(Part(f"{path}.qkv", f"{path}.in_proj_weight"))
        parts.append(Part(f"{path}.proj", f"{path}.out_proj.weight"))
    head = network.head_path()
    parts = [part for part in parts if part.path != head]
    if names:
        chosen = _by_name(parts, names, network)
    else:
        roots = [
            path.removesuffix(".attention") if path.endswith(".attention.attention") else path
            for path in network.anatomy.attentions
        ]
        chosen = [part for root in roots for part in _projections(module, root, parts)]
        if not chosen:
            raise UsageError(
                f"{network.name} has no attention that regard knows, so --adapter lora has no layer to stand beside; "
                f"name some by --targets: {listed([part.path for part in parts], 6)}"
            )
    if blocks and settings.open_layers is not None:
        chosen = [part for part in chosen if part.path.startswith(tuple(f"{path}." for path in open_blocks))]
    elif not names:
        chosen = [part for part in chosen if part.path.startswith(tuple(f"{path}." for path in blocks))]
    if not chosen:
        raise UsageError(
            f"--adapter lora has no layer to stand beside in the last {settings.open_layers} blocks; give a larger "
            "--open-layers, or leave it out"
        )
    return list(dict.fromkeys(chosen))


def _by_name(parts: list[Part], names: list[str], network: Network) -> list[Part]:
    """Those whose path is a name, ends in one, or fits one with `*`. Raises `UsageError` for a name that none has."""

    def fits(part: Part, name: str) -> bool:
        return fnmatchcase(part.path, name) or fnmatchcase(part.path, f"*.{name}")

    for name in names:
        if not any(fits(part, name) for part in parts):
            endings = sorted({part.path.rpartition(".")[2] for part in parts})
            raise UsageError(
                f"--targets names {name!r}, which no linear layer of {network.name} is called, so it would have no "
                f"adapter; its layers end in {listed(endings, 8)}"
            )
    return [part for part in parts if any(fits(part, name) for name in names)]


def _projections(module: nn.Module, root: str, parts: list[Part]) -> list[Part]:
    """Those of a layer of attention that read or give tokens."""
    inside = [part for part in parts if part.path.startswith(f"{root}.")]
    if not inside:
        return []
    width = module.get_parameter(inside[0].weight).shape[1]
    sides = {part: module.get_parameter(part.weight).shape for part in inside}
    return [part for part, shape in sides.items() if width in shape and min(shape) * NARROW >= width]


@contextmanager
def learning(network: Network, settings: ClassifierSettings, seed: int) -> Iterator[Callable[[], State]]:
    """What the settings open can learn inside: layers, or an adapter beside them and the head. What it gives tells what
    was learnt so far, on the CPU: `mixed` takes that.

    Raises `UsageError` for layers, targets or a rank that there are not, and where peft is not installed.
    """
    if settings.adapter == "none":
        with trainable_layers(network, settings.open_layers):
            yield lambda: on_cpu(trained_state(network.module))
        return
    parts = targets(network, settings)
    module = network.module
    before = {value: value.requires_grad for value in module.parameters()}
    heads = tuple(f"{path}." for path in network.head_paths())
    try:
        with _split_attention(module, parts), _separate_bias(module), _wrapped(module, parts, settings, seed) as layers:
            for name, value in module.named_parameters():
                value.requires_grad_(".lora_" in name or name.startswith(heads))
            check_use(network, layers)

            def learnt() -> State:
                state = {name: value for name, value in trained_state(module).items() if ".lora_" not in name}
                for part, layer in layers.items():
                    state[f"{part.weight}/A"] = layer.lora_A["default"].weight.detach()
                    state[f"{part.weight}/B"] = layer.lora_B["default"].weight.detach()
                return on_cpu(state)

            yield learnt
    finally:
        for value, learns in before.items():
            value.requires_grad_(learns)
            value.grad = None


@contextmanager
def _split_attention(module: nn.Module, parts: list[Part]) -> Iterator[None]:
    """torch's multi-head attention as `Attention` where `parts` lie in it; put back at the end."""
    roots = {part.path.rpartition(".")[0] for part in parts}
    wholes = {
        path: part for path, part in module.named_modules() if isinstance(part, nn.MultiheadAttention) and path in roots
    }
    try:
        for path, whole in wholes.items():
            module.set_submodule(path, Attention(whole).train(whole.training))
        yield
    finally:
        for path, whole in wholes.items():
            whole.train(module.get_submodule(path).training)
            module.set_submodule(path, whole)


@contextmanager
def _separate_bias(module: nn.Module) -> Iterator[None]:
    """timm's BEiT and EVA read the weight of their fused projection past its forward; so asked, they call it."""
    parts: list[Any] = [part for part in module.modules() if getattr(part, "qkv_bias_separate", True) is False]
    for part in parts:
        part.qkv_bias_separate = True
    try:
        yield
    finally:
        for part in parts:
            part.qkv_bias_separate = False


@contextmanager
def _wrapped(
    module: nn.Module, parts: list[Part], settings: ClassifierSettings, seed: int
) -> Iterator[dict[Part, Any]]:
    """peft's layers in the places of `parts`; A is a function of seed and name, B begins at zero."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UsageError(
            "--adapter lora needs peft, which is not installed; install it: pip install 'regard[lora]'"
        ) from error
    before = {part.path: module.get_submodule(part.path) for part in parts}
    for path in before:
        shape = module.get_parameter(f"{path}.weight").shape
        if settings.rank > min(shape):
            raise UsageError(
                f"--rank is {settings.rank}, but {path} has {shape[1]} inputs and {shape[0]} outputs: an adapter "
                "beside it would be larger than it is; give a smaller one"
            )
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.adapter_dropout,
        target_modules="|".join(map(re.escape, before)),  # in a list, each would also stand for the end of a path
    )
    has = set(vars(module))
    try:
        inject_adapter_in_model(config, module)
        layers = {part: module.get_submodule(part.path) for part in parts}
        for part, layer in layers.items():
            weight: Tensor = layer.lora_A["default"].weight  # type: ignore[index, union-attr]
            random = torch.Generator().manual_seed(crc32(f"{seed}/{part.weight}".encode()) << 16 | STREAM)
            with torch.no_grad():  # as peft and torch's linear layers start: evenly within 1 / √in
                weight.copy_((2 * torch.rand(weight.shape, generator=random) - 1) / math.sqrt(weight.shape[1]))
            layer.train(before[part.path].training)
        yield layers
    finally:
        for path, base in before.items():
            base.train(module.get_submodule(path).training)
            module.set_submodule(path, base)
        for name in vars(module).keys() - has:
            delattr(module, name)


def check_use(network: Network, layers: Mapping[Part, Any]) -> None:
    """Raise `UsageError` where the network reads a layer's weight past its forward: the adapter would do nothing."""
    calls: set[Part] = set()
    with network.borrow() as hooks, torch.no_grad():
        for part, layer in layers.items():
            hooks.append(layer.register_forward_hook(lambda *_, part=part: calls.add(part)))
        network.forward(network.blank())
    unused = [part.path for part in layers if part not in calls]
    if unused:
        raise UsageError(
            f"{network.name} does not call {listed(unused, 3)} as a layer, so an adapter beside it would do nothing; "
            "name other layers by --targets"
        )


def mixed(settings: ClassifierSettings, start: State, tuned: State, share: float) -> State:
    """The network's values `share` of the way from the start to what was learnt (WiSE-FT), adapters merged in."""
    factors, rest = _divided(tuned)
    return interpolated(start, rest, share) | merged(start, factors, share * settings.alpha / settings.rank)


def adapter_of(
    settings: ClassifierSettings, start: State, tuned: State, share: float, base: Mapping[str, Any]
) -> Adapter:
    """What the run stores in the place of all weights."""
    factors, rest = _divided(tuned)
    scale = share * settings.alpha / settings.rank
    return Adapter(base, settings.rank, scale, factors, interpolated(start, rest, share))


def base_of(network: Network, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What an adapter's run keeps of the network that it is of: what to load, and the hash of it without its head."""
    return {name: arguments.get(name) for name in BASE} | {"sha256": network.base_hash()}


def trained_share(network: Network, tuned: State) -> str:
    """How many of the network's weights learnt, in words."""
    names = {name for name, _ in network.module.named_parameters()}
    learnt = sum(value.numel() for name, value in tuned.items() if name in names or "/" in name)
    count = sum(value.numel() for value in network.module.parameters())
    return f"{learnt:,} beside {count:,} ({learnt / count:.1%})"


def _divided(tuned: State) -> tuple[State, State]:
    """Factors of adapters, and the rest of what was learnt."""
    factors = {name: value for name, value in tuned.items() if name.endswith(("/A", "/B"))}
    return factors, {name: value for name, value in tuned.items() if name not in factors}
