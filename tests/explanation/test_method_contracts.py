"""What every method of the table promises, whatever it computes: shapes, batches, classes, the network as it was found.

Also half precision, networks without attention, and parity with other people's packages.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import captum.attr
import numpy as np
import pytest
import timm
import torch
from samples import NAMES, SAMPLES, awake
from tiny_vits import CLASSES, CLS, TINY, Tiny
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torchcam.methods import GradCAM, LeGrad
from torchvision.models.vision_transformer import VisionTransformer
from woken import error, is_awake

from regard.errors import NetworkError, UsageError
from regard.explanation import METHODS, Maps, Method
from regard.networks.load import load
from regard.networks.network import Network

ROWS = [row for row in METHODS if row.kind == "picture"]
every_method = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
BY_NAME = dict(zip(NAMES, SAMPLES, strict=True))
CHEAP = {"integrated_gradients": {"steps": 4}, "transition": {"steps": 3}}
CHEAP |= {"shapley": {"samples": 2}, "dave": {"samples": 2}}
FINER = ("dave",)
"""Methods whose maps have a value a pixel."""
LOOKS_AT_NOTHING = [row.name for row in ROWS if row.cost == 0]


def run(row: Method, network: Network, pictures: Tensor, **settings: Any) -> Maps:
    return METHODS.load(row.name)(network, pictures, **CHEAP.get(row.name, {}), **settings)


@cache
def plain(name: str) -> np.ndarray:
    """The maps of the tiny ViT as it comes, against which every other state of it is held."""
    return run(METHODS[name], CLS.network(), CLS.pictures).values


def near(found: Maps, name: str, most: float = 1e-5) -> bool:
    return error(torch.from_numpy(found.values), torch.from_numpy(plain(name))) <= most


# maps


@every_method
@pytest.mark.parametrize("tiny", TINY, ids=[tiny.name for tiny in TINY])
def test_maps_have_the_grid_and_batches_do_not_matter(row: Method, tiny: Tiny) -> None:
    network, pictures = tiny.network(), torch.cat([tiny.pictures, tiny.pictures.flip(0).roll(2, 3)[:1]])
    found = run(row, network, pictures)
    assert isinstance(found.values, np.ndarray)
    assert found.values.dtype == np.float32
    assert found.values.shape == (3, *(pictures.shape[2:] if row.name in FINER else (2, 3)))
    assert np.isfinite(found.values).all()
    assert (found.error is not None) == (row.name == "shapley")
    assert (found.completeness is not None) == bool(row.sums_to)
    for index in range(3):
        alone = run(row, network, pictures[index : index + 1])
        assert alone.targets == found.targets[index : index + 1]
        assert np.allclose(alone.values, found.values[index], rtol=0, atol=1e-5 * np.abs(found.values).max())


@every_method
def test_a_picture_turned_is_no_map_turned(row: Method) -> None:
    """Rows and columns are not swapped: a network for tall pictures gives tall maps."""
    tall = Tiny("tall", size=(32, 8))
    found = run(row, tall.network(), tall.pictures)
    assert found.values.shape == (2, *((32, 8) if row.name in FINER else (4, 1)))


@every_method
def test_the_class_is_given_or_predicted(row: Method) -> None:
    network = CLS.network()
    logits = network.logits(CLS.pictures)
    best = logits.argmax(1).tolist()
    found = run(row, network, CLS.pictures)
    assert found.targets == (tuple(best) if row.class_specific else (None, None))
    if not row.class_specific:
        assert "target" not in row.settings
        return
    assert len(set(best)) == 2
    for index, label in enumerate(best):
        given = run(row, network, CLS.pictures, target=label)
        assert given.targets == (label, label)
        assert np.allclose(given.values[index], found.values[index], rtol=0, atol=1e-6)
        assert not np.allclose(given.values[1 - index], found.values[1 - index], rtol=0, atol=1e-4)
    assert run(row, network, CLS.pictures, target=(0, 2)).targets == ((0, 2), (0, 2))


@pytest.mark.parametrize("target", [CLASSES, -1, (0, CLASSES), (-1, 0)], ids=str)
@pytest.mark.parametrize("row", [row for row in ROWS if row.class_specific], ids=lambda row: row.name)
def test_a_class_that_is_not_there_is_named(row: Method, target: Any) -> None:
    network = CLS.network()
    before = state(network.module)
    with pytest.raises(UsageError, match=r"no class (5|-1); classes go from 0 to 4"):
        run(row, network, CLS.pictures, target=target)
    assert state(network.module) == before


@every_method
@pytest.mark.parametrize("shape", [(1, 3, 24, 24), (1, 1, 16, 24), (3, 16, 24)], ids=str)
def test_a_picture_of_the_wrong_shape_is_told(row: Method, shape: tuple[int, ...]) -> None:
    if row.name in LOOKS_AT_NOTHING:
        return
    with pytest.raises(UsageError, match="takes pictures"):
        run(row, CLS.network(), torch.randn(shape))


# the network as it was found


def state(module: nn.Module) -> list[object]:
    """All that a method could have left behind: in the network, and in torch."""
    parts = list(module.modules())
    hooks = [(len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks)) for part in parts]
    own = [
        sorted((name, id(value)) for name, value in vars(part).items() if name not in ("_buffers",)) for part in parts
    ]
    values = [(weight.requires_grad, weight.grad, weight._version, id(weight)) for weight in module.parameters()]
    modes = [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), len(_get_current_function_mode_stack())]
    return [hooks, own, [part.training for part in parts], values, modes, torch.get_rng_state().tolist()]


@every_method
def test_the_network_is_left_as_it_was_found(row: Method) -> None:
    network = CLS.network()
    network.module.blocks[1].train()  # a user may have one part alone in training
    network.module.blocks[0].attn.fused_attn = False
    network.module.head.weight.requires_grad_(False)
    network.module.cls_token.grad = torch.ones_like(network.module.cls_token)
    before = state(network.module)
    assert near(run(row, network, CLS.pictures), row.name)
    assert state(network.module) == before


class StopError(Exception):
    """Somebody's hook."""


