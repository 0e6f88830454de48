"""A network that has learnt nothing: the same architecture, all weights drawn anew.

What a method shows of it cannot come from training: a control, and what randomisation tests compare with.
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.guard import is_quantised, is_sealed
from regard.networks.network import Network


@torch.inference_mode(mode=False)
def randomised(network: Network, seed: int = 0) -> Network:
    """A copy of the network with all weights drawn from `seed`; the network itself and torch's chance stay as they are.

    Each part draws as it does when it is made (`reset_parameters`); a table that no part draws (class token, positions,
    layer scale) gets normal values of its own mean and spread. On the CPU first, so that devices do not matter. Raises
    `NetworkError` for a module whose weights cannot be set (TorchScript, quantised).
    """
    if is_sealed(network.module) or is_quantised(network.module):
        raise NetworkError(
            f"the weights of {network.name} cannot be drawn anew, as it is compiled; give the module itself"
        )
    module = copy.deepcopy(network.module).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.random.default_generator.manual_seed(seed)
        before = {path: weight.clone() for path, weight in module.named_parameters()}
        for part in module.modules():
            _reset(part)
        for path, weight in module.named_parameters():
            if torch.equal(weight, before[path]):
                weight.copy_(_alike(weight))
    module = module.to(network.device).train(network.module.training)
    name = f"{network.name}, randomised"
    return replace(network, module=module, name=name, messages=(), folder=None)


def _reset(part: nn.Module) -> None:
    """Have a part draw its own weights, where it can; torch's attention has that under a private name."""
    for name in ("reset_parameters", "_reset_parameters"):
        reset = getattr(part, name, None)
        if callable(reset):
            try:
                reset()
            except TypeError:  # one that needs arguments: its weights are drawn by their spread
                continue
            return


def _alike(weight: Tensor) -> Tensor:
    """Normal values of a table's mean and spread; a table of one value stays."""
    values = weight.double()
    noise = torch.randn(weight.shape, dtype=torch.float64)
    spread = values.std(correction=0) if weight.numel() else 0.0
    return (values.mean() + noise * spread).to(weight) if weight.numel() else weight
