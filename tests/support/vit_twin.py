"""A ViT written out in float64 from its weights alone, one picture at a time: what the twins of the methods stand on.

Nothing of regard is imported, and nothing of timm is run: weights go in, and what is computed can be read below.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Target = int | tuple[int, int]


@dataclass(frozen=True, eq=False)
class Vit:
    """A ViT as its weights: `prefix` tokens before the patches, and what the head `reads`: "cls", "patches", "pool"."""

    weights: dict[str, Tensor]
    depth: int
    heads: int
    prefix: int
    reads: str
    grid: tuple[int, int]
    patch: tuple[int, int]
    eps: float

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[name]

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]


def written_out(module: Any, reads: str) -> Vit:
    """The weights of a timm VisionTransformer in float64, and its sizes."""
    return Vit(
        weights={name: weight.detach().double() for name, weight in module.state_dict().items()},
        depth=len(module.blocks),
        heads=module.blocks[0].attn.num_heads,
        prefix=module.num_prefix_tokens,
        reads=reads,
        grid=module.patch_embed.grid_size,
        patch=module.patch_embed.patch_size,
        eps=module.blocks[0].norm1.eps,
    )


class Rules:
    """How a forward is computed: here, as it is."""

    def constant(self, x: Tensor) -> Tensor:
        """What a rule may hold constant."""
        return x

    def plus(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + bias

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.plus(x @ weight.T, bias)

    def norm(self, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return self.plus((x - mean) / self.constant((variance + eps).sqrt()) * weight, bias)

    def gelu(self, x: Tensor) -> Tensor:
        return x * self.constant(0.5 * (1 + torch.erf(x / math.sqrt(2))))


class Libra(Rules):
    """LibraGrad's: attention weights, deviations and gates constant; and every bias is noted where it is added."""

    def __init__(self) -> None:
        self.added: list[tuple[Tensor, Tensor]] = []

    def constant(self, x: Tensor) -> Tensor:
        return x.detach()

    def plus(self, x: Tensor, bias: Tensor) -> Tensor:
        out = x + bias
        if out.requires_grad:  # else no picture comes by: a learned query's
            self.added.append((out, bias))
        return out


AS_IT_IS = Rules()


@dataclass
class Run:
    """What passed: by block, tokens (N, width) and attention (heads, N, N); a pooling's (heads, 1, N) comes last."""

    logits: Tensor
    inputs: list[Tensor] = field(default_factory=list)
    normed: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)


def embed(vit: Vit, picture: Tensor) -> Tensor:
    """(N, width): what the first block gets."""
    (down, across), (rows, columns) = vit.patch, vit.grid
    weight, bias = vit["patch_embed.proj.weight"].flatten(1), vit["patch_embed.proj.bias"]
    tokens = [vit[name][0] for name in ("cls_token", "reg_token") if name in vit.weights]
    for row in range(rows):
        for column in range(columns):
            top, left = row * down, column * across
            pixels = picture[:, top : top + down, left : left + across]
            tokens.append((weight @ pixels.flatten() + bias)[None])
    return torch.cat(tokens) + vit["pos_embed"][0]


def split_heads(x: Tensor, heads: int) -> list[Tensor]:
    return list(x.chunk(heads, dim=-1))


