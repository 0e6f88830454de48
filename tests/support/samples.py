"""A small network of every family that regard can trace, awake, with its attention written out by other means."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import open_clip.transformer
import timm
import torch
import transformers
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer
from transformers.models.siglip2.image_processing_siglip2 import Siglip2ImageProcessor
from woken import asked_for_weights, queries_keys, wake, written_out

transformers.logging.set_verbosity_error()  # it warns of settings of its own making

Truth = Callable[[nn.Module, Tensor], tuple[Tensor, list[Tensor]]]
OBLONG, SQUARE = (48, 80), (48, 48)  # 3 × 5 and 3 × 3 patches of 16


@dataclass(frozen=True)
class Sample:
    """How a network is built, how its logits and attention are written out, and what is known of it."""

    name: str
    make: Callable[[], nn.Module]
    truth: Truth
    prefix: int
    reads: str = "cls"
    size: tuple[int, int] = OBLONG
    patch: int = 16
    plain: bool = True
    """Whether every row of attention sums to one."""
    readers: int = 0

    @property
    def grid(self) -> tuple[int, int]:
        return self.size[0] // self.patch, self.size[1] // self.patch

    @property
    def pictures(self) -> Tensor:
        return torch.randn(2, 3, *self.size, generator=torch.Generator().manual_seed(0))


@cache
def awake(sample: Sample) -> tuple[nn.Module, Tensor, list[Tensor]]:
    """The network, awake, with its right logits and attention on the sample's pictures. Leave it as it is."""
    module, x = sample.make().eval(), sample.pictures
    with torch.no_grad():
        wake(module, queries_keys(module), lambda: sample.truth(module, x)[1])
        logits, rows = sample.truth(module, x)
    return module, logits, rows


# timm


def _timm(name: str, architecture: str, prefix: int, reads: str = "cls", **more: Any) -> Sample:
    known = {key: more.pop(key) for key in ("size", "plain", "readers", "patch") if key in more}
    settings = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 5, "img_size": known.get("size", OBLONG)}
    make = partial(timm.create_model, architecture, **{**settings, **more})
    return Sample(f"timm {name}", make, written_out, prefix, reads, **known)


_REGISTERS = {"patch_size": 16, "init_values": 1.0}

TIMM = (
    _timm("vit", "vit_tiny_patch16_224", 1),
    _timm("vit q/k norm", "vit_tiny_patch16_224", 1, qk_norm=True, qkv_bias=False, scale_attn_norm=True),
    _timm("vit averaged", "vit_tiny_patch16_224", 1, "patches", global_pool="avg"),
    _timm("dinov2", "vit_giant_patch14_reg4_dinov2", 5, **_REGISTERS),
    _timm("deit distilled", "deit_tiny_distilled_patch16_224", 2),
    _timm("deit3", "deit3_small_patch16_224", 1, init_values=1.0),
    _timm("siglip", "vit_base_patch16_siglip_224", 0, "pool", readers=1),
    _timm("siglip averaged", "vit_base_patch16_siglip_gap_224", 0, "patches"),
    _timm("registers and pooling", "vit_so150m_patch16_reg4_map_256", 4, "pool", readers=1, size=SQUARE),
    _timm("side by side", "vit_small_patch16_18x2_224", 1, init_values=1.0),
    _timm("parallel with MLP", "vit_base_patch16_xp_224", 1),
    _timm("differential", "vit_dwee_patch16_reg1_gap_256", 1, "patches", plain=False, init_values=1.0),
    _timm("differential, parallel", "vit_dpwee_patch16_reg1_gap_256", 1, "patches", plain=False, init_values=1.0),
    _timm("norm behind", "vit_base_patch16_rpn_224", 0, "patches"),
    _timm("radio", "vit_base_patch16_radio_v3", 8),
    _timm("aimv2", "aimv2_large_patch14_224", 0, "patches", patch_size=16),
    _timm("beit3", "beit3_base_patch16_224", 1, "patches"),
    _timm("clip", "vit_base_patch32_clip_quickgelu_224", 1, patch_size=16),
    _timm("eva", "eva_giant_patch14_224", 1, "patches", patch_size=16),
    _timm("eva02", "eva02_tiny_patch14_224", 1, "patches", patch_size=16),
    _timm("eva02 clip", "eva02_base_patch16_clip_224", 1),
    _timm("rope mixed", "vit_small_patch16_rope_mixed_ape_224", 1, init_values=1.0),
    _timm("rope registers", "vit_base_patch16_rope_reg1_gap_256", 1, "patches", init_values=1.0),
    _timm("dinov3", "vit_small_patch16_dinov3", 5, "patches", init_values=1.0),
    _timm("perception encoder", "vit_pe_core_tiny_patch16_384", 1, "pool", readers=1, attn_pool_num_heads=4),
    _timm("sapiens2", "vit_base_patch16_sapiens2", 9, num_heads=4, embed_dim=64, num_kv_heads=2),
    _timm("beit", "beit_base_patch16_224", 1, "patches", init_values=1.0),
    _timm("beit shared bias", "beit_base_patch16_224", 1, "patches", init_values=1.0, use_shared_rel_pos_bias=True),
    _timm("cait", "cait_xxs24_224", 0, plain=False, readers=2, init_values=1.0, depth_token_only=2),
    _timm("hybrid", "vit_tiny_r_s16_p8_224", 1, size=(64, 96), patch=32),
    _timm("relpos mlp", "vit_relpos_base_patch16_cls_224", 1, init_values=1.0),
    _timm("relpos averaged", "vit_relpos_medium_patch16_rpn_224", 0, "patches", init_values=1.0),
    _timm("relpos shared", "vit_srelpos_small_patch16_224", 0, "patches", init_values=1.0),
    _timm("sam", "samvit_base_patch16_224", 0, "patches", plain=False, window_size=2, global_attn_indexes=(1,)),
    _timm("sam, window beyond", "samvit_base_patch16_224", 0, "patches", plain=False, window_size=6),
    _timm("naflex", "naflexvit_base_patch16_gap", 4, "patches"),
    _timm("naflex pooling", "naflexvit_so150m2_patch16_reg1_map", 1, "pool", readers=1, init_values=1.0),
    _timm("naflex factors", "naflexvit_base_patch16_parfac_gap", 4, "patches"),
    _timm("naflex gated rope", "naflexvit_base_patch16_gap", 4, "patches", attn_gated=True, rope_type="axial"),
)


