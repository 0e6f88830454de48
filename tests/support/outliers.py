"""A network into which artifact tokens were planted: one neuron answers at bright patches with a huge norm."""

import torch
from woken import wake_timm

from regard.networks.load import load
from regard.networks.network import Network

SIZE = (48, 80)  # 3 × 5 patches
PLANTED = (1, 7)  # block, neuron


def pictures(count: int = 6) -> torch.Tensor:
    x = 0.1 * torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    x[:, :, :16, :16] += 3  # one bright patch each, in the corner, at which the planted neuron answers
    return x


def planted(answers: bool = True, name: str = "vit_tiny_patch16_224") -> Network:
    """A woken ViT, one neuron of whose second block answers at bright patches and writes a huge norm."""
    arguments = {"depth": 4, "embed_dim": 48, "num_heads": 3, "num_classes": 5}
    network = load(f"random:{name}", size=SIZE, arguments=arguments)
    wake_timm(network.module, torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1)))
    if answers:
        _plant(network)
    return network


def _plant(network: Network) -> None:
    block, neuron = PLANTED
    part = network.module.blocks[block]
    seen: list[torch.Tensor] = []
    hook = part.mlp.fc1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.logits(pictures())
    hook.remove()
    bright, other = seen[0][:, 1].mean(0), seen[0][:, 2:].reshape(-1, 48)
    direction = bright - other.mean(0)
    high, low = float(bright @ direction), float((other @ direction).max())
    with torch.no_grad():
        scale = 40 / (high - low)
        part.mlp.fc1.weight[neuron] = direction * scale
        part.mlp.fc1.bias[neuron] = -scale * (low + 0.2 * (high - low))
        part.mlp.fc2.weight[:, neuron] = torch.sign(part.mlp.fc2.weight[:, neuron]) * 6
