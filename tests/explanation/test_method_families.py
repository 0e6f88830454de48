"""Every method on a network of every family: maps of its grid, or an error that says what works there instead."""

from typing import Any

import numpy as np
import pytest
import torch
from samples import NAMES, SAMPLES, Sample, awake
from torch import Tensor
from woken import error

from regard.errors import NetworkError
from regard.explanation import METHODS
from regard.networks.load import load

INSIDE = [row.name for row in METHODS if row.kind == "picture" and {"attention", "blocks"} & set(row.requires)]
CHEAP = {"transition": {"steps": 2}, "shapley": {"samples": 2}, "dave": {"samples": 1}}
BY_NAME = dict(zip(NAMES, SAMPLES, strict=True))

COUNTED = (
    "eva",
    "rope",
    "dinov3",
    "DINOv3",
    "perception",
    "sapiens2",
    "timm beit",
    "Beit",
    "relpos",
    "sam",
    "Data2Vec",
)
"""Names of samples whose attention counts on every token: none can be left out for `shapley`."""


def refused(method: str, sample: Sample) -> bool:
    if method == "shapley":
        counted = any(word in sample.name for word in COUNTED) and sample.name != "timm beit3"
        return counted or "Siglip2" in sample.name
    if method == "logit_lens":
        return sample.name.startswith(("timm cait", "timm sam")) or sample.name.partition(",")[0].endswith("Model")
    if method == "direct_logit":  # a pooler's tanh; padding that is attended to
        return sample.name in ("huggingface ViTModel", "huggingface DeiTModel", "timm sam, window beyond")
    return method == "transition" and sample.name == "timm sam, window beyond"


def cases() -> list[Any]:
    return [
        pytest.param(
            sample,
            method,
            id=f"{method} {sample.name}",
        )
        for sample in SAMPLES
        for method in INSIDE
    ]


@pytest.mark.parametrize(("sample", "method"), cases())
def test_a_method_on_a_family(sample: Sample, method: str) -> None:
    network = load(awake(sample)[0])
    if refused(method, sample):
        with pytest.raises(
            NetworkError, match=r"; use (occlusion|grad_attention or legrad|attention, legrad or occlusion)"
        ):
            METHODS.load(method)(network, sample.pictures, **CHEAP.get(method, {}))
        return
    found = METHODS.load(method)(network, sample.pictures, **CHEAP.get(method, {})).values
    assert found.shape == (2, *(sample.pictures.shape[2:] if method == "dave" else sample.grid))
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0
    if sample.plain and not METHODS[method].signed:
        assert found.min() >= 0


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", ["timm sam", "timm sam, window beyond"])
def test_gradcam_in_windows_is_that_of_the_tokens_before_they_are_cut(name: str, layer: int) -> None:
    sample = BY_NAME[name]
    module, _, _ = awake(sample)
    seen: list[Tensor] = []
    hook = module.blocks[layer].norm1.register_forward_hook(lambda part, args, output: seen.append(output))
    logits = module(sample.pictures)
    hook.remove()
    (slopes,) = torch.autograd.grad(logits[:, 1].sum(), seen)  # (batch, rows, columns, width)
    right = (seen[0] * slopes.mean((1, 2), keepdim=True)).sum(-1).clamp(min=0).detach()
    found = METHODS.load("gradcam")(load(module), sample.pictures, layer=layer, target=1).values
    assert right.max() > 0
    assert error(torch.from_numpy(found), right) < 1e-5
