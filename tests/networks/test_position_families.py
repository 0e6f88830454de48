"""Every reader of the table against the network's own code, on small random networks of grids that are not square."""

from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from timm.layers import apply_rot_embed_cat
from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg
from timm.models.vision_transformer_sam import get_decomposed_rel_pos_bias
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from transformers.models.dinov3_vit import modeling_dinov3_vit

from regard.errors import NetworkError
from regard.networks.anatomy.encoding_families import TABLE, encodings
from regard.networks.anatomy.encodings import KINDS, Encoding, pairs

SMALL: dict[str, Any] = {"embed_dim": 48, "num_heads": 3, "depth": 2}
SIZE = (48, 80)
CONFIG: dict[str, Any] = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 64}


def _timm(name: str, size: tuple[int, int] = SIZE, **arguments: Any) -> nn.Module:
    return timm.create_model(name, img_size=size, **{**SMALL, **arguments}).eval()


def _huggingface(name: str, model: str = "", size: Any = SIZE, **settings: Any) -> nn.Module:
    config = getattr(transformers, f"{name}Config")(**{**CONFIG, "image_size": size, "patch_size": 16, **settings})
    return getattr(transformers, model or f"{name}Model")(config).eval()


def _clip(name: str) -> nn.Module:
    return _huggingface(f"{name}Vision", size=48)


def _open_clip() -> nn.Module:
    settings = {"image_size": SIZE, "patch_size": 16, "width": 48, "layers": 2, "heads": 3, "mlp_ratio": 2}
    return open_clip.transformer.VisionTransformer(**settings, output_dim=8).eval()


# (name, how it is built, the part where embeddings have just been added, whether they are its output or its input)
EMBEDDINGS: list[tuple[str, Callable[[], nn.Module], str, bool]] = [
    ("vision_transformer", lambda: _timm("vit_tiny_patch16_224"), "pos_drop", False),
    ("deit", lambda: _timm("deit_tiny_distilled_patch16_224"), "pos_drop", False),
    ("deit3", lambda: _timm("deit3_small_patch16_224"), "norm_pre", False),
    ("registers", lambda: _timm("vit_base_patch14_reg4_dinov2", patch_size=16), "norm_pre", False),
    ("dynamic", lambda: _timm("vit_tiny_patch16_224", (64, 64), dynamic_img_size=True), "norm_pre", False),
    ("hybrid", lambda: _timm("vit_tiny_r_s16_p8_224", (96, 160)), "pos_drop", False),
    ("eva", lambda: _timm("eva02_tiny_patch14_224", patch_size=16), "pos_drop", False),
    ("beit", lambda: _timm("beit_base_patch16_224", use_abs_pos_emb=True), "pos_drop", False),
    ("cait", lambda: _timm("cait_xxs24_224"), "pos_drop", False),
    ("sam", lambda: _timm("samvit_base_patch16", (64, 64), window_size=2, global_attn_indexes=(1,)), "pos_drop", False),
    ("naflex", lambda: _timm("naflexvit_base_patch16_gap"), "norm_pre", False),
    ("naflex resampled", lambda: _naflex("naflexvit_base_patch16_gap"), "norm_pre", False),
    ("naflex factorised", lambda: _naflex("naflexvit_base_patch16_parfac_gap"), "norm_pre", False),
    ("torchvision", lambda: VisionTransformer(48, 16, 2, 3, 48, 64).eval(), "encoder.dropout", False),
    ("open_clip", _open_clip, "ln_pre", False),
    ("ViT", lambda: _huggingface("ViT"), "embeddings", True),
    ("DeiT", lambda: _huggingface("DeiT"), "embeddings", True),
    ("BEiT", lambda: _huggingface("Beit", size=64, use_absolute_position_embeddings=True), "embeddings", True),
    ("Data2Vec", lambda: _data2vec(size=64, use_absolute_position_embeddings=True), "embeddings", True),
    ("DINOv2", lambda: _huggingface("Dinov2", size=64), "embeddings", True),
    ("DINOv2 registers", lambda: _huggingface("Dinov2WithRegisters", size=64), "embeddings", True),
    ("CLIP", lambda: _clip("CLIP"), "embeddings", True),
    ("SigLIP", lambda: _clip("Siglip"), "embeddings", True),
    ("MAE", lambda: _huggingface("ViTMAE", mask_ratio=0.0), "embeddings", True),
    ("MSN", lambda: _huggingface("ViTMSN"), "embeddings", True),
    ("I-JEPA", lambda: _huggingface("IJepa"), "embeddings", True),
]


