"""Waking random networks: as initialised their attention is uniform and their head nearly zero, so that a test of
parity would pass whatever was wrong (removing all attention would change their logits by 2e-5).

What each layer attends to is written out here without regard's code: fused attention off and what goes into the
attention's dropout, torch's own multi-head attention asked for its weights, or the paper's formula.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import open_clip.transformer
import torch
from torch import Tensor, nn

PEAK = 0.3
"""Every layer's largest attention weight must exceed this (a tenth would be uniform in the smallest networks here)."""


def wake(module: nn.Module, queries_keys: Iterable[Tensor], attention: Callable[[], list[Tensor]]) -> nn.Module:
    """Random values for all that starts at zero or one, then q and k scaled until each layer's attention is peaked.

    `attention` runs the network's own written-out attention and gives (B, heads, tokens, tokens) for each layer.
    """
    generator = torch.Generator().manual_seed(1)
    queries_keys = list(queries_keys)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            if "freq" in name:  # a rotation's, which are no weights
                continue
            if re.search(r"lambda_[qkab]", name):  # differential attention's: their exponentials count
                parameter.copy_(0.3 * noise)
            elif (parameter.ndim == 1 and name.endswith("weight")) or "gamma" in name or "lambda" in name:
                parameter.copy_(1 + 0.1 * noise)
            elif parameter.ndim < 2 or "pos" in name or "token" in name:
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
        for parameter in queries_keys:
            parameter *= 2
        for _ in range(30):
            if is_awake(attention()):
                return module
            for parameter in queries_keys:
                parameter *= 1.3
    raise AssertionError("the network did not wake")


def is_awake(attention: list[Tensor]) -> bool:
    """Whether there are layers and each of them looks somewhere."""
    return bool(attention) and min(float(layer.max()) for layer in attention) > PEAK


def queries_keys(module: nn.Module) -> Iterator[Tensor]:
    """What makes queries and keys in a network of any of the libraries, and their norms, which undo its scale."""
    for part in module.modules():
        for name in ("q_proj", "k_proj", "q", "k", "query", "key", "q_norm", "k_norm", "ln_q", "ln_k"):
            weight = getattr(getattr(part, name, None), "weight", None)
            if isinstance(weight, Tensor):
                yield weight.detach()
        for name in ("qkv.weight", "in_proj_weight", "kv.weight", "q_proj_weight", "k_proj_weight"):
            owner = part if "." not in name else getattr(part, name.partition(".")[0], None)
            weight = getattr(owner, name.rpartition(".")[2], None)
            if isinstance(weight, Tensor):
                share = {"q": 1.0, "k": 1.0}.get(name.partition("_")[0], 0.5 if name.startswith("kv") else 2 / 3)
                yield weight.detach()[: round(share * len(weight))]
        if hasattr(part, "in_split"):  # a block's MLP, queries, keys and values in one
            mlp, width = part.in_split[:2]
            yield part.in_proj.weight.detach()[mlp : mlp + 2 * width]


