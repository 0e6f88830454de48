"""Slow twins: every method once more, in float64, straight from its paper's formula, over the ViT of `vit_twin`.

Nothing of regard is imported: whole N × N matrices, and a loop where the formula has a sum. A twin takes `(vit,
picture, target)`, picture (3, height, width) float64 and target a class or the contrast of two; it gives (rows,
columns).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from vit_twin import Libra, Rules, Run, Target, Vit, block, embed, forward, grid, norm, read, run_on, scaled, score

Twin = Callable[..., Tensor]


# what looks at attention


def attention(
    vit: Vit,
    picture: Tensor,
    target: Target = 0,
    layer: int | None = None,
    head: int | None = None,
    query: tuple[int, int] | None = None,
) -> Tensor:
    """The row of one layer; 2010.11929, appendix A, eq. 6."""
    heads = run_on(vit, picture).attention
    last = len(heads) - 1 if query is None else vit.depth - 1
    found = heads[last if layer is None else layer]
    matrix = found.mean(0) if head is None else found[head]
    return grid(vit, _row(vit, matrix, query)[vit.prefix :])


def _row(vit: Vit, matrix: Tensor, query: tuple[int, int] | None = None) -> Tensor:
    """(N,): of (queries, N), what the head reads, or a patch."""
    if query is not None:
        return matrix[vit.prefix + query[0] * vit.grid[1] + query[1]]
    if len(matrix) == 1 or vit.reads == "cls":
        return matrix[0]
    return matrix[vit.prefix :].mean(0)


def rollout(
    vit: Vit, picture: Tensor, target: Target = 0, query: tuple[int, int] | None = None, start: int = 0
) -> Tensor:
    """Ã = Π ½ (A + I); 2005.00928, section 3."""
    heads = run_on(vit, picture).attention
    identity = torch.eye(heads[0].shape[-1], dtype=torch.float64)
    rolled = identity
    for layer in range(start, vit.depth):
        rolled = 0.5 * (heads[layer].mean(0) + identity) @ rolled
    if vit.reads == "pool" and query is None:
        rolled = heads[vit.depth].mean(0) @ rolled
    return grid(vit, _row(vit, rolled, query)[vit.prefix :])


def grad_attention(vit: Vit, picture: Tensor, target: Target, start: int = 0) -> Tensor:
    """Ā = E_h[(∂y/∂A ⊙ A)⁺], R ← R + Ā R; 2103.15679, eq. 5 and 6."""
    run = run_on(vit, picture)
    slopes = torch.autograd.grad(score(run.logits, target), run.attention)
    relevance = torch.eye(run.inputs[0].shape[0], dtype=torch.float64)
    for layer in range(start, vit.depth):
        helping = (slopes[layer] * run.attention[layer]).clamp(min=0).mean(0)
        relevance = relevance + helping @ relevance
    if vit.reads == "pool":
        relevance = (slopes[-1] * run.attention[-1]).clamp(min=0).mean(0) @ relevance
    return grid(vit, _row(vit, relevance)[vit.prefix :])


def transition(vit: Vit, picture: Tensor, target: Target, start: int | None = None, steps: int = 20) -> Tensor:
    """R ← R + Ā diag(‖γ ⊙ W_O v‖ / ‖z‖) R, and W ⊙ R with integrated gradients W; Beyond Intuition, token-wise."""
    run = run_on(vit, picture)
    relevance = torch.eye(run.inputs[0].shape[0], dtype=torch.float64)
    for layer in range(vit.depth // 2 if start is None else start, vit.depth):
        given = scaled(vit, f"blocks.{layer}.ls1", run.values[layer] @ vit[f"blocks.{layer}.attn.proj.weight"].T)
        lengths = given.norm(dim=-1) / run.inputs[layer].norm(dim=-1)
        relevance = relevance + run.attention[layer].mean(0) @ torch.diag(lengths) @ relevance
    if vit.reads == "pool":
        relevance = run.attention[-1].mean(0) @ relevance
    total = torch.zeros_like(run.attention[-1])
    for alpha in np.linspace(0, 1, steps):
        scaled_run = run_on(vit, float(alpha) * picture)
        total += torch.autograd.grad(score(scaled_run.logits, target), scaled_run.attention[-1])[0]
    weights = (total / steps).clamp(min=0).mean(0)
    return grid(vit, _row(vit, weights * relevance)[vit.prefix :])


def legrad(vit: Vit, picture: Tensor, target: Target, start: int | None = None) -> Tensor:
    """E_l = mean over heads and queries of (∂s_l/∂A_l)⁺, averaged over the last blocks; 2404.03214, section 3."""
    start = vit.depth - 2 if start is None else start
    run, found = run_on(vit, picture), torch.zeros(vit.patches, dtype=torch.float64)
    for layer in range(start, vit.depth):
        own = Run(torch.empty(0))
        tokens = run.inputs[layer].detach().requires_grad_()
        out = block(vit, layer, tokens, own)
        if vit.reads != "pool":  # every token is the mean token, whichever the head reads
            out = out.mean(0, keepdim=True).expand(len(out), -1)
        logits = read(vit, out, own)
        slope = torch.autograd.grad(score(logits, target), own.attention[-1])[0]  # (heads, queries, N)
        found += slope.clamp(min=0).mean((0, 1))[vit.prefix :] / (vit.depth - start)
    return grid(vit, found)


def logit_lens(vit: Vit, picture: Tensor, target: Target, layer: int | None = None) -> Tensor:
    """The class's probability where one patch's token stands in the place of all; of two classes, between the two."""
    run = run_on(vit, picture)
    last = vit.depth - 1 if layer is None else layer
    out = block(vit, last, run.inputs[last], Run(torch.empty(0))).detach()
    found = []
    for token in out[vit.prefix :]:
        logits = read(vit, token.expand(len(out), -1), Run(torch.empty(0)))
        some = logits[list(target)] if isinstance(target, tuple) else logits
        found.append(some.exp()[0 if isinstance(target, tuple) else target] / some.exp().sum())
    return grid(vit, torch.stack(found).detach())


def direct_logit(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    """The shares of the patches, in logits."""
    return grid(vit, direct_shares(vit, picture, target)[vit.prefix :])


def direct_shares(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    """(N,): the row that the head reads, of each head, times ⟨direction, W_O v⟩ of each token; the direction is that of
    the head, γ of the final norm and centring undone, over its deviation. Elhage et al. 2021; 2310.05916, eq. 8."""
    run = run_on(vit, picture)
    direction = score(vit["head.weight"], target)
    path, attention, tokens = f"blocks.{vit.depth - 1}", run.attention[-1], run.outputs[-1]
    if vit.reads == "pool":
        value = norm(vit, "norm", tokens, Rules()) @ vit["attn_pool.kv.weight"].chunk(2)[1].T
        value, project = value + vit["attn_pool.kv.bias"].chunk(2)[1], vit["attn_pool.proj.weight"]
    else:
        name, stream = ("norm", tokens[0]) if vit.reads == "cls" else ("fc_norm", tokens[vit.prefix :].mean(0))
        deviation = (((stream - stream.mean()) ** 2).mean() + vit.eps).sqrt()
        direction = direction * vit[f"{name}.weight"]
        direction = scaled(vit, f"{path}.ls1", (direction - direction.mean()) / deviation)
        value, project = run.values[-1], vit[f"{path}.attn.proj.weight"]
    size = len(project) // vit.heads
    found = torch.zeros(len(value), dtype=torch.float64)
    for head, token in itertools.product(range(vit.heads), range(len(value))):
        part = slice(head * size, (head + 1) * size)
        given = direction @ project[:, part] @ value[token, part]
        found[token] += (_row(vit, attention[head])[token] * given).detach()
    return found


# what has a gradient


@dataclass(frozen=True)
class FullGrad:
    """By block, token · gradient (N,); bias · gradient (N,); those of biases behind the pooling; and the logit."""

    tokens: list[Tensor]
    biases: Tensor
    rest: Tensor
    logit: Tensor


def fullgrad(vit: Vit, picture: Tensor, target: Target) -> FullGrad:
    """2411.16760, definition 1, on a forward that holds constant what LibraGrad's rules do."""
    rules, tokens = Libra(), embed(vit, picture).detach().requires_grad_()
    run = forward(vit, tokens, rules)
    logit = score(run.logits, target)
    places = [*run.inputs, *(out for out, _ in rules.added)]
    slopes = torch.autograd.grad(logit, places, allow_unused=True)
    by_block = [(x * slope).sum(-1).detach() for x, slope in zip(run.inputs, slopes[: vit.depth], strict=True)]
    biases, rest = torch.zeros(len(tokens), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for (_, bias), slope in zip(rules.added, slopes[vit.depth :], strict=True):
        if slope is None:  # of a query, which only constants depend on
            continue
        part = (bias * slope).sum(-1).detach()
        if part.shape == biases.shape:
            biases += part
        else:
            rest += part.sum()
    return FullGrad(by_block, biases, rest, logit.detach())


def libra_fullgrad(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    parts = fullgrad(vit, picture, target)
    return grid(vit, (parts.tokens[0] + parts.biases)[vit.prefix :])


def libra_fullgrad_plus(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    parts = fullgrad(vit, picture, target)
    return grid(vit, (sum(parts.tokens) + parts.biases)[vit.prefix :])


def dave(vit: Vit, picture: Tensor, target: Target, samples: int = 50, seed: int = 0) -> Tensor:
    """G * mean over T of T⁻¹(∇ at T(x), by LibraGrad's rules, ⊙ T(x)); 2602.06613. Mirrored at the edge."""
    _, height, width = picture.shape
    total, shown = np.zeros((height, width)), np.zeros((height, width))
    middle = np.array([[1, 0, (height - 1) / 2], [0, 1, (width - 1) / 2], [0, 0, 1]])
    for turn, down, across in np.random.default_rng(seed).uniform(-1, 1, (samples, 3)):
        cosine, sine = math.cos(math.radians(20 * turn)), math.sin(math.radians(20 * turn))
        moving = [[cosine, sine, down * vit.patch[0] / 2], [-sine, cosine, across * vit.patch[1] / 2], [0, 0, 1]]
        there = middle @ np.array(moving) @ np.linalg.inv(middle)  # from (y, x, 1) in T(x) to that in x
        moved = np.zeros(picture.shape)
        for y, x in itertools.product(range(height), range(width)):
            for (a, b), weight in _corners(there @ (y, x, 1)):
                moved[:, y, x] += weight * picture[:, _mirrored(a, height), _mirrored(b, width)].numpy()
        pixels = torch.from_numpy(moved).requires_grad_()
        logits = forward(vit, embed(vit, pixels), Libra()).logits
        slope = torch.autograd.grad(score(logits, target), pixels)[0].numpy()
        found = (moved * slope).sum(0)
        for y, x in itertools.product(range(height), range(width)):
            for (a, b), weight in _corners(np.linalg.solve(there, (y, x, 1))):
                if 0 <= a < height and 0 <= b < width:
                    total[y, x] += weight * found[a, b]
                    shown[y, x] += weight
    mean = np.divide(total, shown, out=np.zeros_like(total), where=shown > 0)
    smooth = np.zeros_like(mean)
    for y, x in itertools.product(range(height), range(width)):
        down, across = (
            np.exp(-(((np.arange(n) - place) / (side / 4)) ** 2) / 2)
            for n, place, side in ((height, y, vit.patch[0]), (width, x, vit.patch[1]))
        )
        weights = np.outer(down, across)
        smooth[y, x] = (weights * mean).sum() / weights.sum()
    return torch.from_numpy(smooth)


def _corners(place: np.ndarray) -> list[tuple[tuple[int, int], float]]:
    """The four pixels around a place (y, x, 1), and how much of each it takes."""
    y, x = (math.floor(each) for each in place[:2])
    v, u = place[0] - y, place[1] - x
    return [((y, x), (1 - v) * (1 - u)), ((y, x + 1), (1 - v) * u), ((y + 1, x), v * (1 - u)), ((y + 1, x + 1), v * u)]


def _mirrored(index: int, count: int) -> int:
    index %= 2 * count
    return index if index < count else 2 * count - 1 - index


def gradcam(vit: Vit, picture: Tensor, target: Target, layer: int | None = None) -> Tensor:
    """(Σ_c mean_p(∂y/∂a_c) a_c)⁺; 1610.02391, eq. 1 and 2, at the tokens that a layer's attention gets."""
    run = run_on(vit, picture)
    tokens = run.normed[vit.depth - 1 if layer is None else layer]
    slopes = torch.autograd.grad(score(run.logits, target), tokens)[0]
    weights = slopes[vit.prefix :].mean(0)
    return grid(vit, (tokens[vit.prefix :] @ weights).clamp(min=0))


def by_cell(vit: Vit, values: Tensor) -> Tensor:
    """(3, height, width) → (rows, columns): sums."""
    found, (down, across) = torch.zeros(vit.grid, dtype=torch.float64), vit.patch
    for colour, y, x in itertools.product(*map(range, values.shape)):
        found[y // down, x // across] += values[colour, y, x].detach()
    return found


def pixel_gradient(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    pixels = picture.clone().requires_grad_()
    return torch.autograd.grad(score(forward(vit, embed(vit, pixels)).logits, target), pixels)[0]


def input_x_gradient(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    """1605.01713, section 3."""
    return by_cell(vit, picture * pixel_gradient(vit, picture, target))


def integrated_gradients(
    vit: Vit, picture: Tensor, target: Target, steps: int = 32, rule: str = "gauss-legendre"
) -> Tensor:
    """x · ∫ ∂y/∂x over the way from grey; 1703.01365, eq. 1; by the "midpoint" of many steps, or Gauss-Legendre's."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    if rule == "midpoint":
        nodes, weights = (np.arange(steps) + 0.5) / steps * 2 - 1, np.full(steps, 2 / steps)
    total = torch.zeros_like(picture)
    for node, weight in zip(nodes, weights, strict=True):
        total += float(weight) / 2 * pixel_gradient(vit, (float(node) + 1) / 2 * picture, target)
    return by_cell(vit, picture * total)


# what changes something


def occlusion(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    """y(x) - y(x with one patch grey); 1311.2901, section 4.2."""
    found, (down, across) = torch.zeros(vit.grid, dtype=torch.float64), vit.patch
    whole = score(run_on(vit, picture).logits, target).detach()
    for row, column in itertools.product(range(vit.grid[0]), range(vit.grid[1])):
        covered = picture.clone()
        covered[:, row * down : (row + 1) * down, column * across : (column + 1) * across] = 0
        found[row, column] = whole - score(run_on(vit, covered).logits, target).detach()
    return found


def activation_patching(
    vit: Vit, picture: Tensor, target: Target, start: int | None = None, count: int | None = None
) -> Tensor:
    """y(grey with one patch's tokens behind the middle blocks) - y(grey); after 2603.13652."""
    first = vit.depth // 3 if start is None else start
    blocks = range(first, first + (vit.depth - 2 * (vit.depth // 3) if count is None else count))
    own, grey = run_on(vit, picture).outputs, embed(vit, torch.zeros_like(picture))
    neutral = score(forward(vit, grey).logits, target).detach()
    found = torch.zeros(vit.patches, dtype=torch.float64)
    for patch in range(vit.patches):

        def put_back(index: int, x: Tensor, token: int = vit.prefix + patch) -> Tensor:
            if index not in blocks:
                return x
            changed = x.clone()
            changed[token] = own[index][token]
            return changed

        found[patch] = score(forward(vit, grey, edit=put_back).logits, target).detach() - neutral
    return grid(vit, found)


def worth(vit: Vit, picture: Tensor, target: Target) -> Callable[[frozenset[int]], float]:
    """The logit with these patches alone; without any token at all, that of one token of zeros."""
    tokens = embed(vit, picture)
    nothing = torch.zeros(1, tokens.shape[1], dtype=torch.float64)

    @cache
    def of(kept: frozenset[int]) -> float:
        chosen = [tokens[: vit.prefix], *(tokens[[vit.prefix + patch]] for patch in sorted(kept))]
        left = torch.cat(chosen if kept or vit.reads == "cls" else [tokens[: vit.prefix], nothing])
        return float(score(forward(vit, left).logits, target))

    return of


def shapley(vit: Vit, picture: Tensor, target: Target) -> Tensor:
    """φ_p over all orders; Shapley 1953."""
    of = worth(vit, picture, target)
    found, orders = torch.zeros(vit.patches, dtype=torch.float64), math.factorial(vit.patches)
    for order in itertools.permutations(range(vit.patches)):
        for place, patch in enumerate(order):
            found[patch] += (of(frozenset(order[: place + 1])) - of(frozenset(order[:place]))) / orders
    return grid(vit, found)


# what looks at nothing


def centre(vit: Vit, picture: Tensor, target: Target = 0) -> Tensor:
    """1 - distance to the middle, in units of a corner's, on the picture squashed to a square."""
    found = torch.zeros(vit.grid, dtype=torch.float64)
    for row, column in itertools.product(range(vit.grid[0]), range(vit.grid[1])):
        y, x = (row + 0.5) / vit.grid[0], (column + 0.5) / vit.grid[1]
        found[row, column] = 1 - math.hypot(y - 0.5, x - 0.5) / math.hypot(0.5, 0.5)
    return found


def edges(vit: Vit, picture: Tensor, target: Target = 0) -> Tensor:
    """The mean over each patch of the length of (Sobel across, Sobel down) of the mean colour, edges repeated."""
    grey, (height, width) = picture.mean(0), picture.shape[1:]

    def at(y: int, x: int) -> float:
        return float(grey[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])

    found = torch.zeros(vit.grid, dtype=torch.float64)
    for y, x in itertools.product(range(height), range(width)):
        across = sum(w * (at(y + d, x + 1) - at(y + d, x - 1)) for d, w in ((-1, 1), (0, 2), (1, 1))) / 8
        down = sum(w * (at(y + 1, x + d) - at(y - 1, x + d)) for d, w in ((-1, 1), (0, 2), (1, 1))) / 8
        found[y // vit.patch[0], x // vit.patch[1]] += math.hypot(across, down) / math.prod(vit.patch)
    return found


TWINS: dict[str, Twin] = {
    twin.__name__: twin
    for twin in (
        attention,
        rollout,
        grad_attention,
        transition,
        legrad,
        libra_fullgrad,
        libra_fullgrad_plus,
        dave,
        logit_lens,
        direct_logit,
        gradcam,
        input_x_gradient,
        integrated_gradients,
        occlusion,
        activation_patching,
        shapley,
        centre,
        edges,
    )
}
"""By the name of the method; `random` has none, being noise."""
