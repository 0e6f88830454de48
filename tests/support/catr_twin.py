"""CATR's slow twin: the original way, in float64, with torch's own attention and positions by their formula.

The backbone is run again for each token, all 128 positions go through the decoder, and masks stand for what is not
there yet. Nothing is kept from step to step. Beside it, a small CATR that is awake (see `woken`).
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from woken import is_awake, wake

from regard.networks.captioners.families.catr import Catr, CatrShape

SMALL = CatrShape(
    width=32, heads=4, feedforward=64, encoder_layers=2, decoder_layers=3, vocabulary=200, positions=24, hidden=48,
    blocks=(1, 1, 1, 1), bottleneck=8,
)  # fmt: skip


@dataclass
class Twin:
    """One run of the twin: logits (batch, tokens, vocabulary), and all attention as (batch, heads, query, key)."""

    logits: Tensor
    cross: list[Tensor]
    encoder: list[Tensor]
    itself: list[Tensor]

    def maps(self, index: int, tokens: int) -> Tensor:
        """(layers, heads, tokens, patches) of one picture."""
        return torch.stack([layer[index, :, :tokens] for layer in self.cross])


def run(catr: Catr, pixels: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Twin:
    """`tokens` (batch, positions) padded with zeros; `mask` (batch, height, width) true on padding."""
    weights = {name: value.double() for name, value in catr.state_dict().items()}
    with torch.no_grad():
        features = copy.deepcopy(catr.backbone).double()(pixels.double())
        features = torch.nn.functional.conv2d(features, weights["input_proj.weight"], weights["input_proj.bias"])
        batch, width, rows, columns = features.shape
        padding = _small(mask, batch, rows, columns)
        places = torch.stack([_sines(each, width) for each in padding])
        found = Twin(torch.empty(0), [], [], [])
        x, padding = features.flatten(2).transpose(1, 2), padding.flatten(1)
        for layer in range(catr.shape.encoder_layers):
            x = _encoder_layer(
                weights, f"transformer.encoder.layers.{layer}.", catr.shape.heads, x, places, padding, found
            )
        x = _norm(weights, "transformer.encoder.norm", x)
        found.logits = _decoder(weights, catr.shape, x, places, padding, tokens, found)
    return found


def greedy(catr: Catr, pixels: Tensor, steps: int, mask: Tensor | None = None) -> list[list[int]]:
    """The original's loop: everything again for each token, which is read at the place of the last one."""
    tokens = torch.zeros(len(pixels), catr.shape.positions, dtype=torch.long)
    tokens[:, 0] = catr.start
    for step in range(steps):
        tokens[:, step + 1] = run(catr, pixels, tokens, mask).logits[:, step].argmax(-1)
    return tokens[:, 1 : steps + 1].tolist()


def beam_search(catr: Catr, picture: Tensor, beams: int, penalty: float) -> tuple[int, ...]:
    """One picture's search, each beam's caption gone through from its start at every step."""
    still, ended = [(0.0, ())], list[tuple[float, tuple[int, ...]]]()
    with torch.no_grad():
        memory = catr.encode(picture[None])
        for length in range(1, catr.limit + 1):
            options = []
            for score, caption in still:
                logits = catr.decode(torch.tensor([[catr.start, *caption]]), memory)
                steps = logits[0, -1].log_softmax(-1).tolist()
                options += [(score + step, (*caption, token)) for token, step in enumerate(steps)]
            best = sorted(options, reverse=True)[: 2 * beams]
            ended += [(score / length**penalty, each) for score, each in best[:beams] if each[-1] == catr.stop]
            ended = sorted(ended, reverse=True)[:beams]
            still = [option for option in best if option[1][-1] != catr.stop][:beams]
            if len(ended) == beams and still[0][0] / length**penalty <= ended[-1][0]:
                return ended[0][1]
    return max([*ended, *((score / length**penalty, each) for score, each in still)])[1]


def padded(catr: Catr, caption: tuple[int, ...]) -> Tensor:
    """(1, positions): start and caption, then zeros."""
    return torch.tensor([[catr.start, *caption, *[0] * (catr.shape.positions - 1 - len(caption))]])


def small_catr(pictures: Tensor) -> Catr:
    """A CATR of random values, awake on these pictures: every layer looks somewhere."""
    torch.manual_seed(0)
    catr = Catr(SMALL).eval()
    projections = [part for name, part in catr.named_parameters() if name.endswith("in_proj_weight")]
    tokens = torch.randint(1, SMALL.vocabulary, (len(pictures), SMALL.positions))

    def attention() -> list[Tensor]:
        twin = run(catr, pictures, tokens)
        return [*twin.cross, *twin.encoder, *(layer[:, :, 6:] for layer in twin.itself)]  # early rows have few keys

    wake(catr, [part.detach()[: 2 * SMALL.width] for part in projections], attention)
    with torch.no_grad():  # what is said must depend on the words before and on the picture, not on the place alone
        catr.transformer.embeddings.word_embeddings.weight *= 10
        for layer in catr.transformer.decoder.layers:
            layer.multihead_attn.in_proj_weight[2 * SMALL.width :] *= 4
        while not is_awake(attention()):
            for part in projections:
                part[: 2 * SMALL.width] *= 1.3
        last, logits = catr.mlp.layers[2], run(catr, pictures, tokens).logits
        last.bias -= logits.mean((0, 1))
        for parameter in (last.weight, last.bias):
            parameter *= 3 / logits.std((0, 1)).mean()
    return catr


