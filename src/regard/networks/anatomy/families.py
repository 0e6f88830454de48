"""The table of families: which vision transformers regard knows, and where their parts lie.

To support a family, add a row and a case to tests/networks/test_anatomy.py. How attention is computed is no matter of
this table: the queries and keys of any module are read as they pass by (see `AttentionRecorder`).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from regard.networks.anatomy.anatomy import Family, Pair, fixed, pair

# Each reader below takes Any: it reads attributes that only its own family has.


def timm_head(module: Any) -> str | None:
    """timm declares its classifier's path; None where it has two (a distilled network) or none that is linear."""
    path = (getattr(module, "pretrained_cfg", None) or {"classifier": "head"}).get("classifier")  # made by hand
    if not isinstance(path, str):
        return None
    part = dict(module.named_modules()).get(path)
    return path if isinstance(part, nn.Linear | nn.Identity) else None


def _timm_size(module: Any) -> Pair | None:
    size = getattr(module.patch_embed, "img_size", None)
    return None if size is None else pair(size)


def _timm_patch(module: Any) -> Pair | None:
    """Of the input: a hybrid's patches are larger than those of the feature map it cuts."""
    size = _timm_size(module)
    grid = getattr(module.patch_embed, "grid_size", None)
    if size is None or grid is None:
        return pair(module.patch_embed.patch_size)
    return size[0] // grid[0], size[1] // grid[1]


def _timm_embeds(module: Any) -> Any:
    """The part that cuts patches; NaFlexVit's also has the class token."""
    return getattr(module, "embeds", None) or module.patch_embed


def _timm_prefix(module: Any) -> int:
    return int(getattr(module, "num_prefix_tokens", 0) or 0)


def _timm_cls(module: Any) -> bool:
    return any(getattr(part, "cls_token", None) is not None for part in (module, _timm_embeds(module)))


def _timm_reads(module: Any) -> str:
    """What `global_pool` makes the head read; networks that have no such choice read their class token."""
    if getattr(module, "attn_pool", None) is not None:
        return "pool"
    return "cls" if _timm_cls(module) and getattr(module, "global_pool", "token") in ("token", "") else "patches"


def _timm(name: str, kind: str, **more: Any) -> Family:
    """A row for one of timm's classes, which differ in little."""
    settings: dict[str, Any] = {
        "attentions": ("blocks.*.attn", "blocks.*.attns.*.attn", "blocks.*"),
        "blocks": ("blocks.*",),
        "pool": "attn_pool",
        "positions": "pos_embed",
        "head": timm_head,
        "patch": _timm_patch,
        "size": _timm_size,
        "flexible": lambda module: bool(
            getattr(module, "dynamic_img_size", False) or not getattr(module.patch_embed, "strict_img_size", True)
        ),
        "edge": lambda module: "padded" if getattr(_timm_embeds(module), "dynamic_img_pad", False) else "refused",
        "prefix": _timm_prefix,
        "cls": _timm_cls,
        "reads": _timm_reads,
        "positions_prefix": lambda module: 0 if getattr(module, "no_embed_class", False) else _timm_prefix(module),
    }
    return Family(name=f"timm {name}", kind=f"timm.models.{kind}", **(settings | more))


def _configured(module: Any) -> Any:
    """The configuration that has the sizes: the vision part's, where there are two."""
    return getattr(module.config, "vision_config", module.config)


def _huggingface_patch(module: Any) -> Pair:
    return pair(_configured(module).patch_size)


def _registers(module: Any) -> int:
    return 1 + int(_configured(module).num_register_tokens)


def _huggingface(
    name: str, file: str, classes: Mapping[str, str], blocks: str, attention: str = "attention", **more: Any
) -> tuple[Family, ...]:
    """A row for each of transformers' `classes` of one architecture: what its encoder is called in it."""
    rows = []
    for kind, root in classes.items():
        positions = more.get("positions", "embeddings.position_embeddings")
        settings: dict[str, Any] = {
            "attentions": (f"{root}{blocks}.*.{attention}",),
            "blocks": (f"{root}{blocks}.*",),
            "head": lambda module: "classifier" if isinstance(getattr(module, "classifier", 0), nn.Linear) else None,
            "patch": _huggingface_patch,
            "size": lambda module: pair(_configured(module).image_size),
            **more,
            "positions": None if positions is None else f"{root}{positions}",
            "pool": None if more.get("pool") is None else f"{root}{more['pool']}",
        }
        rows.append(Family(name=f"huggingface {name}", kind=f"transformers.models.{file}.{kind}", **settings))
    return tuple(rows)


