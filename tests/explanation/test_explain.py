"""Methods over pictures: shape, finite, non-square, batch = one by one, the network as found, attention by formula."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from woken import wake_timm

from regard.data.layouts import read_pictures
from regard.errors import NetworkError, UsageError
from regard.explanation import METHODS
from regard.explanation.pictures.explain import heatmaps
from regard.networks.load import load
from regard.networks.network import Network

PICTURE_METHODS = [row.name for row in METHODS if row.kind == "picture"]


@pytest.fixture(scope="module")
def network() -> Network:
    """A small woken ViT on a grid of 2 × 3 patches."""
    arguments = {"embed_dim": 32, "depth": 2, "num_heads": 4}
    found = load("vit_tiny_patch16_224", pretrained=False, size=(32, 48), classes=5, arguments=arguments)
    wake_timm(found.module, torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)))
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three shapes, none of them square."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index, (height, width) in enumerate([(40, 90), (90, 40), (64, 96)]):
        Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(folder / f"{index}.png")
    return folder


def _state(network: Network) -> list[object]:
    module = network.module
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()]
    grads = [(parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    fused = [getattr(part, "fused_attn", None) for part in module.modules()]
    return [hooks, grads, fused, [part.training for part in module.modules()], network.weights_hash()]


@pytest.mark.parametrize("method", PICTURE_METHODS)
def test_maps_have_their_grid_and_their_picture(method: str, network: Network, pictures: Path) -> None:
    before = _state(network)
    found = list(heatmaps(network, read_pictures(pictures), method, batch_size=2, workers=0))
    assert [heatmap.name for heatmap in found] == ["0.png", "1.png", "2.png"]
    for heatmap, size in zip(found, [(40, 90), (90, 40), (64, 96)], strict=True):
        assert (heatmap.grid.rows, heatmap.grid.columns) == (2, 3)
        assert heatmap.values.shape == ((32, 48) if method == "dave" else (2, 3))
        assert heatmap.on_patches().shape == (2, 3)
        assert heatmap.values.dtype == np.float32
        assert np.isfinite(heatmap.values).all()
        assert heatmap.grid.picture == size
        assert heatmap.upsampled().shape == size
    assert _state(network) == before


@pytest.mark.parametrize("method", PICTURE_METHODS)
def test_a_batch_is_the_same_as_one_by_one(method: str, network: Network, pictures: Path) -> None:
    together = list(heatmaps(network, read_pictures(pictures), method, batch_size=3, workers=0))
    alone = list(heatmaps(network, read_pictures(pictures), method, batch_size=1, workers=0))
    for one, other in zip(together, alone, strict=True):
        size = float(np.abs(other.values).max())  # differences of logits: what is near 0 is so to their rounding only
        assert np.allclose(one.values, other.values, rtol=1e-5, atol=1e-5 * size)


@pytest.mark.parametrize("query", [None, (1, 2)])
@pytest.mark.parametrize("head", [None, 3])
def test_attention_is_that_of_the_formula(network: Network, head: int | None, query: tuple[int, int] | None) -> None:
    """softmax(q kᵀ / √d) in float64, from the weights alone, token by token."""
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, 32, 48)
    found = METHODS.load("attention")(network, pixels, layer=1, head=head, query=query).values
    module = network.module
    with torch.no_grad():
        x = module._pos_embed(module.patch_embed(pixels))
        x = module.blocks[1].norm1(module.blocks[0](x))[0].double()  # (tokens, width)
        weight, bias = module.blocks[1].attn.qkv.weight.double(), module.blocks[1].attn.qkv.bias.double()
    q, k, _ = (
        (x @ weight.detach().T + bias.detach()).reshape(7, 3, 4, 8).permute(1, 2, 0, 3)
    )  # each (heads, tokens, width of a head)
    row = 0 if query is None else 1 + query[0] * 3 + query[1]
    expected = np.zeros((4, 7))
    for each in range(4):
        scores = [float(q[each, row] @ k[each, token]) / np.sqrt(8) for token in range(7)]
        powers = np.exp(np.array(scores) - max(scores))
        expected[each] = powers / powers.sum()
    mean = expected.mean(0) if head is None else expected[head]
    assert expected.max() > 0.3  # awake: else any map would do
    assert np.allclose(found[0].ravel(), mean[1:], rtol=1e-5)
    assert found.sum() == pytest.approx(1 - mean[0], rel=1e-5)


def test_what_does_not_exist_is_named(network: Network, pictures: Path) -> None:
    data = read_pictures(pictures)
    for settings, words in [
        ({"layer": 2}, "0 to 1"),
        ({"head": 4}, "0 to 3"),
        ({"query": (2, 0)}, r"\(1, 2\)"),
        ({"wrong": 1}, "unknown setting of attention 'wrong'"),
    ]:
        before = _state(network)
        with pytest.raises(UsageError, match=words):
            list(heatmaps(network, data, "attention", settings, workers=0))
        assert _state(network) == before


def test_a_network_without_attention_says_what_works_there(pictures: Path) -> None:
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    with pytest.raises(NetworkError, match="no attention"):
        list(heatmaps(load(module), read_pictures(pictures), "attention", workers=0))