def pictures(*sizes: tuple[int, int]) -> list[Tensor]:
    """(3, height, width) for each size: blots of colour that differ, in [-1, 1]."""
    generator = torch.Generator().manual_seed(3)
    blots = [torch.rand(1, 3, 3, 4, generator=generator) * 2 - 1 for _ in sizes]
    return [nn.functional.interpolate(each, size)[0] for each, size in zip(blots, sizes, strict=True)]


def _small(mask: Tensor | None, batch: int, rows: int, columns: int) -> Tensor:
    """The mask at the size of the feature map, by nearest neighbour: the pixel at floor(place × pixels / patches)."""
    if mask is None:
        return torch.zeros(batch, rows, columns, dtype=torch.bool)
    down = [math.floor(row * mask.shape[1] / rows) for row in range(rows)]
    across = [math.floor(column * mask.shape[2] / columns) for column in range(columns)]
    return mask[:, down][:, :, across]


def _sines(padding: Tensor, width: int) -> Tensor:
    """(rows, columns) → (rows × columns, width), from the formula, number by number."""
    rows, columns = int((~padding[:, 0]).sum()), int((~padding[0]).sum())
    table = torch.zeros(*padding.shape, width, dtype=torch.float64)
    for row in range(rows):
        for column in range(columns):
            for axis, (place, count) in enumerate(((row + 1, rows), (column + 1, columns))):
                for feature in range(width // 2):
                    angle = place / (count + 1e-6) * 2 * math.pi / 10000 ** (2 * (feature // 2) / (width // 2))
                    wave = math.cos(angle) if feature % 2 else math.sin(angle)
                    table[row, column, axis * (width // 2) + feature] = wave
    return table.flatten(0, 1)


def _norm(weights: dict[str, Tensor], name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    return nn.functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def _linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _attend(
    weights: dict[str, Tensor], name: str, heads: int, query: Tensor, key: Tensor, value: Tensor, **masks: Tensor | None
) -> tuple[Tensor, Tensor]:
    attention = nn.MultiheadAttention(query.shape[-1], heads, batch_first=True, dtype=torch.float64)
    attention.load_state_dict({part: weights[f"{name}.{part}"] for part in attention.state_dict()})
    return attention(query, key, value, need_weights=True, average_attn_weights=False, **masks)


def _encoder_layer(
    weights: dict[str, Tensor], name: str, heads: int, x: Tensor, places: Tensor, padding: Tensor, found: Twin
) -> Tensor:
    y = _norm(weights, f"{name}norm1", x)
    y, rows = _attend(weights, f"{name}self_attn", heads, y + places, y + places, y, key_padding_mask=padding)
    found.encoder.append(rows)
    x = x + y
    return x + _feed_forward(weights, name, _norm(weights, f"{name}norm2", x))


def _feed_forward(weights: dict[str, Tensor], name: str, y: Tensor) -> Tensor:
    return _linear(weights, f"{name}linear2", _linear(weights, f"{name}linear1", y).relu())


def _decoder(
    weights: dict[str, Tensor], shape: CatrShape, memory: Tensor, places: Tensor, padding: Tensor, tokens: Tensor,
    found: Twin,
) -> Tensor:  # fmt: skip
    table = weights["transformer.embeddings.position_embeddings.weight"]
    x = _norm(
        weights,
        "transformer.embeddings.LayerNorm",
        weights["transformer.embeddings.word_embeddings.weight"][tokens] + table,
        1e-12,
    )
    causal = torch.ones(len(table), len(table), dtype=torch.bool).triu(1)
    missing = (tokens == 0) & (torch.arange(len(table)) > 0)
    for layer in range(shape.decoder_layers):
        name = f"transformer.decoder.layers.{layer}."
        y = _norm(weights, f"{name}norm1", x)
        y, rows = _attend(
            weights,
            f"{name}self_attn",
            shape.heads,
            y + table,
            y + table,
            y,
            attn_mask=causal,
            key_padding_mask=missing,
        )
        found.itself.append(rows)
        x = x + y
        y = _norm(weights, f"{name}norm2", x) + table
        y, rows = _attend(
            weights, f"{name}multihead_attn", shape.heads, y, memory + places, memory, key_padding_mask=padding
        )
        found.cross.append(rows)
        x = x + y
        x = x + _feed_forward(weights, name, _norm(weights, f"{name}norm3", x))
    x = _norm(weights, "transformer.decoder.norm", x)
    x = _linear(weights, "mlp.layers.1", _linear(weights, "mlp.layers.0", x).relu()).relu()
    return _linear(weights, "mlp.layers.2", x)