def _mean_pooled(module: Any) -> str:
    return "patches" if _configured(module).use_mean_pooling else "cls"


def _pooled_encoder(module: Any) -> str:
    """SigLIP's encoder alone pools by attention; its classifier averages the patches."""
    return "patches" if hasattr(module, "classifier") or getattr(module, "head", None) is None else "pool"


def _unmasked(module: Any, x: Tensor) -> dict[str, Any]:
    """MAE hides patches at random in an order of its own: keep all (see the row's switch), in their order."""
    rows, columns = (side // step for side, step in zip(x.shape[-2:], _huggingface_patch(module), strict=True))
    return {"pixel_values": x, "noise": torch.arange(rows * columns, device=x.device).expand(len(x), -1)}


def _patchified(module: Any, x: Tensor) -> dict[str, Any]:
    """SigLIP 2 takes pictures already cut: (batch, patches, pixels of a patch), channels last, with their grid."""
    side = _huggingface_patch(module)[0]
    rows = x.shape[-2] // side
    columns = x.shape[-1] // side
    cut = x.unflatten(3, (columns, side)).unflatten(2, (rows, side))  # (batch, 3, rows, side, columns, side)
    patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(len(x), rows * columns, -1)  # (batch, patches, side · side · 3)
    shapes = torch.tensor([[rows, columns]], device=x.device).expand(len(x), -1)
    mask = torch.ones(patches.shape[:2], dtype=torch.int32, device=x.device)
    return {"pixel_values": patches, "pixel_attention_mask": mask, "spatial_shapes": shapes}


def _naflex_grid(module: Any) -> Pair | None:
    grid = getattr(module.embeds, "pos_embed_grid_size", None)
    patch = pair(module.embeds.patch_size)
    return None if grid is None else (grid[0] * patch[0], grid[1] * patch[1])


def _open_clip_reads(module: Any) -> str:
    if getattr(module, "attn_pool", None) is not None:
        return "pool"
    return "patches" if module.pool_type == "avg" else "cls"


_PATCHES_ONLY: dict[str, Any] = {
    "reads": fixed("patches"),
    "prefix": fixed(0),
    "cls": fixed(False),
    "positions_prefix": fixed(0),
}

FAMILIES: tuple[Family, ...] = (
    _timm("vision_transformer", "vision_transformer.VisionTransformer"),
    _timm("eva", "eva.Eva"),
    _timm("beit", "beit.Beit"),
    _timm("cait", "cait.Cait", more="blocks_token_only.*.attn", prefix=fixed(0), positions_prefix=fixed(0)),
    _timm("relpos", "vision_transformer_relpos.VisionTransformerRelPos"),
    _timm("sam", "vision_transformer_sam.VisionTransformerSAM", flexible=fixed(True), positions_prefix=fixed(0)),
    _timm(
        "naflexvit",
        "naflexvit.NaFlexVit",
        patch=lambda module: pair(module.embeds.patch_size),
        size=_naflex_grid,
        flexible=fixed(True),
        positions="embeds.pos_embed",
        positions_prefix=fixed(0),
    ),
    Family(
        name="torchvision vit",
        kind="torchvision.models.vision_transformer.VisionTransformer",
        attentions=("encoder.layers.*.self_attention",),
        blocks=("encoder.layers.*",),
        positions="encoder.pos_embedding",
        head=fixed("heads.head"),
        patch=lambda module: pair(module.patch_size),
        size=lambda module: pair(module.image_size),
    ),
    Family(
        name="open_clip vit",
        kind="open_clip.transformer.VisionTransformer",
        attentions=("transformer.resblocks.*.attn",),
        blocks=("transformer.resblocks.*",),
        pool="attn_pool*.attn",  # the last gives what the head reads
        positions="positional_embedding",
        head=fixed(None),
        patch=lambda module: pair(module.patch_size),
        size=lambda module: pair(module.image_size),
        reads=_open_clip_reads,
    ),
    *_huggingface("ViT", "vit.modeling_vit", {"ViTForImageClassification": "vit.", "ViTModel": ""}, "layers"),
    *_huggingface(
        "DeiT",
        "deit.modeling_deit",
        {"DeiTForImageClassification": "deit.", "DeiTForImageClassificationWithTeacher": "deit.", "DeiTModel": ""},
        "layers",
        prefix=fixed(2),
        positions_prefix=fixed(2),
    ),
    *_huggingface(
        "BEiT",
        "beit.modeling_beit",
        {"BeitForImageClassification": "beit.", "BeitModel": ""},
        "layers",
        reads=_mean_pooled,
    ),
    *_huggingface(
        "Data2Vec vision",
        "data2vec.modeling_data2vec_vision",
        {"Data2VecVisionForImageClassification": "data2vec_vision.", "Data2VecVisionModel": ""},
        "encoder.layer",
        "attention.attention",
        tupled=True,
        reads=_mean_pooled,
    ),
    *_huggingface(
        "DINOv2",
        "dinov2.modeling_dinov2",
        {"Dinov2ForImageClassification": "dinov2.", "Dinov2Model": ""},
        "encoder.layer",
        flexible=fixed(True),
    ),
    *_huggingface(
        "DINOv2 with registers",
        "dinov2_with_registers.modeling_dinov2_with_registers",
        {"Dinov2WithRegistersForImageClassification": "dinov2_with_registers.", "Dinov2WithRegistersModel": ""},
        "encoder.layer",
        prefix=_registers,
        flexible=fixed(True),
    ),
    *_huggingface(
        "DINOv3",
        "dinov3_vit.modeling_dinov3_vit",
        {"DINOv3ViTModel": ""},
        "model.layer",
        prefix=_registers,
        flexible=fixed(True),
        positions=None,
    ),
    *_huggingface(
        "CLIP",
        "clip.modeling_clip",
        {"CLIPForImageClassification": "vision_model.", "CLIPVisionModelWithProjection": "vision_model."}
        | {"CLIPVisionModel": ""},
        "encoder.layers",
        "self_attn",
        reads=lambda module: "patches" if hasattr(module, "classifier") else "cls",
        positions="embeddings.position_embedding.weight",
    ),
    *_huggingface(
        "SigLIP",
        "siglip.modeling_siglip",
        {"SiglipForImageClassification": "vision_model.", "SiglipVisionModel": ""},
        "encoder.layers",
        "self_attn",
        pool="head.attention",
        reads=_pooled_encoder,
        positions="embeddings.position_embedding.weight",
        prefix=fixed(0),
        positions_prefix=fixed(0),
        cls=fixed(False),
    ),
    *_huggingface(
        "SigLIP 2",
        "siglip2.modeling_siglip2",
        {"Siglip2ForImageClassification": "vision_model.", "Siglip2VisionModel": ""},
        "encoder.layers",
        "self_attn",
        pool="head.attention",
        reads=_pooled_encoder,
        positions="embeddings.position_embedding.weight",
        prefix=fixed(0),
        positions_prefix=fixed(0),
        cls=fixed(False),
        # built for a number of patches; as a square, as its positions are
        size=lambda module: (int(_configured(module).num_patches ** 0.5) * int(_configured(module).patch_size),) * 2,
        flexible=fixed(True),
        edge=fixed("refused"),
        inputs=_patchified,
    ),
    *_huggingface(
        "MAE",
        "vit_mae.modeling_vit_mae",
        {"ViTMAEModel": ""},
        "layers",
        switches=(("mask_ratio", 0.0),),
        inputs=_unmasked,
    ),
    *_huggingface(
        "MSN", "vit_msn.modeling_vit_msn", {"ViTMSNForImageClassification": "vit.", "ViTMSNModel": ""}, "layers"
    ),
    *_huggingface(
        "I-JEPA",
        "ijepa.modeling_ijepa",
        {"IJepaForImageClassification": "ijepa.", "IJepaModel": ""},
        "layers",
        **_PATCHES_ONLY,
    ),
)
"""Every family there is a row for; the first whose class fits is taken."""
