"""The graph of a network: its logits, attention and maps are the network's, in torch of every family, as ONNX of some.

`bench/onnx_families.py` does the latter with twelve families at their real widths.
"""

import copy
from typing import Any

import pytest
import timm
import torch
from samples import NAMES, SAMPLES, awake
from tiny_vits import CLS, TINY, Tiny
from torch import Tensor, nn
from woken import error, is_awake

import regard.exports.onnx.explained
from regard.errors import NetworkError, OutputError, UsageError
from regard.explanation.pictures.direct_logit import direct_logit
from regard.exports.onnx.explained import Explained, Plan, plan
from regard.exports.onnx.graph import graph_of
from regard.exports.onnx.parity import about, answers, parities
from regard.exports.settings import ExportSettings
from regard.networks.attention.trace import trace
from regard.networks.load import load
from regard.networks.network import Network

BY_NAME = dict(zip(NAMES, SAMPLES, strict=True))
NO_MAP = ("timm sam, window beyond", "huggingface ViTModel", "huggingface DeiTModel")
"""Whose last attention does not reach the logits by a linear path."""
OWN = (
    "timm sam",
    "timm differential",
    "timm differential, parallel",
    "timm naflex gated rope",
    "huggingface Data2VecVisionForImageClassification, eager",
)
"""Whose path is linear, but another in every picture or head: the method knows it, constant directions do not."""
FAMILIES = (
    *NO_MAP,
    *OWN,
    "timm vit q/k norm",
    "timm vit averaged",
    "timm deit distilled",
    "timm siglip",
    "timm siglip averaged",
    "timm side by side",
    "timm parallel with MLP",
    "timm norm behind",
    "timm eva02",
    "timm dinov3",
    "timm beit",
    "timm cait",
    "timm relpos mlp",
    "timm naflex",
    "torchvision vit",
    "open_clip coca",
    "huggingface ViTForImageClassification",
    "huggingface Dinov2WithRegistersForImageClassification",
    "huggingface DINOv3ViTModel",
    "huggingface SiglipVisionModel",
)
"""One of each kind of path from the last attention to the head."""


def in_torch(network: Network, pixels: Tensor) -> tuple[Plan, dict[str, Tensor]]:
    """What the graph gives, run by torch."""
    given = plan(network, pixels)
    module = Explained(network, given).eval()
    with torch.no_grad():
        return given, dict(zip(module.outputs, module(pixels), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_graph_gives_is_what_the_network_gives(name: str) -> None:
    sample = BY_NAME[name]
    module, _, rows = awake(sample)
    assert is_awake(rows)
    network = load(copy.deepcopy(module))
    given, found = in_torch(network, sample.pictures)
    assert error(found["logits"], network.logits(sample.pictures)) < 1e-5
    for place, layer in enumerate(given.layers):
        _, traced = trace(network, sample.pictures, layers=layer, queries="pool")
        assert error(found["attention"][:, place], traced.patches(layer)[:, :, 0].flatten(2)) < 1e-5
    assert ("map" in found) == (sample.name not in (*NO_MAP, *OWN)), given.notes
    if "map" in found:
        for target in (0, 2):
            maps = direct_logit(network, sample.pictures, target=target).values
            assert error(found["map"][:, target], torch.from_numpy(maps)) < 1e-4


# as ONNX


@pytest.fixture(scope="module")
def registers() -> tuple[Network, Any]:
    """A network with registers, layer scale and oblong patches, and its graph."""
    network = TINY[1].network()
    return network, graph_of(network)


def test_onnxruntime_gives_it_for_any_number_of_pictures(registers: tuple[Network, Any]) -> None:
    network, model = registers
    pixels = torch.cat([TINY[1].pictures, TINY[1].pictures.flip(3)[:1]])  # three, where it was traced with two
    found = {each.what: each.value for each in parities(network, model, pixels)}
    assert list(found) == ["logits", "attention", "map", "map of the least likely"]
    assert max(found.values()) <= 1e-5
    shapes = {name: value.shape for name, value in answers(model, pixels).items()}
    assert shapes == {"logits": (3, 5), "attention": (3, 4, 3, 6), "map": (3, 5, 2, 3)}
    assert about(model) == {
        "outputs": ["logits", "attention", "map"],
        "layers": [0, 1, 2, 3],
        "heads": 3,
        "grid": [2, 3],
        "map": "every class",
        "notes": [],
    }


def test_where_the_code_lay_on_this_machine_is_not_inside(registers: tuple[Network, Any]) -> None:
    content = registers[1].SerializeToString()
    assert b".py" not in content and b"site-packages" not in content


def test_attention_is_computed_once(registers: tuple[Network, Any]) -> None:
    """The rows are cut out of the softmax that the logits come from."""
    _, model = registers
    assert sum(node.op_type == "Softmax" for node in model.graph.node) == 4


def test_of_many_classes_the_map_is_of_the_predicted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regard.exports.onnx.explained, "ALL_CLASSES", 4)
    network = TINY[-1].network()
    given, found = in_torch(network, TINY[-1].pictures)
    assert given.directions is not None and not given.directions.every
    right = direct_logit(network, TINY[-1].pictures)
    assert len(set(right.targets)) == 2
    assert found["map"].shape == (2, 1, 2, 3)
    assert error(found["map"][:, 0], torch.from_numpy(right.values)) < 1e-5


def test_a_network_without_attention_has_logits_alone() -> None:
    torch.manual_seed(0)
    network = load(timm.create_model("resnet10t", num_classes=3), size=32)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given, found = in_torch(network, pixels)
    assert list(found) == ["logits"]
    assert "logits alone" in given.notes[0] and "no attention" in given.notes[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"opset": 11}, r"opset is 11; give one from 18 to 23"),
        ({"dynamic": True}, r"takes pictures of one size, so that --dynamic cannot be; leave it out"),
    ],
    ids=str,
)
def test_what_a_graph_cannot_have_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        graph_of(CLS.network(), ExportSettings(**settings))


def test_sizes_vary_where_the_network_takes_any() -> None:
    tiny = Tiny("any size", more={"dynamic_img_size": True, "depth": 1})
    network = tiny.network()
    model = graph_of(network, ExportSettings(dynamic=True, opset=18))
    other = torch.randn(3, 3, 24, 16, generator=torch.Generator().manual_seed(1))  # 3 × 2 patches, traced with 2 × 3
    for pixels in (tiny.pictures, other):
        assert max(parity.value for parity in parities(network, model, pixels)) <= 1e-5


def test_a_graph_that_is_another_is_refused(registers: tuple[Network, Any]) -> None:
    _, model = registers
    other = TINY[1].network()
    with torch.no_grad():
        other.module.blocks[3].attn.proj.weight.mul_(1.01)
    with pytest.raises(
        OutputError, match=r"the export's logits differ from the network's by 0\.0.* 0\.0001 is allowed"
    ):
        parities(other, model, TINY[1].pictures)


class Branching(nn.Module):
    """Asks for a value in the middle, which no graph knows before it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(x.flatten(1))
        return logits if float(logits.sum()) > 0 else -logits


def test_what_cannot_be_traced_is_named() -> None:
    with pytest.raises(NetworkError, match=r"cannot be traced: module \(Branching\) stopped it .*no `if` on a tensor"):
        graph_of(load(Branching(), size=16))