def softmax_attention(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """(heads, queries, keys) = softmax(q kᵀ / √d), of (tokens, width)."""
    pairs = zip(split_heads(q, heads), split_heads(k, heads), strict=True)
    return torch.stack([(one @ other.T / math.sqrt(one.shape[-1])).softmax(-1) for one, other in pairs])


def weighed(attention: Tensor, v: Tensor) -> Tensor:
    """(queries, width): heads concatenated."""
    parts = split_heads(v, len(attention))
    return torch.cat([weights @ part for weights, part in zip(attention, parts, strict=True)], dim=-1)


def mlp(vit: Vit, path: str, x: Tensor, rules: Rules) -> Tensor:
    hidden = rules.gelu(rules.linear(x, vit[f"{path}.fc1.weight"], vit[f"{path}.fc1.bias"]))
    return rules.linear(hidden, vit[f"{path}.fc2.weight"], vit[f"{path}.fc2.bias"])


def norm(vit: Vit, path: str, x: Tensor, rules: Rules) -> Tensor:
    return rules.norm(x, vit[f"{path}.weight"], vit[f"{path}.bias"], vit.eps)


def scaled(vit: Vit, path: str, x: Tensor) -> Tensor:
    """LayerScale, where there is one."""
    return x * vit[f"{path}.gamma"] if f"{path}.gamma" in vit.weights else x


def block(vit: Vit, index: int, x: Tensor, run: Run, rules: Rules = AS_IT_IS) -> Tensor:
    """x + attention(norm(x)), then the same with the MLP; what passes is kept in `run`."""
    path = f"blocks.{index}"
    normed = norm(vit, f"{path}.norm1", x, rules)
    joined = rules.linear(normed, vit[f"{path}.attn.qkv.weight"], vit[f"{path}.attn.qkv.bias"])
    q, k, v = joined.chunk(3, dim=-1)
    attention = rules.constant(softmax_attention(q, k, vit.heads))
    mixed = weighed(attention, v)
    given = rules.linear(mixed, vit[f"{path}.attn.proj.weight"], vit[f"{path}.attn.proj.bias"])
    middle = x + scaled(vit, f"{path}.ls1", given)
    changed = mlp(vit, f"{path}.mlp", norm(vit, f"{path}.norm2", middle, rules), rules)
    out = middle + scaled(vit, f"{path}.ls2", changed)
    for kept, value in zip(
        (run.inputs, run.normed, run.values, run.attention, run.outputs), (x, normed, v, attention, out), strict=True
    ):
        kept.append(value)
    return out


def pool(vit: Vit, tokens: Tensor, run: Run, rules: Rules) -> Tensor:
    """(width,): SigLIP's pooling by a learned query, with an MLP behind it."""
    path = "attn_pool"
    q = rules.linear(vit[f"{path}.latent"][0], vit[f"{path}.q.weight"], vit[f"{path}.q.bias"])
    k, v = rules.linear(tokens, vit[f"{path}.kv.weight"], vit[f"{path}.kv.bias"]).chunk(2, dim=-1)
    attention = rules.constant(softmax_attention(q, k, vit.heads))
    run.attention.append(attention)
    x = rules.linear(weighed(attention, v), vit[f"{path}.proj.weight"], vit[f"{path}.proj.bias"])
    return (x + mlp(vit, f"{path}.mlp", norm(vit, f"{path}.norm", x, rules), rules))[0]


def read(vit: Vit, tokens: Tensor, run: Run, rules: Rules = AS_IT_IS) -> Tensor:
    """(classes,): what the head makes of the tokens behind the last block."""
    if vit.reads == "patches":
        features = norm(vit, "fc_norm", tokens[vit.prefix :].mean(0), rules)
    elif vit.reads == "cls":
        features = norm(vit, "norm", tokens, rules)[0]
    else:
        features = pool(vit, norm(vit, "norm", tokens, rules), run, rules)
    return rules.linear(features, vit["head.weight"], vit["head.bias"])


Edit = Callable[[int, Tensor], Tensor]


def forward(vit: Vit, tokens: Tensor, rules: Rules = AS_IT_IS, edit: Edit = lambda index, x: x) -> Run:
    """All blocks and the head from tokens (n, width) on; `edit` may change what a block gives."""
    run = Run(torch.empty(0))
    for index in range(vit.depth):
        tokens = edit(index, block(vit, index, tokens, run, rules))
    run.logits = read(vit, tokens, run, rules)
    return run


def run_on(vit: Vit, picture: Tensor) -> Run:
    return forward(vit, embed(vit, picture).requires_grad_())


def score(logits: Tensor, target: Target) -> Tensor:
    return logits[target] if isinstance(target, int) else logits[target[0]] - logits[target[1]]


def grid(vit: Vit, values: Tensor) -> Tensor:
    """(patches,) → (rows, columns)."""
    found = torch.zeros(vit.grid, dtype=torch.float64)
    for row, column in itertools.product(range(vit.grid[0]), range(vit.grid[1])):
        found[row, column] = values[row * vit.grid[1] + column].detach()
    return found
