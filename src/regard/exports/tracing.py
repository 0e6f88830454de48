"""A network's forward pass as a graph: what cannot be traced is named, with the part that stopped it and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError, UsageError
from regard.exports.settings import ExportSettings
from regard.networks.network import Network, logits_of

Dims = dict[int, Any] | None
"""Which of an input's dimensions vary, by place, as `torch.export` has it."""


class Logits(nn.Module):
    """A forward pass alone: pictures (batch, channels, height, width), normalised → logits (batch, classes)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self._inputs = network.anatomy.inputs
        self._prefix = network.anatomy.prefix if network.anatomy.reads == "patches" else None

    def forward(self, pixels: Tensor) -> Tensor:
        output = self.module(pixels) if self._inputs is None else self.module(**self._inputs(self.module, pixels))
        return logits_of(output, self._prefix)


def sizes(network: Network, settings: ExportSettings) -> dict[int, Any]:
    """The dimensions that vary: the batch unless it is fixed, and, where the settings say so, height and width, in
    whole patches. Raises `UsageError` for a network that takes one size."""
    varying: dict[int, Any] = {} if settings.batch else {0: torch.export.Dim("batch")}
    if not settings.dynamic:
        return varying
    anatomy = network.anatomy
    if not anatomy.flexible or anatomy.patch is None:
        prepared = network.preparation
        raise UsageError(
            f"{network.name} takes pictures of {prepared.height} × {prepared.width} pixels (height × width) alone, so "
            "its sizes cannot vary; leave --dynamic out, or fix another size with --size"
        )
    down, across = anatomy.patch
    return {**varying, 2: down * torch.export.Dim("rows"), 3: across * torch.export.Dim("columns")}


def trace(
    network: Network, module: nn.Module, pixels: Tensor, varying: Dims
) -> tuple[torch.export.ExportedProgram, tuple[str, ...]]:
    """The graph of a `module` of this network, and what there is to say: where the batch cannot vary it is that of
    `pixels`. Raises `NetworkError`, naming the part of the module, for what cannot be traced."""
    with network.borrow(), torch.no_grad():
        try:
            with stopped_at(network, module):
                program = torch.export.export(module, (pixels,), dynamic_shapes=(varying,), strict=False)
            return _without_traces(program), ()
        except NetworkError:
            if not varying or 0 not in varying:
                raise
        fixed = {place: dim for place, dim in varying.items() if place} or None
        with stopped_at(network, module):
            program = torch.export.export(module, (pixels,), dynamic_shapes=(fixed,), strict=False)
    count = len(pixels)
    return _without_traces(program), (
        f"its batch is fixed at {count}: the forward pass does other steps for another number of pictures",
    )


def _without_traces(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same graph without each step's stack of calls, which tells where the code lay on this machine."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


@contextmanager
def stopped_at(network: Network, module: nn.Module) -> Iterator[None]:
    """While a module is traced: whatever stops it becomes a `NetworkError` that names the innermost part it was in."""
    inside: list[str] = []
    hooks = []
    for path, part in module.named_modules():
        hooks.append(part.register_forward_pre_hook(lambda part, args, path=path: inside.append(path)))
        hooks.append(part.register_forward_hook(lambda part, args, output: inside.__delitem__(-1)))
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a library or a stranger's module raises while it is traced
        path = inside[-1] if inside else ""
        part = module.get_submodule(path)
        where = f"{path.removeprefix('module.') or 'the whole'} ({type(part).__name__})"
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NetworkError(
            f"{network.name} cannot be traced: {where} stopped it ({type(error).__name__}: {reason[:160]}); let that "
            "part do the same steps whatever the values are (no .item(), no `if` on a tensor), or share the run's "
            "folder, which regard opens; `--to timm` and `--to hf` need no trace"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