# torchvision and open_clip


def _asked(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    rows: list[Tensor] = []
    with torch.no_grad(), asked_for_weights(module, rows):
        logits = module.eval()(x)
    return logits, rows


def _open_clip(name: str, reads: str = "cls", readers: int = 0, **more: Any) -> Sample:
    sizes = {"width": 48, "layers": 2, "heads": 3, "mlp_ratio": 2.0, "output_dim": 20}
    make = partial(open_clip.transformer.VisionTransformer, OBLONG, 16, **sizes, **more)
    return Sample(f"open_clip {name}", make, _asked, 1, reads, readers=readers)


OTHERS = (
    Sample(
        "torchvision vit",
        partial(VisionTransformer, 48, 16, 2, 3, 48, 96, num_classes=5),
        _asked,
        1,
        size=SQUARE,
    ),
    _open_clip("vit"),
    _open_clip("averaged", "patches", pool_type="avg", ls_init_value=1.0),
    _open_clip("q/k norm", block_type="custom", qk_norm=True),
    _open_clip("coca", "pool", 1, attentional_pool=True, attn_pooler_heads=4, attn_pooler_queries=6),
)


# Hugging Face

_SMALL = {
    "image_size": 48,
    "patch_size": 16,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
}
_PATCHES = 9
"""Of a Hugging Face sample: most take squares only."""


def _eager(
    inputs: Callable[[Any, Tensor], dict[str, Any]], unpooled: slice | int, module: Any, x: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """transformers' written-out attention, and that of a pooling by torch's multi-head attention behind it."""
    pooling: list[Tensor] = []
    was, hidden = module.config._attn_implementation, getattr(module.config, "mask_ratio", None)
    module.set_attn_implementation("eager")
    if hidden is not None:
        module.config.mask_ratio = 0.0
    try:
        with torch.no_grad(), asked_for_weights(module, pooling):
            output = module.eval()(**inputs(module, x), output_attentions=True)
    finally:
        module.set_attn_implementation(was)
        if hidden is not None:
            module.config.mask_ratio = hidden
    return _read(output, unpooled), [*output.attentions, *pooling]


def _eager_twin(unpooled: slice | int, module: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The same where the fused attention is a class of its own: by a network with the other class and equal weights."""
    config = copy.deepcopy(module.config)
    twin = type(module)._from_config(config, attn_implementation="eager").eval()
    twin.load_state_dict(module.state_dict())
    with torch.no_grad():
        output = twin(x, output_attentions=True)
    return _read(output, unpooled), list(output.attentions)


def _read(output: Any, unpooled: slice | int) -> Tensor:
    """The logits, or what a bare encoder gives as its features: pooled, else CLS or the average of the patches."""
    for name in ("logits", "image_embeds", "pooler_output"):
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    found = output.last_hidden_state[:, unpooled]
    return found if found.ndim == 2 else found.mean(1)


def _pixels(module: Any, x: Tensor) -> dict[str, Any]:
    return {"pixel_values": x}


def _all_patches(module: Any, x: Tensor) -> dict[str, Any]:
    """MAE without its random mask (see `_eager`), in the order of the picture."""
    patches = (x.shape[-2] // 16) * (x.shape[-1] // 16)
    return {"pixel_values": x, "noise": torch.linspace(0, 1, patches).expand(len(x), -1)}


def _siglip2_patches(module: Any, x: Tensor) -> dict[str, Any]:
    """As transformers' own image processor cuts a picture that is prepared already."""
    rows, columns = x.shape[-2] // 16, x.shape[-1] // 16
    processor = Siglip2ImageProcessor(patch_size=16, do_resize=False, do_rescale=False, do_normalize=False)
    processor.max_num_patches = rows * columns
    found = processor(list(x), return_tensors="pt", do_resize=False, max_num_patches=rows * columns)
    return dict(found)


def _huggingface(
    kind: str,
    config: str,
    prefix: int,
    reads: str = "cls",
    inputs: Callable[[Any, Tensor], dict[str, Any]] = _pixels,
    nested: bool = False,
    about: str = "",
    **more: Any,
) -> Sample:
    known = {key: more.pop(key) for key in ("size", "readers") if key in more}
    unpooled = slice(prefix, None) if reads == "patches" else 0
    truth = partial(more.pop("truth"), unpooled) if "truth" in more else partial(_eager, inputs, unpooled)
    attention = more.pop("attention", "sdpa")

    def make() -> nn.Module:
        settings: dict[str, Any] = {**_SMALL, **more}
        if nested:
            settings = {"vision_config": settings}
        made = getattr(transformers, config)(**settings, **labels)
        return getattr(transformers, kind)._from_config(made, attn_implementation=attention)

    labels = {"num_labels": 5} if "Classification" in kind else {}
    name = ", ".join(filter(None, (f"huggingface {kind}", about, "" if attention == "sdpa" else attention)))
    return Sample(name, make, truth, prefix, reads, **{"size": SQUARE, **known})


_SCALED = {"layerscale_value": 1.0}
_BEIT = {"layer_scale_init_value": 1.0, "use_relative_position_bias": True}
_DATA2VEC = {**_BEIT, "truth": _eager_twin}

HUGGINGFACE = (
    _huggingface("ViTForImageClassification", "ViTConfig", 1),
    _huggingface("ViTModel", "ViTConfig", 1),
    _huggingface("DeiTForImageClassification", "DeiTConfig", 2),
    _huggingface("DeiTForImageClassificationWithTeacher", "DeiTConfig", 2),
    _huggingface("DeiTModel", "DeiTConfig", 2),
    _huggingface("BeitForImageClassification", "BeitConfig", 1, "patches", **_BEIT),
    _huggingface("BeitModel", "BeitConfig", 1, **_BEIT, use_mean_pooling=False),
    _huggingface("Data2VecVisionForImageClassification", "Data2VecVisionConfig", 1, "patches", **_DATA2VEC),
    _huggingface(
        "Data2VecVisionForImageClassification", "Data2VecVisionConfig", 1, "patches", **_DATA2VEC, attention="eager"
    ),
    _huggingface(
        "Data2VecVisionModel",
        "Data2VecVisionConfig",
        1,
        "patches",
        truth=_eager_twin,
        use_shared_relative_position_bias=True,
    ),
    _huggingface("Dinov2ForImageClassification", "Dinov2Config", 1, size=OBLONG, **_SCALED),
    _huggingface("Dinov2Model", "Dinov2Config", 1, size=OBLONG, use_swiglu_ffn=True, **_SCALED),
    _huggingface(
        "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", 5, size=OBLONG, num_register_tokens=4
    ),
    _huggingface("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", 3, size=OBLONG, num_register_tokens=2),
    _huggingface("DINOv3ViTModel", "DINOv3ViTConfig", 5, size=OBLONG, num_register_tokens=4, **_SCALED),
    _huggingface("CLIPForImageClassification", "CLIPConfig", 1, "patches", nested=True),
    _huggingface("CLIPVisionModel", "CLIPVisionConfig", 1),
    _huggingface("CLIPVisionModelWithProjection", "CLIPVisionConfig", 1),
    _huggingface("SiglipForImageClassification", "SiglipConfig", 0, "patches", nested=True, readers=1),
    _huggingface("SiglipVisionModel", "SiglipVisionConfig", 0, "pool", readers=1),
    _huggingface("SiglipVisionModel", "SiglipVisionConfig", 0, "patches", vision_use_head=False, about="no head"),
    _huggingface(
        "Siglip2ForImageClassification", "Siglip2Config", 0, "patches", _siglip2_patches, True, size=OBLONG, readers=1
    ),
    _huggingface("Siglip2VisionModel", "Siglip2VisionConfig", 0, "pool", _siglip2_patches, size=OBLONG, readers=1),
    _huggingface("ViTMAEModel", "ViTMAEConfig", 1, inputs=_all_patches),
    _huggingface("ViTMSNForImageClassification", "ViTMSNConfig", 1),
    _huggingface("ViTMSNModel", "ViTMSNConfig", 1),
    _huggingface("IJepaForImageClassification", "IJepaConfig", 0, "patches"),
    _huggingface("IJepaModel", "IJepaConfig", 0, "patches"),
)

SAMPLES = (*TIMM, *OTHERS, *HUGGINGFACE)
NAMES = [sample.name for sample in SAMPLES]
