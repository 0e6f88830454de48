"""What pictures show of positions: against tokens and written-out attention of the same network."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor
from woken import written_out

from regard.data.images.preparation import Preparation
from regard.errors import DataError, NetworkError, UsageError
from regard.explanation.positions.analysis import measure, subject_of_logits, subject_of_tokens
from regard.explanation.positions.readout import block_means
from regard.networks.load import load
from regard.networks.network import Network

SMALL: dict[str, Any] = {"embed_dim": 48, "num_heads": 3, "depth": 2}
WHOLE = {"window_size": 0, "use_rel_pos": True}


def _network(name: str, **arguments: Any) -> Network:
    module = timm.create_model(name, img_size=(48, 80), **{**SMALL, **arguments})
    network = load(module.eval(), preparation=Preparation(48, 80))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each, parameter in network.module.named_parameters():
            if "pos" in each or "table" in each or parameter.ndim == 1:
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.mul_(3)
    return network


def _pictures(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 48, 80, generator=torch.Generator().manual_seed(2))


ATTEND = [
    ("eva02_tiny_patch14_224", {"patch_size": 16}),
    ("vit_small_patch16_rope_mixed_224", {}),
    ("vit_small_patch16_dinov3", {}),
    ("beit_base_patch16_224", {}),
    ("vit_relpos_base_patch16_cls_224", {}),
    ("samvit_base_patch16_224", WHOLE),
    ("vit_tiny_patch16_224", {}),
]


@pytest.mark.parametrize(("name", "arguments"), ATTEND, ids=[name for name, _ in ATTEND])
def test_logits_are_those_of_attention_written_out(name: str, arguments: dict[str, Any]) -> None:
    """log softmax is the logit less a constant of its query: with the query's mean taken off both are equal."""
    network, x = _network(name, **arguments), _pictures()
    means = block_means(network, [x[:2], x[2:]], layer=1, logits=True)
    _, rows = written_out(network.module, x)
    weights = rows[1].reshape(3, 3, *rows[1].shape[-2:])[:, :, -15:, -15:].double()
    expected = weights.log() - weights.log().mean(dim=-1, keepdim=True)
    assert means.logits is not None
    assert means.logits.shape == (3, 15, 15)
    assert np.abs(means.logits).max() > 0.3
    assert np.allclose(means.logits, expected.mean(dim=0), atol=2e-4)
    assert (means.layer, means.n) == (1, 3)


def test_tokens_are_the_mean_of_what_goes_into_the_block() -> None:
    network, x = _network("vit_tiny_patch16_224"), _pictures()
    inputs: list[Tensor] = []
    with network.module.blocks[1].register_forward_pre_hook(lambda part, args: inputs.append(args[0])):
        network.logits(x)
    mean = inputs[0][:, 1:].double().mean(dim=0)
    expected = (mean - mean.mean(dim=0)).reshape(3, 5, 48).numpy()
    assert np.allclose(block_means(network, [x]).tokens, expected, atol=1e-6)  # the last of two by default
    assert np.allclose(block_means(network, [x[:1], x[1:]], layer=1).tokens, expected, atol=1e-6)
    assert not np.allclose(block_means(network, [x], layer=0).tokens, expected, atol=1e-2)
    assert block_means(network, [x]).logits is None


def test_the_network_is_left_as_it_was_found() -> None:
    network = _network("eva02_tiny_patch14_224", patch_size=16)
    network.module.train()

    def broken() -> Iterator[Tensor]:
        yield _pictures()
        raise DataError("a picture that cannot be read")

    with pytest.raises(DataError, match="cannot be read"):
        block_means(network, broken(), logits=True)
    assert all(part.training for part in network.module.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())


def test_what_cannot_be_seen_is_said() -> None:
    network = _network("vit_tiny_patch16_224")
    with pytest.raises(UsageError, match="no layer 2; it goes from 0 to 1"):
        block_means(network, [_pictures()], layer=2)
    with pytest.raises(UsageError, match="no pictures"):
        block_means(network, [])
    windows = _network("samvit_base_patch16_224", window_size=2, global_attn_indexes=(1,))
    with pytest.raises(NetworkError, match="windows of 4 patches"):
        block_means(windows, [_pictures()], layer=0, logits=True)
    assert block_means(windows, [_pictures()], logits=True).logits is not None
    with pytest.raises(NetworkError, match="blocks of resnet18"):
        block_means(load("random:resnet18"), [_pictures()])


def test_logits_make_a_kernel_for_each_head_and_a_similarity_of_all() -> None:
    network = _network("beit_base_patch16_224")
    means = block_means(network, [_pictures()], logits=True)
    record = measure(subject_of_logits(means), permutations=19)
    assert means.logits is not None and record.kernel is not None
    assert (record.kind, record.kernel.shape, record.layers) == ("logits", (1, 3, 5, 9), (1,))
    assert np.allclose(record.similarity.reshape(15, 15), means.logits.mean(axis=0), atol=1e-6)
    down_one = [means.logits[2, query, query + 5] for query in range(10)]
    assert record.kernel[0, 2, 3, 4] == pytest.approx(np.mean(down_one), abs=1e-6)
    assert 0 < record.tested["neighbour_gain"]["p"] <= 1
    with pytest.raises(NetworkError, match="no attention logits"):
        subject_of_logits(block_means(network, [_pictures()]))


def test_tokens_are_compared_by_cosine() -> None:
    means = block_means(_network("vit_tiny_patch16_224", pos_embed="none"), [_pictures()])
    record = measure(subject_of_tokens(means, {"network": "none"}), permutations=19)
    flat = means.tokens.reshape(15, 48)
    cosine = flat @ flat.T / np.outer(np.linalg.norm(flat, axis=1), np.linalg.norm(flat, axis=1))
    assert np.allclose(record.similarity.reshape(15, 15), cosine, atol=1e-6)
    assert record.kind == "tokens"
    assert "block 1, mean over 3 pictures" in record.source
    assert {"embedding_r2", "similarity_r2"} <= record.tested.keys()