@every_method
@pytest.mark.parametrize("block", [0, 2])
def test_the_network_is_left_as_it_was_found_after_an_exception(row: Method, block: int) -> None:
    if row.name in LOOKS_AT_NOTHING:
        return
    network, left = CLS.network(), [10**6]

    def stop(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StopError

    network.module.blocks[block].mlp.register_forward_hook(stop)
    assert near(run(row, network, CLS.pictures), row.name)
    before, times = state(network.module), 10**6 - left[0]
    for left[0] in {1, times}:  # in the first forward and in the last one
        with pytest.raises(StopError):
            run(row, network, CLS.pictures)
        assert state(network.module) == before
    assert near(run(row, network, CLS.pictures), row.name)


@pytest.mark.parametrize("row", [row for row in ROWS if "gradients" in row.requires], ids=lambda row: row.name)
def test_the_network_is_left_as_it_was_found_after_an_exception_in_the_backward(row: Method) -> None:
    network, on = CLS.network(), True

    def stop(gradient: Tensor) -> None:
        raise StopError

    def hook(part: nn.Module, args: Any, output: Tensor) -> None:
        if on and output.requires_grad:
            output.register_hook(stop)

    network.module.blocks[2].register_forward_hook(hook)
    before = state(network.module)
    with pytest.raises(StopError):
        run(row, network, CLS.pictures)
    assert state(network.module) == before
    on = False
    assert near(run(row, network, CLS.pictures), row.name)


def _training(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.5
    return module.train()


def _frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


def _unfused(module: nn.Module) -> nn.Module:
    for block in module.blocks:
        block.attn.fused_attn = False
    return module


def _compiled_in_place(module: nn.Module) -> nn.Module:
    module.compile(backend="eager")
    for block in module.blocks:
        block.compile(backend="eager")
    return module


STATES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "training": _training,
    "frozen": _frozen,
    "fused attention off": _unfused,
    "compiled": lambda module: torch.compile(module, backend="eager"),
    "compiled in place": _compiled_in_place,
}


@every_method
@pytest.mark.parametrize("name", STATES)
def test_a_network_in_any_state_gives_the_same_maps(row: Method, name: str) -> None:
    module = STATES[name](CLS.network().module)
    network = load(module)
    before = state(module)
    assert near(run(row, network, CLS.pictures), row.name)
    assert state(module) == before


@every_method
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("inside", [False, True])
def test_without_gradients_around_it_gives_the_same_maps(row: Method, mode: Any, inside: bool) -> None:
    """Also of pictures that were made there, which torch keeps out of gradients."""
    network, pictures = CLS.network(), CLS.pictures
    with mode():
        before = state(network.module)
        assert near(run(row, network, pictures.clone() if inside else pictures), row.name)
        assert state(network.module) == before


def test_pictures_are_left_as_they_were() -> None:
    pictures, kept = CLS.pictures.requires_grad_(), CLS.pictures
    for row in ROWS:
        run(row, CLS.network(), pictures)
        assert torch.equal(pictures.detach(), kept)
        assert pictures.grad is None


# half precision

ROUGH = {torch.bfloat16: 0.15, torch.float16: 0.05}


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("halved", [False, True], ids=["pictures float32", "pictures halved"])
def test_half_precision_gives_maps_near_those_of_float32(row: Method, dtype: torch.dtype, halved: bool) -> None:
    if halved and row.name == "random":  # another picture, another noise
        return
    network = load(CLS.network().module.to(dtype))
    logits = CLS.network().logits(CLS.pictures).argmax(1).tolist()
    given = {"target": logits[0]} if row.class_specific else {}
    found = run(row, network, CLS.pictures.to(dtype) if halved else CLS.pictures, **given)
    right = run(row, CLS.network(), CLS.pictures, **given).values
    assert found.values.dtype == np.float32
    assert np.isfinite(found.values).all()
    assert error(torch.from_numpy(found.values), torch.from_numpy(right)) <= ROUGH[dtype]


# networks without attention

SIZE = (64, 96)


@cache
def without_attention(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "resnet18":
            return timm.create_model("resnet18", num_classes=CLASSES).eval()
        sizes = {"img_size": SIZE, "window_size": (2, 3), "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2)}
        return timm.create_model("swin_tiny_patch4_window7_224", num_classes=CLASSES, **sizes).eval()


WITHOUT = pytest.mark.parametrize("name", ["resnet18", "swin"])


@WITHOUT
@every_method
def test_a_network_without_attention(row: Method, name: str) -> None:
    """The methods that need attention or blocks say so and what works; the others work."""
    network = load(without_attention(name))
    pictures = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    before = state(network.module)
    if {"attention", "blocks"} & set(row.requires):
        with pytest.raises(
            NetworkError, match=r"by gradient or perturbation work|use (input_x_gradient or )?occlusion"
        ):
            run(row, network, pictures)
    else:
        found = run(row, network, pictures)
        rows, columns = found.values.shape[1:]
        assert rows * 3 == columns * 2
        assert np.isfinite(found.values).all()
        assert np.ptp(found.values) > 0
        alone = run(row, network, pictures[1:]).values
        assert np.allclose(alone, found.values[1:], rtol=0, atol=1e-4 * np.abs(found.values).max())
    assert state(network.module) == before


class Linear(nn.Module):
    """Two classes, linear in the pixels (batch, 3, 32, 48)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 48, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "occlusion"])
def test_in_a_linear_network_each_cell_is_what_it_adds(method: str) -> None:
    """w · x, over cells of 16 × 16 pixels."""
    network, pictures = load(Linear()), torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    found = METHODS.load(method)(network, pictures, target=1).values
    added = (network.module.head.weight[1].detach().reshape(3, 32, 48) * pictures).sum(1)
    right = added.unflatten(2, (3, 16)).unflatten(1, (2, 16)).sum((2, 4))
    assert error(torch.from_numpy(found), right) < 1e-5


# parity with packages


def _captum(kind: Any, **settings: Any) -> np.ndarray:
    """(batch, rows, columns) of class 2 of the tiny ViT by captum, summed over each patch."""
    found = kind(CLS.network().module).attribute(CLS.pictures.requires_grad_(), target=2, **settings)
    return found.detach().sum(1).unflatten(2, (3, 8)).unflatten(1, (2, 8)).sum((2, 4)).numpy()


def test_parity_with_captum() -> None:
    right = {
        "input_x_gradient": _captum(captum.attr.InputXGradient),
        "integrated_gradients": _captum(captum.attr.IntegratedGradients, n_steps=60, method="gausslegendre"),
        "occlusion": _captum(captum.attr.Occlusion, sliding_window_shapes=(3, 8, 8), strides=(3, 8, 8)) / (3 * 64),
    }
    for method, expected in right.items():
        settings = {"steps": 60} if method == "integrated_gradients" else {}
        found = METHODS.load(method)(CLS.network(), CLS.pictures, target=2, **settings).values
        assert error(torch.from_numpy(found), torch.from_numpy(expected)) < 1e-5


def test_gradcam_is_that_of_torch_cam() -> None:
    module = CLS.network().module
    labels = [1, 3]
    fold = lambda tokens: tokens[:, 1:].transpose(1, 2).unflatten(2, (2, 3))  # noqa: E731
    with GradCAM(module, module.blocks[-1].norm1, reshape_transform=fold) as cam:
        (right,) = cam(labels, module(CLS.pictures), normalized=False)
    for index, label in enumerate(labels):
        found = METHODS.load("gradcam")(CLS.network(), CLS.pictures, target=label).values[index]
        assert error(torch.from_numpy(found), right[index].detach()) < 1e-5


@pytest.mark.parametrize("start", [0, None], ids=["all blocks", "the last two"])
def test_legrad_is_that_of_torch_cam(start: int | None) -> None:
    deep = partial(VisionTransformer, 48, 16, 4, 3, 48, 96, num_classes=5)
    sample = replace(BY_NAME["torchvision vit"], make=deep)
    module, _, rows = awake(sample)
    assert is_awake(rows)
    blocks = list(module.encoder.layers)
    with LeGrad(module, blocks[-2 if start is None else start :]) as cam:
        module(sample.pictures)
        (right,) = cam([1, 3], normalized=False)
    for index, label in enumerate([1, 3]):
        found = METHODS.load("legrad")(load(module), sample.pictures, target=label, start=start).values[index]
        assert error(torch.from_numpy(found), right[index].detach()) < 1e-5


@pytest.mark.parametrize("kind", ["ViTForImageClassification", "Dinov2WithRegistersForImageClassification"])
def test_rollout_of_the_eager_attentions_of_hugging_face(kind: str) -> None:
    sample = BY_NAME[f"huggingface {kind}"]
    module, _, rows = awake(sample)
    assert is_awake(rows)
    rolled = np.eye(rows[0].shape[-1])
    for layer in rows:
        rolled = 0.5 * (layer.double().mean(1).numpy() + np.eye(rolled.shape[-1])) @ rolled
    right = rolled[:, 0, sample.prefix :].reshape(2, *sample.grid)
    found = METHODS.load("rollout")(load(module), sample.pictures).values
    assert error(torch.from_numpy(found), torch.from_numpy(right)) < 1e-5