def _naflex(name: str) -> nn.Module:
    """A table of 4 × 2 that pictures of 3 × 5 patches need interpolated."""
    return timm.create_model(name, pos_embed_grid_size=(4, 2), **SMALL).eval()


def _data2vec(**settings: Any) -> nn.Module:
    return _huggingface("Data2VecVision", **settings)


def _size_of(name: str) -> tuple[int, int]:
    return {"torchvision": (48, 48), "CLIP": (48, 48), "SigLIP": (48, 48), "hybrid": (96, 160)}.get(name, SIZE)


def _random_positions(module: nn.Module, scale: float) -> None:
    """All that has positions in its name, and the biases and norms around them, at random, so that nothing is zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "pos" in name:
                parameter.copy_(scale * noise)
            elif parameter.ndim == 1:
                parameter.add_(0.3 * noise)


def _tokens(module: nn.Module, path: str, output: bool, x: Tensor) -> Tensor:
    """(batch, tokens, width) where embeddings have just been added."""
    recorded: list[Tensor] = []
    part = module.get_submodule(path)
    if output:
        hook = part.register_forward_hook(
            lambda part, args, out: recorded.append(out[0] if isinstance(out, tuple) else out)
        )
    else:
        hook = part.register_forward_pre_hook(lambda part, args: recorded.append(args[0]))
    with torch.no_grad(), hook:
        module(pixel_values=x, noise=torch.arange(15.0)[None]) if "ViTMAE" in str(type(module)) else module(x)
    return recorded[0].flatten(1, 2) if recorded[0].ndim == 4 else recorded[0]


@pytest.mark.parametrize("name", [name for name, *_ in EMBEDDINGS])
def test_embeddings_are_what_the_network_adds_to_its_patches(name: str) -> None:
    """The tokens with positions, less those of the same network whose positions are zero."""
    build, path, output = next(row[1:] for row in EMBEDDINGS if row[0] == name)
    module, size = build(), _size_of(name)
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    _random_positions(module, 1.0)
    encoding = next(each for each in encodings(module, size) if each.kind == "embeddings")
    added = _tokens(module, path, output, x)
    with torch.no_grad():
        for each, parameter in module.named_parameters():
            if "pos" in each:
                parameter.zero_()
    added = added - _tokens(module, path, output, x)
    patches = encoding.rows * encoding.columns
    assert (encoding.rows, encoding.columns) == (
        (6, 10) if name == "hybrid" and encoding.rows == 6 else _grid(name, size)
    )
    assert encoding.values.shape[:2] == (encoding.rows, encoding.columns)
    assert np.abs(encoding.values).max() > 0.5
    assert np.allclose(added[0, -patches:], encoding.values.reshape(patches, -1), atol=2e-5)


def _grid(name: str, size: tuple[int, int]) -> tuple[int, int]:
    return (3, 5) if size in (SIZE, (96, 160)) else (3, 3)


def test_siglip2_interpolates_its_table_to_the_picture() -> None:
    module = _huggingface("Siglip2Vision", num_patches=16)
    (encoding,) = encodings(module, SIZE)
    patches = torch.zeros(1, 15, 3 * 16 * 16)
    with torch.no_grad():
        added = module.embeddings(patches, torch.tensor([[3, 5]]))[0] - module.embeddings.patch_embedding.bias
    assert np.allclose(encoding.values.reshape(15, 48), added, atol=1e-6)
    (direct,) = encodings(module)
    assert (direct.rows, direct.columns) == (4, 4)
    assert np.array_equal(direct.values.reshape(16, 48), module.embeddings.position_embedding.weight.detach().double())


def _turned(encoding: Encoding, turn: Callable[[Tensor], Tensor]) -> None:
    """Queries and keys of equal length in every band, turned by the network: q·k is the kernel at every pair.

    Signs at random have that length however the values are paired into bands, so that the mean over bands is exact.
    """
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (16,), generator=generator).double() * 2 - 1
    turned = turn(signs.expand(encoding.rows * encoding.columns, 16).clone())  # (patches, 16)
    logits = (turned @ turned.T / 16).numpy()
    _at_each_pair(encoding, lambda query, key, kernel: (kernel, logits[query, key]), encoding.values[0, 0])


def _at_each_pair(encoding: Encoding, both: Callable[..., tuple[Any, Any]], kernel: np.ndarray) -> None:
    rows, columns = encoding.rows, encoding.columns
    for query in range(rows * columns):
        for key in range(rows * columns):
            down, across = key // columns - query // columns, key % columns - query % columns
            actual, expected = both(query, key, kernel[..., down + rows - 1, across + columns - 1])
            assert np.allclose(actual, expected, atol=2e-6), (query, key)


ROTARY: list[tuple[str, dict[str, Any]]] = [
    ("eva02_tiny_patch14_224", {"patch_size": 16}),
    ("vit_small_patch16_rope_224", {}),
    ("vit_small_patch16_rope_ape_224", {}),
    ("vit_small_patch16_dinov3", {}),
    ("vit_small_patch16_dinov3", {"dynamic_img_size": True}),
    ("vit_small_patch16_dinov3", {"rope_type": "mrope", "rope_mrope_section": (2, 3, 3)}),
    ("naflexvit_base_patch16_gap", {"rope_type": "axial"}),
    ("naflexvit_base_patch16_gap", {"rope_type": "dinov3", "rope_rotate_half": True}),
]


@pytest.mark.parametrize(("name", "arguments"), ROTARY, ids=[f"{name}-{list(more)}" for name, more in ROTARY])
def test_rotary_kernels_are_what_turned_queries_and_keys_give(name: str, arguments: dict[str, Any]) -> None:
    module = _timm(name, **arguments)
    encoding = next(each for each in encodings(module, SIZE) if each.kind == "rotary")
    assert (encoding.rows, encoding.columns, encoding.values.shape) == (3, 5, (1, 1, 5, 9))
    fixed = hasattr(module.rope, "feat_shape") and module.rope.feat_shape is not None
    table = module.rope.get_embed() if fixed else module.rope.get_embed(shape=[3, 5])
    half = getattr(module.blocks[0].attn, "rotate_half", False)
    _turned(encoding, lambda x: apply_rot_embed_cat(x, table.double(), half=half))


def test_the_kernel_of_axial_bands_is_the_mean_of_cosines() -> None:
    """EVA-02: bands 10000^(-i / n) patches, one half of them down and one across."""
    (encoding,) = (each for each in encodings(_timm("eva02_tiny_patch14_224", patch_size=16)) if each.kind == "rotary")
    bands = 10000.0 ** (-np.arange(4) / 4)
    scale = np.array([16 / 3, 16 / 5])  # it was trained on 16 × 16, whose frequencies are kept (ref_feat_shape)
    down, across = np.arange(-2, 3) * scale[0], np.arange(-4, 5) * scale[1]
    cosines = np.cos(down[:, None] * bands).mean(-1)[:, None] / 2 + np.cos(across[:, None] * bands).mean(-1) / 2
    assert np.allclose(encoding.values[0, 0], cosines, atol=1e-6)


def test_mixed_frequencies_have_a_kernel_in_each_layer_and_head() -> None:
    module = _timm("vit_small_patch16_rope_mixed_224")
    (encoding,) = encodings(module, SIZE)
    assert (encoding.values.shape, encoding.layers) == ((2, 3, 5, 9), (0, 1))
    across_first = module.rope.freqs.detach().double().numpy()  # (2, layers, heads, bands): x (columns), then y (rows)
    down, across = np.meshgrid(np.arange(-2, 3), np.arange(-4, 5), indexing="ij")
    angles = across_first[0][..., None, None] * across + across_first[1][..., None, None] * down
    assert np.allclose(encoding.values, np.cos(angles).mean(axis=2), atol=1e-6)
    table = module.rope.get_embed()[1, 2].detach()  # of layer 1 and head 2
    direct = Encoding("rotary", "", 3, 5, encoding.values[1:, 2:])
    _turned(direct, lambda x: apply_rot_embed_cat(x, table.double()))


def test_transformers_dinov3_turns_as_its_kernel_says() -> None:
    module = _huggingface("DINOv3ViT", num_register_tokens=2)
    (encoding,) = encodings(module, SIZE)
    cosine, sine = (each.double() for each in module.rope_embeddings(torch.zeros(1, 3, *SIZE)))
    _turned(encoding, lambda x: modeling_dinov3_vit.apply_rotary_pos_emb(x, x, cosine, sine)[0])


RELATIVE: list[tuple[str, Callable[[], nn.Module], Callable[[Any], list[Tensor]]]] = [
    (
        "beit",
        lambda: _timm("beit_base_patch16_224"),
        lambda module: [block.attn._get_rel_pos_bias()[0] for block in module.blocks],
    ),
    (
        "beit shared",
        lambda: _timm("beit_base_patch16_224", use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
        lambda module: [module.rel_pos_bias()],
    ),
    (
        "beit both",
        lambda: _timm("beit_base_patch16_224", use_shared_rel_pos_bias=True),
        lambda module: [block.attn._get_rel_pos_bias()[0] + module.rel_pos_bias() for block in module.blocks],
    ),
    (
        "relpos tables",
        lambda: _timm("vit_relpos_base_patch16_224", rel_pos_type="bias"),
        lambda module: [block.attn.rel_pos.get_bias()[0] for block in module.blocks],
    ),
    (
        "relpos network",
        lambda: _timm("vit_relpos_base_patch16_cls_224", rel_pos_type="mlp"),
        lambda module: [block.attn.rel_pos.get_bias()[0] for block in module.blocks],
    ),
    (
        "relpos shared",
        lambda: _timm("vit_srelpos_small_patch16_224"),
        lambda module: [module.shared_rel_pos.get_bias()[0]],
    ),
    (
        "BEiT",
        lambda: _huggingface("Beit", use_relative_position_bias=True),
        lambda module: [layer.relative_position_bias((3, 5))[0] for layer in module.layers],
    ),
    (
        "BEiT shared",
        lambda: _huggingface("Beit", use_shared_relative_position_bias=True),
        lambda module: [module.shared_position_bias((3, 5))[0]],
    ),
    (
        "Data2Vec",
        lambda: _data2vec(use_relative_position_bias=True, use_shared_relative_position_bias=True),
        lambda module: [
            layer.attention.attention.relative_position_bias((3, 5))[0]
            + module.encoder.relative_position_bias((3, 5))[0]
            for layer in module.encoder.layer
        ],
    ),
]


@pytest.mark.parametrize("name", [name for name, *_ in RELATIVE])
def test_relative_kernels_are_the_bias_of_every_query_and_key(name: str) -> None:
    build, bias = next(row[1:] for row in RELATIVE if row[0] == name)
    module = build()
    _random_positions(module, 1.0)
    (encoding,) = encodings(module, SIZE)
    with torch.no_grad():
        biases = torch.stack(bias(module)).numpy()[:, :, -15:, -15:]  # (layers, heads, query, key) of patches
    assert (encoding.kind, encoding.values.shape) == ("relative", (*biases.shape[:2], 5, 9))
    assert encoding.layers == (() if "shared" in name else (0, 1))
    assert np.ptp(encoding.values) > 0.1
    _at_each_pair(encoding, lambda query, key, kernel: (kernel, biases[:, :, query, key]), encoding.values)


def test_relative_networks_without_dropout_only() -> None:
    """timm's small network of distances drops values in training; it is read as it answers, and left in training."""
    module = _timm("vit_relpos_base_patch16_224", rel_pos_type="mlp").train()
    first, second = (encodings(module, SIZE)[0].values for _ in range(2))
    assert np.array_equal(first, second)
    assert all(part.training for part in module.modules())


