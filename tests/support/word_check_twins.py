"""Checks of words written from their formulas, token by token in float64, on networks loaded apart: transformers' with
attention written out by transformers, regard's own with attention by its formula; and the small captioners for them."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import captioners
import catr_twin
import numpy as np
import timm
import torch
from captioners import picture
from PIL import Image
from torch import Tensor, nn

from regard.data.images.longest_side import LongestSide
from regard.data.images.preparation import Preparation
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.families.catr import CatrCaptioner
from regard.networks.captioners.families.encoder_decoder import DecoderShape, EncoderDecoder, EncoderDecoderCaptioner
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.wordpiece import Span, WordPiece
from regard.records import PatchGrid

CROSS = ("encoder_decoder", "blip", "blip2_t5", "florence2")
"""Decoders of transformers with an attention of their own to the picture."""
CHAT = ("tiled", "merged", "llava_next", "paligemma2", "git", "blip2")
OWN = ("catr", "describer")
LAYER = 1
"""The layer behind which hidden states are read here, of three (of regard's own, two)."""
IMAGES = picture(60, 100), picture(60, 100, 1)


@dataclass(frozen=True)
class Case:
    """A captioner that is awake, two pictures as it takes them, and a caption of the first."""

    kind: str
    network: CaptionNetwork
    folder: Path
    prompt: str | None
    prepared: PreparedPicture
    other: PreparedPicture
    tokens: tuple[int, ...]
    words: tuple[Span, ...]

    @classmethod
    def of(cls, kind: str, folder: Path) -> "Case":
        if kind in OWN:
            network = {"catr": small_catr, "describer": small_describer}[kind]()
        else:
            network = load_caption_network(str(getattr(captioners, kind)(folder)))
        prompt = None if kind in OWN else "a cat"
        prepared, other = (network.prepare(image, prompt) for image in IMAGES)
        tokens = network.generate([prepared], limit=6)[0].tokens
        if len(tokens) < 5:
            tokens = (*tokens[:-1], *(12, 9, 10, 11, 8)[: 6 - len(tokens)], tokens[-1])
        words = (Span("More", 0, 1), Span("of three", 1, 4), *(Span("more", k, k + 1) for k in range(4, len(tokens))))
        return cls(kind, network, folder, prompt, prepared, other, tokens, words)


def small_catr() -> CatrCaptioner:
    """On 3 × 3 patches."""
    module = catr_twin.small_catr(torch.stack(catr_twin.pictures(*[(33, 48)] * 2)))
    pieces = [f"w{token}" for token in range(module.vocabulary)]
    for token, piece in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]"}.items():
        pieces[token] = piece
    vocabulary = WordPiece(tuple(pieces), {piece: token for token, piece in enumerate(pieces)})
    return CatrCaptioner(module, vocabulary=vocabulary, preparation=LongestSide(48))


def small_describer() -> EncoderDecoderCaptioner:
    """An encoder of timm with 4 × 4 patches and a decoder of two layers, both of random values and awake."""
    torch.manual_seed(3)
    encoder = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=0
    )
    module = EncoderDecoder(encoder, DecoderShape(20, 2, 3, 32, 4, 2, 24)).eval()
    with torch.no_grad():
        for name, part in module.named_parameters():
            if part.ndim > 1:
                sharp = any(key in name for key in ("qkv", "in_proj", "pos_embed", "word_emb"))
                part.normal_(0, (3 if sharp else 1) / math.sqrt(part[0].numel() if "emb" not in name else 1))
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{token}" for token in range(4, 19)), "##s")
    vocabulary = WordPiece(pieces, {piece: token for token, piece in enumerate(pieces)})
    return EncoderDecoderCaptioner(module, vocabulary, Preparation(32, 32, "squash"), {"name": "tiny"})


@dataclass(frozen=True)
class Pass:
    """What a twin reads of one pass: log-probabilities of all tokens of the vocabulary in the rows that predict the
    caption's, (tokens, vocabulary); attention (layers, heads, rows, keys) among tokens in these rows, and to the
    picture's patches (heads, rows, patches) in the last layer; states behind `LAYER`, from the row before the first
    token on, and of the patches; and the last norm and head."""

    logs: Tensor
    among: Tensor
    maps: Tensor
    words: Tensor | None = None
    patches: Tensor | None = None
    head: Callable[[Tensor], Tensor] | None = None
    picture_keys: tuple[int, ...] = ()


