"""The table of anatomies, its features, heads and positions."""

import pytest
import timm
import torch
from open_clip.transformer import VisionTransformer
from torch import nn

from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.description import describe
from regard.networks.anatomy.families import FAMILIES
from regard.networks.load import load

TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def test_what_a_timm_vit_is_made_of() -> None:
    network = load("random:vit_tiny_patch16_224", size=(32, 64), arguments=TINY)
    anatomy = network.anatomy
    assert anatomy.attentions == ("blocks.0.attn", "blocks.1.attn")
    assert (anatomy.prefix, anatomy.cls, anatomy.patch, anatomy.size) == (1, True, (16, 16), (32, 64))
    assert (anatomy.positions, anatomy.positions_prefix, anatomy.head) == ("pos_embed", 1, "head")
    assert anatomy.grid(32, 64) == (2, 4)


def test_layers_are_in_the_order_of_the_network_beyond_ten() -> None:
    module = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=48, num_heads=3, depth=12)
    assert describe(module).attentions == tuple(f"blocks.{layer}.attn" for layer in range(12))


@pytest.mark.parametrize(
    ("name", "prefix", "in_positions"),
    [
        ("vit_tiny_patch16_224", 1, 1),
        ("deit3_small_patch16_224", 1, 0),
        ("vit_base_patch14_reg4_dinov2", 5, 0),
        ("deit_tiny_distilled_patch16_224", 2, 2),
        ("vit_base_patch16_siglip_224", 0, 0),
    ],
)
def test_positions_leave_prefix_tokens_out(name: str, prefix: int, in_positions: int) -> None:
    arguments = {**TINY, "patch_size": 16}
    network = load(f"random:{name}", size=(48, 32), arguments=arguments)
    assert (network.anatomy.prefix, network.anatomy.positions_prefix) == (prefix, in_positions)
    embedding = network.module.pos_embed
    with torch.no_grad():
        embedding[0, :, 0] = torch.arange(embedding.shape[1])
    positions = network.positions()
    assert positions.shape == (3, 2, 48)
    assert torch.equal(positions[..., 0], in_positions + torch.arange(6.0).view(3, 2))
    positions.zero_()
    assert embedding.abs().max() > 0  # a copy came, not the network's own


@pytest.mark.parametrize("name", ["samvit_base_patch16", "naflexvit_base_patch16_gap", "open_clip"])
def test_tables_of_other_shapes_are_read_row_by_row(name: str) -> None:
    """SAM's and NaFlexVit's have rows and columns of their own, open_clip's has no batch."""
    if name == "open_clip":
        module = VisionTransformer((48, 32), 16, 48, 1, 3, 2.0, output_dim=8)
        table, prefix = module.positional_embedding, 1
    else:
        more = {"img_size": (48, 32)} if "sam" in name else {"pos_embed_grid_size": (3, 2)}
        module = timm.create_model(name, depth=1, embed_dim=48, num_heads=3, **more)
        table, prefix = (module.pos_embed if "sam" in name else module.embeds.pos_embed), 0
    with torch.no_grad():
        table.view(-1, 48)[:, 0] = torch.arange(6.0 + prefix)
    positions = load(module).positions()
    assert positions.shape == (3, 2, 48)
    assert torch.equal(positions[..., 0], prefix + torch.arange(6.0).view(3, 2))


def test_a_vit_that_is_built_by_hand_has_a_head_too() -> None:
    module = timm.models.vision_transformer.VisionTransformer(img_size=32, embed_dim=48, depth=1, num_heads=3)
    network = load(module, classes=3)
    assert network.anatomy.head == "head"
    features, logits = network.features(torch.zeros(2, 3, 32, 32))
    assert (features.shape, logits.shape) == ((2, 48), (2, 3))


def test_a_network_without_positions_says_so() -> None:
    network = load("random:resnet18")
    with pytest.raises(NetworkError, match="no table of positional embeddings"):
        network.positions()


def test_a_hybrid_cuts_patches_of_the_input() -> None:
    module = timm.create_model("vit_tiny_r_s16_p8_224")
    anatomy = describe(module)
    assert anatomy.patch is not None
    assert 224 // anatomy.patch[0] == module.patch_embed.grid_size[0]


def test_every_row_is_recognised_by_a_class_of_its_own() -> None:
    kinds = [row.kind for row in FAMILIES]
    assert len(set(kinds)) == len(kinds)
    assert all(kind.count(".") >= 2 for kind in kinds)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_base_patch16_siglip_224", "resnet18", "convnext_atto", "vit_b_16"]
)
def test_features_are_what_the_head_sees(name: str) -> None:
    arguments = TINY if name.startswith("vit_") and name != "vit_b_16" else {}
    arguments = {**arguments, "num_classes": 4}
    network = load(f"random:{name}", size=32, arguments=arguments)
    x = torch.randn(2, 3, 32, 32)
    features, logits = network.features(x)
    head = network.module.get_submodule(network.head_path())
    assert features.shape == (2, head.in_features)
    assert not features.requires_grad
    assert torch.equal(logits, network.logits(x))
    assert torch.allclose(head(features), logits, atol=1e-6)


class Plain(nn.Module):
    """A classifier of no known family, with linear layers before its head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 4)  # named and placed to mislead
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 6), nn.ReLU())
        self.last = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.last(self.head(self.body(x)).relu())}


def test_the_head_of_any_module_is_the_layer_that_gives_the_logits() -> None:
    network = load(Plain(), size=8)
    assert network.head_path() == "last"
    assert network.outputs == 4
    features, logits = network.features(torch.randn(5, 3, 8, 8))
    assert features.shape == (5, 4)
    assert torch.allclose(network.module.last(features), logits)
    network.replace_head(torch.ones(2, 4), torch.tensor([0.0, 1.0]), ["a", "b"])
    assert network.outputs == 2
    assert network.classes == ("a", "b")


def test_a_network_that_does_not_end_in_a_linear_layer_has_no_features() -> None:
    network = load(nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=8)
    assert network.outputs == 2
    with pytest.raises(NetworkError, match="one linear layer"):
        network.features(torch.randn(1, 3, 8, 8))


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"logits \(batch, classes\)"):
        load(nn.Conv2d(3, 2, 1), size=8).logits(torch.randn(1, 3, 8, 8))


def test_a_new_head_computes_weight_times_features_plus_bias() -> None:
    network = load("random:vit_tiny_patch16_224", size=32, arguments=TINY)
    x = torch.randn(3, 3, 32, 32)
    features, _ = network.features(x)
    weight, bias = torch.randn(4, 48), torch.randn(4)
    network.replace_head(weight, bias, ["w", "x", "y", "z"])
    assert torch.allclose(network.logits(x), features @ weight.T + bias, atol=1e-5)
    assert network.architecture["arguments"]["num_classes"] == 4
    with pytest.raises(NetworkError, match=r"\(classes, 48\)"):
        network.replace_head(torch.randn(4, 47))
    with pytest.raises(NetworkError, match="3 classes"):
        network.replace_head(weight, bias, ["a", "b", "c"])


def test_pictures_of_a_wrong_shape_are_refused() -> None:
    network = load("random:vit_tiny_patch16_224", size=32, arguments=TINY)
    for shape in ((3, 32, 32), (1, 1, 32, 32)):
        with pytest.raises(UsageError, match=r"\(batch, 3, height, width\)"):
            network.logits(torch.zeros(shape))
    with pytest.raises(UsageError, match="32 × 32 pixels"):
        network.logits(torch.zeros(1, 3, 32, 48))