def test_the_decomposed_bias_of_sam_is_that_of_its_mean_query() -> None:
    """Windows of 2 × 2 in block 0 and the whole 3 × 5 in block 1: one encoding each."""
    settings = {"window_size": 2, "global_attn_indexes": (1,), "use_abs_pos": False}
    module = _timm("samvit_base_patch16", SIZE, **settings)
    _random_positions(module, 0.5)
    windows, whole = encodings(module, SIZE)
    assert [(each.rows, each.columns, each.layers) for each in (windows, whole)] == [(2, 2, (0,)), (3, 5, (1,))]
    for encoding, block in zip((windows, whole), module.blocks, strict=True):
        attention, grid = block.attn, (encoding.rows, encoding.columns)
        with torch.no_grad():
            tokens = 7 * torch.randn(1, 20000, 48, generator=torch.Generator().manual_seed(0))
            queries = attention.qkv(block.norm1(tokens))[0, :, :48].mean(dim=0).view(3, 16)
            patches = grid[0] * grid[1]
            tables = (attention.rel_pos_h, attention.rel_pos_w)
            exact = attention.qkv(block.norm1.bias)[:48].view(3, 16)
            bias = get_decomposed_rel_pos_bias(exact[:, None].expand(3, patches, 16), *tables, grid, grid).numpy()
        assert torch.allclose(queries, exact, atol=0.05)  # the mean over tokens that point anywhere
        assert np.abs(bias).max() > 0.1
        _at_each_pair(encoding, lambda query, key, kernel, bias=bias: (kernel, bias[:, query, key]), encoding.values[0])