def run(case: Case, prepared: PreparedPicture) -> Pass:
    with torch.no_grad():
        if case.kind in OWN:
            return _own(case, prepared)
        module = _double(type(case.network.module), case.folder)
        return (_chat if case.kind in CHAT else _cross)(case, module, prepared)


@lru_cache(maxsize=1)
def _double(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64).eval()


def _inputs(case: Case, prepared: PreparedPicture) -> dict[str, Tensor]:
    inputs = {name: value.double() if value.is_floating_point() else value for name, value in prepared.inputs.items()}
    if case.kind in CROSS:
        return inputs
    inputs.pop("attention_mask")
    more = torch.tensor([case.tokens])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], more], dim=1)
    for name, value in (("mm_token_type_ids", 0), ("token_type_ids", 1)):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.full_like(more, value)], dim=1)
    return inputs


def _chat(case: Case, module: Any, prepared: PreparedPicture) -> Pass:
    count = len(case.tokens) + 1
    output = module(**_inputs(case, prepared), output_attentions=True, output_hidden_states=True)
    inside = output.language_model_outputs if case.kind == "blip2" else output
    among = torch.stack(inside.attentions)[:, 0, :, -count:-1]  # (layers, heads, rows, keys)
    if case.kind == "git":
        places = list(range(1, 17))
    else:
        token = 3 if case.kind in ("llava_next", "blip2", "paligemma2") else module.config.image_token_id
        places = [place for place, each in enumerate(prepared.inputs["input_ids"][0].tolist()) if each == token]
    lying = [True] * len(places) if prepared.spread is None else (prepared.spread.sum(1) > 0).tolist()
    to_picture = among[-1][..., places]
    if case.kind == "blip2":
        seen = module.vision_model(prepared.inputs["pixel_values"].double()).last_hidden_state
        looks = module.qformer(module.query_tokens, encoder_hidden_states=seen, output_attentions=True)
        mean = torch.stack([layer for layer in looks.cross_attentions if layer is not None and len(layer)])
        to_picture = to_picture @ mean[:, 0].mean((0, 1))[:, 1:]
    elif prepared.spread is not None:
        to_picture = to_picture @ prepared.spread.double()
    states = inside.hidden_states[LAYER + 1][0]
    kept = [place for place, lies in zip(places, lying, strict=True) if lies]
    logs = output.logits[0, -count:-1].log_softmax(-1)
    return Pass(logs, among, to_picture, states[-count:], states[kept], _head(case.kind, module), tuple(places))


def _head(kind: str, module: Any) -> Callable[[Tensor], Tensor]:
    if kind == "git":
        return lambda x: module.output(x)
    if kind == "blip2":
        return lambda x: module.language_model.lm_head(module.language_model.model.decoder.final_layer_norm(x))
    inside = module.model.text_model if kind == "tiled" else module.model.language_model
    if kind == "paligemma2":
        return lambda x: 30 * torch.tanh(module.lm_head(inside.norm(x)) / 30)
    return lambda x: module.lm_head(inside.norm(x))


def _cross(case: Case, module: Any, prepared: PreparedPicture) -> Pass:
    whole, first = torch.tensor([[*prepared.start, *case.tokens]]), len(prepared.start) - 1
    inputs = _inputs(case, prepared)
    prefix = 1
    if case.kind == "blip":
        seen = module.vision_model(pixel_values=inputs["pixel_values"]).last_hidden_state
        output = module.text_decoder(input_ids=whole, encoder_hidden_states=seen, output_attentions=True)
    else:
        output = module(**inputs, decoder_input_ids=whole, output_attentions=True)
    inside = output.language_model_outputs if case.kind == "blip2_t5" else output
    among = torch.stack(inside.get("decoder_attentions", inside.get("attentions")))[:, 0, :, first:-1]
    cross = inside.cross_attentions[-1][0, :, first:-1]
    if case.kind in ("blip2_t5", "florence2"):
        cross = cross[..., (inputs["input_ids"][0] == 3).nonzero()[:, 0]]
        prefix = int(case.kind == "florence2")
    if case.kind == "blip2_t5":
        seen = module.vision_model(inputs["pixel_values"]).last_hidden_state
        looks = module.qformer(module.query_tokens, encoder_hidden_states=seen, output_attentions=True)
        mean = torch.stack([layer for layer in looks.cross_attentions if layer is not None and len(layer)])
        cross, prefix = cross @ mean[:, 0].mean((0, 1))[:, 1:], 0
    logs = output.logits[0, first:-1].log_softmax(-1)
    if case.kind != "encoder_decoder":
        return Pass(logs, among, cross[..., prefix:])
    return Pass(logs, among, cross[..., prefix:], *_gpt2(module, inputs, whole, first))


