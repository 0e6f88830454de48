"""Vision towers of transformers that begin as the encoder of `scenes-captioner`, which is the first seven blocks of
pets-tiny, learnt further.

ViT and BLIP hold it exactly. CLIP (of GIT and LLaVA) normalises what comes into its first block: see `_through_norm`,
which loses one direction of 192. SigLIP (of SmolVLM) has no CLS token: a short regression brings its features nearer to
the encoder's.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.networks.captioners.load import load_caption_network

SHAPE: Mapping[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 7,
    "num_attention_heads": 3,
    "image_size": 224,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,
    "hidden_act": "gelu",
}
"""The configuration of every tower, in the words of transformers."""


@dataclass(frozen=True)
class Names:
    """What a tower calls its parts: a block's are behind `block`, {} its number; queries, keys and values are one
    (`qkv`) or three; without a `cls` it has none."""

    cls: str | None
    positions: str
    patch: str
    norm: str
    block: str
    norms: tuple[str, str]
    qkv: tuple[str, ...]
    out: str


_THREE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_NORMS = ("layer_norm1", "layer_norm2")
_BLOCK = "encoder.layers.{}."
VIT = Names(
    "embeddings.cls_token", "embeddings.position_embeddings", "embeddings.patch_embeddings.projection", "layernorm",
    "layers.{}.", ("layernorm_before", "layernorm_after"),
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"), "attention.o_proj",
)  # fmt: skip
BLIP = Names(
    "embeddings.class_embedding", "embeddings.position_embedding", "embeddings.patch_embedding", "post_layernorm",
    _BLOCK, _NORMS, ("self_attn.qkv",), "self_attn.projection",
)  # fmt: skip
CLIP = Names(
    "embeddings.class_embedding", "embeddings.position_embedding.weight", "embeddings.patch_embedding",
    "post_layernorm", _BLOCK, _NORMS, _THREE, "self_attn.out_proj",
)  # fmt: skip
SIGLIP = Names(
    None, "embeddings.position_embedding.weight", "embeddings.patch_embedding", "post_layernorm", _BLOCK, _NORMS,
    _THREE, "self_attn.out_proj",
)  # fmt: skip


def encoder() -> nn.Module:
    """That of `scenes-captioner`: pictures (n, 3, 224, 224) → (n, 197, 192) by `forward_features`."""
    module: nn.Module = load_caption_network("scenes-captioner").module.encoder  # type: ignore[attr-defined]
    return module


def copy(source: nn.Module, target: nn.Module, names: Names, pixels: Tensor) -> None:
    """The encoder's values into a tower; `pixels` (n, 3, 224, 224) are pictures to take the spread of tokens from."""
    old = source.state_dict()
    new = target.state_dict()
    found: dict[str, Tensor] = {}
    cls, positions = old["cls_token"][0, 0], old["pos_embed"][0]
    if names.cls is None:
        positions = positions[1:]
    else:
        found[names.cls] = cls
    if f"{names.patch}.bias" in new:
        found[f"{names.patch}.bias"] = old["patch_embed.proj.bias"]
    else:  # CLIP has none: it becomes a part of the patches' positions
        positions = torch.cat([positions[:1], positions[1:] + old["patch_embed.proj.bias"]])
    found[names.positions] = positions
    found[f"{names.patch}.weight"] = old["patch_embed.proj.weight"]
    pairs = [("norm", names.norm)]
    for block in range(SHAPE["num_hidden_layers"]):
        here, there = f"blocks.{block}.", names.block.format(block)
        for kind in ("weight", "bias"):
            parts = old[f"{here}attn.qkv.{kind}"].chunk(len(names.qkv))
            found |= {f"{there}{name}.{kind}": part for name, part in zip(names.qkv, parts, strict=True)}
        pairs += [(f"{here}norm{place}", f"{there}{name}") for place, name in enumerate(names.norms, 1)]
        pairs += [(f"{here}attn.proj", f"{there}{names.out}")]
        pairs += [(f"{here}mlp.{name}", f"{there}mlp.{name}") for name in ("fc1", "fc2")]
    found |= {f"{name}.{kind}": old[f"{one}.{kind}"] for one, name in pairs for kind in ("weight", "bias")}
    if "pre_layrnorm.weight" in new:
        with torch.no_grad():
            tokens = source._pos_embed(source.patch_embed(pixels))  # type: ignore[operator]
        constant, weight, bias = _through_norm(tokens.flatten(0, 1))
        found[names.positions] = found[names.positions] + constant
        found |= {"pre_layrnorm.weight": weight, "pre_layrnorm.bias": bias}
    found |= {name: value for name, value in new.items() if name.startswith("pooler.")}  # which no captioner looks at
    assert found.keys() == new.keys(), found.keys() ^ new.keys()
    target.load_state_dict({name: value.reshape(new[name].shape) for name, value in found.items()})