def test_sam_with_rotation_has_one_for_windows_and_one_for_the_whole() -> None:
    settings = {"window_size": 2, "global_attn_indexes": (1,), "use_abs_pos": False, "use_rel_pos": False}
    module = _timm("samvit_base_patch16", SIZE, **settings, use_rope=True)
    windows, whole = encodings(module, SIZE)
    assert [(each.kind, each.rows, each.columns, each.layers) for each in (windows, whole)] == [
        ("rotary", 2, 2, (0,)),
        ("rotary", 3, 5, (1,)),
    ]
    _turned(whole, lambda x: apply_rot_embed_cat(x, module.rope_global.get_embed().double()))


def test_two_kinds_are_both_found() -> None:
    module = _timm("vit_small_patch16_rope_ape_224")
    assert [each.kind for each in encodings(module, SIZE)] == ["embeddings", "rotary"]
    module = _timm("beit_base_patch16_224", use_abs_pos_emb=True)
    assert [each.kind for each in encodings(module)] == ["embeddings", "relative"]


def test_a_network_that_was_told_nothing_says_so() -> None:
    (encoding,) = encodings(_timm("vit_tiny_patch16_224", pos_embed="none"))
    assert (encoding.kind, encoding.rows, encoding.columns, encoding.values.size) == ("none", 3, 5, 0)