def _gpt2(module: Any, inputs: dict[str, Tensor], whole: Tensor, first: int) -> tuple[Any, ...]:
    """States of words; of each patch what the layer adds to a word where it is the only patch there is; the head."""
    states = module(**inputs, decoder_input_ids=whole, output_hidden_states=True).decoder_hidden_states[LAYER + 1]
    seen = module.encoder(**inputs).last_hidden_state
    if module.encoder.config.hidden_size != module.decoder.config.hidden_size:
        seen = module.enc_to_dec_proj(seen)
    looks = module.decoder.transformer.h[LAYER].crossattention
    asks = torch.randn(1, 1, module.decoder.config.hidden_size, dtype=torch.float64)
    patches = [looks(asks, encoder_hidden_states=seen[:, k : k + 1])[0][0, 0] for k in range(1, seen.shape[1])]
    norm = module.decoder.transformer.ln_f
    return states[0, first:], torch.stack(patches), lambda x: module.decoder.lm_head(norm(x))


def _own(case: Case, prepared: PreparedPicture) -> Pass:
    module: Any = copy.deepcopy(case.network.module).double()
    return _decoded(case, module, module.encode(prepared.inputs["pixels"][None].double()))


def _decoded(case: Case, module: Any, memory: Any) -> Pass:
    weights: dict[nn.Module, Tensor] = {}
    states: list[Tensor] = []
    for layer in module.decoder_layers:
        for part in (layer.self_attn, layer.multihead_attn):
            part.forward = _written_out(part, weights)
        layer.register_forward_hook(lambda part, inputs, output: states.append(output[0]))
    logits = module.decode(torch.tensor([[module.start, *case.tokens]]), memory)[0]
    among = torch.stack([weights[layer.self_attn][0, :, :-1] for layer in module.decoder_layers])
    maps = weights[module.decoder_layers[-1].multihead_attn][0, :, :-1]
    looked = module.decoder_layers[LAYER].multihead_attn
    patches = []
    for place in range(memory.keys[LAYER].shape[2]):  # a word that looks at one patch alone, whatever it asks
        key, value = (each[LAYER][:, :, place : place + 1] for each in (memory.keys, memory.values))
        patches.append(looked.forward(torch.randn_like(key), key, value)[0, 0])
    norm, head = _own_head(case.kind, module)
    rows = logits[:-1].log_softmax(-1)
    return Pass(rows, among, maps, states[LAYER], torch.stack(patches), lambda x: head(norm(x)))


def _own_head(kind: str, module: Any) -> tuple[Any, Any]:
    if kind == "catr":
        return module.transformer.decoder.norm, module.mlp
    return module.speech.decoder.norm, module.speech.head


def _written_out(part: Any, weights: dict[nn.Module, Tensor]) -> Callable[..., Tensor]:
    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
        scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
        weights[part] = scores.softmax(-1)
        out: Tensor = part.out_proj((weights[part] @ v).transpose(1, 2).flatten(2))
        return out

    return forward


# the formulas