def written_out(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A timm ViT with fused attention switched off: logits, and (B, heads, queries, keys) of each layer as they run."""
    rows: list[Tensor] = []
    parts = [part for part in module.modules() if hasattr(part, "fused_attn")]
    fused = [part.fused_attn for part in parts]
    hooks = [hook for part in module.modules() for hook in _listen(part, len(x), rows.append)]
    grid = (
        module.patch_embed.dynamic_feat_size(x.shape[-2:]) if type(module).__name__ == "VisionTransformerSAM" else None
    )
    try:
        for part in parts:
            part.fused_attn = False
        with torch.no_grad():
            return module.eval()(x), [_unwindowed(layer, len(x), grid) for layer in rows]
    finally:
        for part, was in zip(parts, fused, strict=True):
            part.fused_attn = was
        for hook in hooks:
            hook.remove()


def _listen(part: nn.Module, batch: int, give: Callable[[Tensor], None]) -> list:
    kind = type(part).__name__
    if kind == "TalkingHeadAttn":
        return [part.register_forward_pre_hook(lambda part, args: give(_talking_heads(part, args[0])))]
    if kind == "AttentionPoolLatent":
        return [part.register_forward_pre_hook(lambda part, args: give(_latent_pool(part, args[0])))]
    if not (hasattr(part, "fused_attn") and hasattr(part, "attn_drop")):
        return []
    if kind in ("DiffAttention", "DiffParallelScalingBlock"):
        return [part.attn_drop.register_forward_pre_hook(lambda _, args: give(_difference(part, args[0])))]
    return [part.attn_drop.register_forward_pre_hook(lambda _, args: give(_with_heads(args[0], part.num_heads)))]


def _with_heads(rows: Tensor, heads: int) -> Tensor:
    """SAM's attention keeps its heads in the batch."""
    return rows.unflatten(0, (-1, heads)) if rows.ndim == 3 else rows


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _talking_heads(part: nn.Module, x: Tensor) -> Tensor:
    """arXiv 2003.02436: heads mixed before and after the softmax."""
    q, k, _ = part.qkv(x).chunk(3, dim=-1)
    q, k = _split(q, part.num_heads), _split(k, part.num_heads)
    logits = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
    mixed = torch.einsum("hi,biqk->bhqk", part.proj_l.weight, logits) + part.proj_l.bias[:, None, None]
    return torch.einsum("hi,biqk->bhqk", part.proj_w.weight, mixed.softmax(-1)) + part.proj_w.bias[:, None, None]


def _latent_pool(part: nn.Module, x: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) with a learned query."""
    k = part.k_norm(_split(part.kv(x).chunk(2, dim=-1)[0], part.num_heads))
    q = part.q_norm(_split(part.q(part.latent), part.num_heads)).expand(len(x), -1, -1, -1)
    return torch.einsum("bhqd,bhkd->bhqk", q, k).div(math.sqrt(q.shape[-1])).softmax(-1)


def _difference(part: nn.Module, rows: Tensor) -> Tensor:
    """arXiv 2410.05258, eq. 1 and 2: A₁ - λ A₂."""
    first = torch.exp((part.lambda_q1 * part.lambda_k1).sum()) - torch.exp((part.lambda_q2 * part.lambda_k2).sum())
    return rows[:, 0::2] - (first + part.lambda_init) * rows[:, 1::2]


def _unwindowed(rows: Tensor, batch: int, grid: tuple[int, int] | None) -> Tensor:
    """Attention inside windows of SAM's grid, at its place among all patches; other attention stays as it is."""
    if grid is None or (len(rows) == batch and rows.shape[-1] == math.prod(grid)):
        return rows
    (down, across), side = grid, math.isqrt(rows.shape[-1])
    windows = -(-across // side)  # in a row
    whole = torch.zeros(batch, rows.shape[1], down * across, down * across)
    for query in range(down * across):
        for key in range(down * across):
            (top, left), (low, right) = divmod(query, across), divmod(key, across)
            if top // side == low // side and left // side == right // side:
                window = top // side * windows + left // side
                inside = top % side * side + left % side, low % side * side + right % side
                whole[:, :, query, key] = rows.unflatten(0, (batch, -1))[:, window, :, inside[0], inside[1]]
    return whole


def wake_timm(module: nn.Module, x: Tensor) -> nn.Module:
    """A timm ViT, awake on x."""
    return wake(module, queries_keys(module), lambda: written_out(module, x)[1])


@contextmanager
def asked_for_weights(module: nn.Module, rows: list[Tensor]) -> Iterator[None]:
    """Every `nn.MultiheadAttention` that runs inside also gives its weights, by head, as torch itself makes them.

    open_clip's own attention, which has no way without fused attention that works, gives them by the formula.
    """

    def ask(part: nn.MultiheadAttention, args: tuple, kwargs: dict) -> None:
        given = {**dict(zip(("query", "key", "value"), args, strict=False)), **kwargs}
        asked = {**given, "need_weights": True, "average_attn_weights": False}
        rows.append(nn.MultiheadAttention.forward(part, **asked)[1])

    def make(part: nn.Module, args: tuple, kwargs: dict) -> None:
        q, k, _ = nn.functional.linear(args[0], part.in_proj_weight, part.in_proj_bias).chunk(3, dim=-1)
        q, k = part.ln_q(_split(q, part.num_heads)), part.ln_k(_split(k, part.num_heads))
        rows.append(torch.einsum("bhqd,bhkd->bhqk", q, k).div(math.sqrt(q.shape[-1])).softmax(-1))

    kinds = {nn.MultiheadAttention: ask, open_clip.transformer.Attention: make}
    hooks = [
        part.register_forward_pre_hook(kinds[type(part)], with_kwargs=True)
        for part in module.modules()
        if type(part) in kinds
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def error(came: Tensor, right: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((came.double() - right.double()).abs().max() / right.double().abs().max())