def test_a_network_inside_another_is_found_and_left_as_it_was() -> None:
    inner = _timm("vit_tiny_patch16_224").train()
    wrapped = nn.Sequential(nn.Identity(), nn.ModuleDict({"trunk": inner})["trunk"])
    (encoding,) = encodings(wrapped)
    assert np.array_equal(encoding.values.reshape(15, 48), inner.pos_embed[0, 1:].detach().double())
    assert inner.training and not inner._forward_hooks


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"Sequential tells its patches apart is not known.*timm beit"):
        encodings(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(NetworkError, match="give their size"):
        encodings(NaFlexVit(NaFlexVitCfg(pos_embed="none", pos_embed_grid_size=None, **SMALL)))


def test_the_table_names_each_class_once_and_only_classes_there_are() -> None:
    names = [name for row in TABLE for name in row.classes]
    assert len(names) == len(set(names))
    for name in names:
        module, _, kind = name.rpartition(".")
        assert hasattr(__import__(module, fromlist=[kind]), kind), name
    assert set(KINDS) == {"embeddings", "rotary", "relative", "none"}


def test_pairs_are_as_far_apart_as_they_say() -> None:
    query, key = pairs(3, 4)
    for row in range(5):
        for column in range(7):
            a, b = divmod(int(query[row, column]), 4), divmod(int(key[row, column]), 4)
            assert (b[0] - a[0], b[1] - a[1]) == (row - 2, column - 3)