def quick(case: Case) -> dict[str, list[float]]:
    """Each check that costs a pass or three, for each word; those that the network lacks are left out."""
    own, another = run(case, case.prepared), run(case, case.other)
    none = run(case, grey(case))
    count = len(case.tokens)
    values: dict[str, list[float]] = {"log_probability": [float(own.logs[t, case.tokens[t]]) for t in range(count)]}
    for name, contrast in (("gain_over_none", none), ("gain_over_another", another)):
        values[name] = [values["log_probability"][t] - float(contrast.logs[t, case.tokens[t]]) for t in range(count)]
    layers = range(5 * len(own.among) // 32, 18 * len(own.among) // 32 + 1)
    among = sum(own.among[layer].mean(0) for layer in layers).numpy() / len(layers)  # (rows, keys)
    before = among.shape[1] - count  # keys that are no tokens of the caption
    values["text_attention"] = [-sum(float(among[t, before + s]) for s in range(t)) for t in range(count)]
    if own.picture_keys:
        values["picture_attention"] = [sum(float(among[t, key]) for key in own.picture_keys) for t in range(count)]
        values["viser_ratio"] = [_ratio(among[t], own.picture_keys) for t in range(count)]
    if own.words is not None and own.patches is not None and own.head is not None:
        values |= _lens(case, own.words, own.patches, own.head)
    if "viser_ratio" in values:
        values["viser"] = [
            0.4 * e + 0.6 * r for e, r in zip(values["viser_evidence"], values["viser_ratio"], strict=True)
        ]
    found = {
        name: [(math.fsum if name.startswith(("log", "gain")) else _mean)(each[w.start : w.stop]) for w in case.words]
        for name, each in values.items()
    }
    found |= _chosen(case, own) | _moves(case, own, {"none": none, "another": another})
    found["concentration"] = [_concentration(own.maps[:, w.start : w.stop].mean((0, 1)).numpy()) for w in case.words]
    return found


def _chosen(case: Case, own: Pass) -> dict[str, list[float]]:
    """Over the whole vocabulary, which has no more than 64 tokens that count; and by the tokens to each side."""
    logs = [float(own.logs[place, token]) for place, token in enumerate(case.tokens)]
    margins, certainties = [], []
    for place, token in enumerate(case.tokens):
        row = own.logs[place].tolist()
        margins.append(logs[place] - max(value for other, value in enumerate(row) if other != token))
        best = sorted((math.exp(value) for value in row), reverse=True)
        rest = math.fsum(best[64:])
        certainties.append(math.fsum(chance * math.log(chance) for chance in (*best[:64], rest) if chance > 0))
    return {
        "margin": [min(margins[word.start : word.stop]) for word in case.words],
        "certainty": [min(certainties[word.start : word.stop]) for word in case.words],
        "least_before": [min([0.0, *logs[max(0, word.start - 3) : word.start]]) for word in case.words],
        "least_after": [min([0.0, *logs[word.stop : word.stop + 3]]) for word in case.words],
    }


def _moves(case: Case, own: Pass, contrasts: dict[str, Pass]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"repetition": [], "moved_by_none": [], "moved_by_another": []}
    for place, word in enumerate(case.words):
        mine = _shares(own, word)
        before = [each for each in case.words[:place] if each.text.lower() == word.text.lower()]
        shared = [math.fsum(min(p, q) for p, q in zip(mine, _shares(own, each), strict=True)) for each in before]
        found["repetition"].append(-max(shared, default=0.0))
        for name, contrast in contrasts.items():
            their = _shares(contrast, word)
            found[f"moved_by_{name}"].append(math.fsum(abs(p - q) for p, q in zip(mine, their, strict=True)) / 2)
    return found


def _shares(of: Pass, word: Span) -> list[float]:
    """The word's map, brought to sum to 1."""
    values = of.maps[:, word.start : word.stop].mean((0, 1)).flatten().tolist()
    return [value / math.fsum(values) for value in values]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _ratio(row: np.ndarray, picture_keys: Sequence[int]) -> float:
    to_picture = sorted((row[key] for key in picture_keys), reverse=True)[:10]
    to_text = sorted((value for key, value in enumerate(row) if key not in picture_keys), reverse=True)[:10]
    return float(sum(to_picture) / (sum(to_picture) + sum(to_text)))


def _cosine(one: Tensor, two: Tensor) -> float:
    return float(one @ two) / math.sqrt(float(one @ one) * float(two @ two))


@torch.no_grad()
def _lens(case: Case, words: Tensor, patches: Tensor, head: Callable[[Tensor], Tensor]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ("glsim", "glsim_global", "glsim_local", "viser_evidence")}
    for place, token in enumerate(case.tokens):
        says = [float(head(patch).softmax(-1)[token]) for patch in patches]
        best = sorted(range(len(says)), key=lambda patch: -says[patch])[:32]
        state = words[place + 1]
        found["glsim_global"].append(_cosine(state, words[0]))
        found["glsim_local"].append(_mean([_cosine(state, patches[patch]) for patch in best]))
        found["glsim"].append(0.6 * found["glsim_global"][-1] + 0.4 * found["glsim_local"][-1])
        found["viser_evidence"].append(_cosine(words[place], state) / (1 + math.exp(-math.fsum(says))))
    return found


def _concentration(values: np.ndarray) -> float:
    shares = [float(each) / float(values.sum()) for each in values.ravel()]
    entropy = -math.fsum(share * math.log(share) for share in shares if share > 0)
    return 1 - entropy / math.log(len(shares))


def grey(case: Case) -> PreparedPicture:
    """The picture that stands for none: mid-grey, of the same size, with the same prompt."""
    return case.network.prepare(Image.new("RGB", IMAGES[0].size, (128, 128, 128)), case.prompt)


# with patches taken out


def without(case: Case, visible: np.ndarray) -> list[float]:
    """The log-probability of each token where only the patches `visible` (rows, columns) are there."""
    if case.kind == "describer":
        return _without_tokens(case, visible)
    prepared = case.network.prepare(painted(IMAGES[0], case.prepared.grid, visible), case.prompt)
    logs = run(case, replace(prepared, start=case.prepared.start)).logs
    return [float(logs[place, token]) for place, token in enumerate(case.tokens)]


def painted(image: Image.Image, grid: PatchGrid, visible: np.ndarray) -> Image.Image:
    """Pixel by pixel: the mean colour where the patch over a pixel is not visible."""
    pixels = np.array(image)
    mean = [round(float(pixels[..., channel].mean())) for channel in range(3)]
    left, top, right, bottom = grid.box
    for row in range(grid.rows):
        for column in range(grid.columns):
            if visible[row, column]:
                continue
            high, wide = (bottom - top) / grid.rows, (right - left) / grid.columns
            for y in range(pixels.shape[0]):
                inside = round(top + row * high) <= y < round(top + (row + 1) * high)
                for x in range(pixels.shape[1]) if inside else ():
                    if round(left + column * wide) <= x < round(left + (column + 1) * wide):
                        pixels[y, x] = mean
    return Image.fromarray(pixels)


def _without_tokens(case: Case, visible: np.ndarray) -> list[float]:
    """The encoder part by part, its other patches never there; each patch with what was added for its place."""
    module: Any = copy.deepcopy(case.network.module).double()
    encoder = module.encoder
    with torch.no_grad():
        x = encoder.patch_embed(case.prepared.inputs["pixels"][None].double())
        x = torch.cat([encoder.cls_token, x], dim=1) + encoder.pos_embed
        keep = [0, *(1 + place for place in np.flatnonzero(visible))]
        x = x[:, keep]
        for block in encoder.blocks:
            x = block(x)
        features = module.speech.project(encoder.norm(x)[:, 1:])
        positions = _sines(*visible.shape, 32)[np.flatnonzero(visible)][None]
        shape = (1, features.shape[1])
        memory = module.speech.decoder.memory(features, torch.from_numpy(positions), *shape, (shape,), None)
        logs = _decoded(case, module, memory).logs
    return [float(logs[place, token]) for place, token in enumerate(case.tokens)]


def _sines(rows: int, columns: int, width: int) -> np.ndarray:
    """DETR's sine encoding of a whole grid, (patches, width): of the row, then of the column."""
    found = []
    for row in range(rows):
        for column in range(columns):
            values = []
            for place, count in ((row, rows), (column, columns)):
                angle = (place + 1) / (count + 1e-6) * 2 * math.pi
                for wave in range(width // 4):
                    speed = 10000 ** (4 * wave / width)
                    values += [math.sin(angle / speed), math.cos(angle / speed)]
            found.append(values)
    return np.array(found)
