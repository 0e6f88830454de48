"""What moves the weights, and which: layers and their rates, the schedule, averaged weights, dropout."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from regard.errors import UsageError
from regard.training.settings import Settings
from regard.training.trainable import Trainable

State = dict[str, Tensor]


def blocks(network: Trainable) -> list[str]:
    """The path of each block, in order. Empty for a family that is not known."""
    return list(network.anatomy.blocks)


def depths(network: Trainable) -> dict[str, int]:
    """Each parameter's depth: 0 before the blocks, 1 to n in them, n + 1 behind them.

    A network whose blocks are not known has two depths: its head, and the rest.
    """
    paths = blocks(network)
    heads = _heads(network)
    depth: dict[str, int] = {}
    passed = 0  # blocks that lie before a parameter: parameters come in the order of the network
    for name, _ in network.module.named_parameters():
        inside = next((place for place, path in enumerate(paths, 1) if name.startswith(f"{path}.")), 0)
        passed = max(passed, inside)
        behind = name.startswith(heads) or 0 < passed == len(paths)
        depth[name] = inside or (len(paths) + 1 if behind else 0)
    return depth


def _heads(network: Trainable) -> tuple[str, ...]:
    return tuple(f"{path}." for path in network.head_paths())


@contextmanager
def trainable_layers(network: Trainable, layers: int | None) -> Iterator[None]:
    """Only the last so many blocks and what is behind them can learn (0: the head alone; None: everything).

    Raises `UsageError` for more blocks than there are. The parameters are left as they were found.
    """
    paths = blocks(network)
    depth = depths(network)
    if layers is not None and layers > len(paths):
        have = f"has {len(paths)} blocks" if paths else "has no blocks that regard knows (0 trains the head alone)"
        raise UsageError(f"--open-layers is {layers}, but {network.name} {have}; give at most {len(paths)}")
    heads = _heads(network)
    before = {name: value.requires_grad for name, value in network.module.named_parameters()}
    for name, value in network.module.named_parameters():
        least = 0 if layers is None else len(paths) + 1 - layers
        value.requires_grad_(name.startswith(heads) if layers == 0 else depth[name] >= least)
    try:
        yield
    finally:
        for name, value in network.module.named_parameters():
            value.requires_grad_(before.get(name, True))
            value.grad = None


def optimiser(network: Trainable, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser over all parameters that can learn. Each group has its `share` of the learning rate."""
    depth = depths(network)
    top = max(depth.values())
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, value in network.module.named_parameters():
        if value.requires_grad:
            # Matrices decay; biases, norms, positions and single tokens do not.
            decays = value.ndim >= 2 and name != network.anatomy.positions and not name.endswith(("_token", "_tokens"))
            groups.setdefault((depth[name], decays), []).append(value)
    rows = [
        {
            "params": values,
            "share": settings.share(top - place),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (place, decays), values in groups.items()
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(rows, lr=settings.learning_rate, momentum=settings.momentum)
    on_a_cpu = next(network.module.parameters()).device.type == "cpu"
    return torch.optim.AdamW(rows, lr=settings.learning_rate, fused=on_a_cpu or None)


def learning_rate(settings: Settings, step: int, per_epoch: int) -> float:
    """The learning rate at a step, counted from 0 over all epochs."""
    steps = settings.epochs * per_epoch
    warm = round(settings.warm_up * steps)
    if step < warm:
        return settings.learning_rate * (step + 1) / (warm + 1)
    if settings.schedule == "exponential":
        return settings.learning_rate * settings.decay ** (step // per_epoch)
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    return settings.learning_rate


def trained_state(module: nn.Module) -> State:
    """The parameters that can learn, and all buffers: what a training changes."""
    state: State = {name: own(value.detach()) for name, value in module.named_parameters() if value.requires_grad}
    return state | {name: value for name, value in module.named_buffers() if name in module.state_dict()}


def own(value: Tensor) -> Tensor:
    """This process's part of a value in shards, in the same memory; any other as it is."""
    part: Tensor = value.to_local() if hasattr(value, "to_local") else value
    return part


def on_cpu(state: Mapping[str, Tensor]) -> State:
    """The same values on the CPU, in memory of their own."""
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def load_values(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Values into the module, in place."""
    values = module.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            own(values[name]).copy_(value)


def interpolated(start: Mapping[str, Tensor], tuned: Mapping[str, Tensor], share: float) -> State:
    """(1 - share) · start + share · tuned: WiSE-FT, arXiv 2109.01903, equation 2. Whole numbers are the tuned ones."""
    return {
        name: torch.lerp(start[name].float(), value.float(), share).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in tuned.items()
    }


class Average:
    """Weights averaged over steps, beside those that learn: `ema` follows slowly, `swa` is the mean of the last."""

    def __init__(self, module: nn.Module, settings: Settings, steps: int) -> None:
        self.settings = settings
        # The first step that swa takes into its mean.
        self.first = steps - max(1, round(settings.swa_share * steps))
        self.learning = trained_state(module) if settings.average != "none" else {}  # the module's own memory
        self.values: State = {name: value.clone() for name, value in self.learning.items()}

    def update(self, step: int) -> None:
        """After step `step`, counted from 0."""
        weight = self._weight(step)
        with torch.no_grad():
            for name, value in self.learning.items():
                if value.is_floating_point():
                    self.values[name].lerp_(value, weight)
                else:
                    self.values[name].copy_(value)

    def _weight(self, step: int) -> float:
        """What the newest weights count. The ema is quicker at first, so that it does not stick to the start."""
        if self.settings.average == "ema":
            return 1 - min(self.settings.ema_decay, (1 + step) / (10 + step))
        return 1 / max(1, step - self.first + 1)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The averaged weights in the module, for a while."""
        before = {name: value.clone() for name, value in trained_state(module).items()} if self.values else {}
        load_values(module, self.values)
        try:
            yield
        finally:
            load_values(module, before)


@contextmanager
def dropout(network: Trainable, settings: Settings) -> Iterator[None]:
    """Dropout and stochastic depth in their places while training; taken out again afterwards.

    Dropout is on the attention weights, after the attention's projection and after the MLP, never inside the MLP.
    Raises `UsageError` for a family whose places are not known.
    """
    changed: list[tuple[Any, str, Any]] = []
    try:
        if settings.dropout or settings.drop_path:
            family = network.anatomy.family or ""
            if family not in _PLACES:
                raise UsageError(
                    f"where {network.name} drops out is not known; give --dropout 0 --drop-path 0, or a ViT of "
                    f"{' or '.join(name.split()[0] for name in _PLACES)}"
                )
            for place, path in enumerate(blocks(network)):
                share = settings.drop_path * place / max(1, len(blocks(network)) - 1)
                block = network.module.get_submodule(path)
                for part, name, value in _PLACES[family](block, settings.dropout, share):
                    changed.append((part, name, getattr(part, name)))
                    setattr(part, name, value)
        yield
    finally:
        for part, name, value in reversed(changed):
            setattr(part, name, value)


@contextmanager
def eager_attention(module: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """timm's attention written out while training in bfloat16 on a CPU.

    There the backward pass of torch's fused attention takes a third of the time of all: a step was a quarter quicker
    without it. In float32, and on GPUs, the fused one is the quicker.
    """
    parts = [part for part in module.modules() if getattr(part, "fused_attn", False) is True]
    if device.type != "cpu" or precision != "bfloat16":
        parts = []
    try:
        for part in parts:
            part.fused_attn = False  # type: ignore[assignment]
        yield
    finally:
        for part in parts:
            part.fused_attn = True  # type: ignore[assignment]


def _timm_places(block: Any, dropout: float, path: float) -> list[tuple[Any, str, Any]]:
    """timm's `proj_drop` is one number for the projection, inside the MLP (`drop1`) and after it (`drop2`)."""
    inside = getattr(block.mlp, "drop1", None)
    after = getattr(block.mlp, "drop2", None)
    if inside is None or after is None:
        raise UsageError("the MLP of this network has no known places for dropout; give --dropout 0")
    places: list[tuple[Any, str, Any]] = [
        (block.attn.attn_drop, "p", dropout),
        (block.attn.proj_drop, "p", dropout),
        (inside, "p", 0.0),
        (after, "p", dropout),
    ]
    if path:
        places += [(block, name, DropPath(path)) for name in ("drop_path1", "drop_path2")]
    return places


def _torchvision_places(block: Any, dropout: float, path: float) -> list[tuple[Any, str, Any]]:
    """torchvision's MLP is linear, GELU, dropout inside, linear, dropout after."""
    if path:
        raise UsageError(
            "torchvision's ViTs have no stochastic depth; give --drop-path 0, or the network by its timm name"
        )
    inside, after = (part for part in block.mlp if isinstance(part, nn.Dropout))
    return [
        (block.self_attention, "dropout", dropout),
        (block.dropout, "p", dropout),
        (inside, "p", 0.0),
        (after, "p", dropout),
    ]


_PLACES = {"timm vision_transformer": _timm_places, "torchvision vit": _torchvision_places}