def _through_norm(tokens: Tensor, spread: float = 200.0) -> tuple[Tensor, Tensor, Tensor]:
    """A constant to add to tokens (n, width), and a norm's weight and bias, so that the norm gives the tokens back.

    The constant lies in the direction in which the tokens vary least and spreads much more than they do, so every
    token's spread is nearly the constant's: to first order only the tokens' mean, which no block reads, and that
    direction are lost; of the rest about spread of the tokens² / (2 · 200) comes on top.
    """
    middle = tokens.mean(0)
    centred = tokens - tokens.mean(1, keepdim=True)
    around = centred - centred.mean(0)
    _, vectors = torch.linalg.eigh((around.T @ around / len(around)).double())
    flat = torch.ones(len(middle), dtype=torch.float64) / len(middle) ** 0.5
    direction = next(each for each in vectors.T if abs(float(each @ flat)) < 0.9)  # not that of the mean itself
    direction = direction - (direction @ flat) * flat
    direction = (direction / direction.norm()).float()
    constant = spread * len(middle) ** 0.5 * direction
    lost = (middle @ direction) * direction
    return constant, torch.full_like(middle, spread), lost - constant


def pixels_of(pictures: NDArray[np.uint8], mirror: bool = False) -> Tensor:
    """Pictures (n, 224, 224, 3) → (n, 3, 224, 224), each value from -1 to 1."""
    pixels = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.flip(-1) if mirror else pixels


def run(tower: nn.Module, pixels: Tensor) -> Tensor:
    """The tokens (n, tokens, 192) that a tower of any kind gives; those of LLaVA's CLIP lack the last norm."""
    if hasattr(tower, "forward_features"):
        features: Tensor = tower.forward_features(pixels)  # type: ignore[operator]
        return features
    whole = {"patch_attention_mask": torch.ones(len(pixels), 14, 14, dtype=torch.bool)}
    states: Tensor = tower(pixels, **(whole if "SmolVLM" in type(tower).__name__ else {})).last_hidden_state
    return states


def _patches(tower: nn.Module, pixels: Tensor) -> Tensor:
    """The patches' tokens behind the last norm (n, 196, 192)."""
    states = run(tower, pixels)[:, -196:]
    bare = type(tower).__name__ == "CLIPVisionModel"
    return tower.post_layernorm(states) if bare else states  # type: ignore[operator]


def align(source: nn.Module, target: nn.Module, pictures: NDArray[np.uint8], steps: int, batch: int = 16) -> str:
    """Regress the patches' features of a tower onto the encoder's; gives the share that it explains, before and
    after, of pictures that it did not learn from."""
    random = np.random.default_rng(0)
    last = pixels_of(pictures[-64:])
    before = explained(source, target, last)
    optimiser = torch.optim.AdamW(target.parameters(), 2e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-4, total_steps=max(steps, 10), pct_start=0.1)
    start = time.time()
    for step in range(steps):
        chosen = np.sort(random.choice(len(pictures) - 64, batch, replace=False))
        pixels = pixels_of(pictures[chosen], bool(step % 2))
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                wanted = _patches(source, pixels)
            loss = F.mse_loss(_patches(target, pixels).float(), wanted.float())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(target.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    after = explained(source, target, last)
    return f"explains {before:.4f}, after {steps} steps ({time.time() - start:.0f} s) {after:.4f} of the features"


@torch.no_grad()
def explained(source: nn.Module, target: nn.Module, pixels: Tensor) -> float:
    """1 minus the share of the variance of the encoder's patches that a tower has not."""
    wanted = _patches(source, pixels)
    error = (_patches(target, pixels) - wanted).square().mean()
    return float(1 - error / (wanted - wanted.mean((0, 1))).square().mean())


@torch.no_grad()
def features(tower: nn.Module, pictures: NDArray[np.uint8], file: Path) -> NDArray[np.uint16]:
    """(2, n, tokens, 192) bfloat16 as uint16, of every picture and of its mirror image; computed once, into `file`."""
    if not file.exists():
        half = file.with_suffix(".part")
        tokens = run(tower, pixels_of(pictures[:1])).shape[1]
        found = np.lib.format.open_memmap(half, "w+", np.uint16, (2, len(pictures), tokens, SHAPE["hidden_size"]))
        for mirror, place in ((mirror, place) for mirror in (0, 1) for place in range(0, len(pictures), 32)):
            with torch.autocast("cpu", torch.bfloat16):
                values = run(tower, pixels_of(pictures[place : place + 32], bool(mirror)))
            found[mirror, place : place + 32] = values.bfloat16().view(torch.uint16).numpy()
        found.flush()
        half.rename(file)
    return np.load(file, mmap_mode="r")
