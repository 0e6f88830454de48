"""Methods of kind `word`, each against a slow twin in float64 and cases solved by hand, and how much a word depends on
its picture."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import captioners
import catr_twin
import numpy as np
import pytest
import torch
from captioners import picture
from PIL import Image
from torch import Tensor

import regard
from regard.data.images.longest_side import LongestSide
from regard.errors import UsageError
from regard.explanation import METHODS
from regard.explanation.words.dependence import GREY, dependence, grey_picture, map_distance, resized
from regard.explanation.words.methods import cross_attention, fitting, grad_cross_attention, propagated
from regard.explanation.words.token_activation import prompt_places, rank_gaussian, tam, unexplained
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.families.catr import CatrCaptioner
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.transformer import Attention
from regard.networks.captioners.wordpiece import Span, WordPiece
from regard.records import PatchGrid

CROSS, CHAT = ("encoder_decoder", "blip"), ("tiled", "merged")
KINDS = (*CROSS, *CHAT, "catr")
PROMPT = "a cat"
METHODS_OF = {
    **dict.fromkeys((*CROSS, "catr"), ("cross_attention", "grad_cross_attention")),
    **dict.fromkeys(CHAT, ("cross_attention", "tam")),
}


@dataclass
class Case:
    """A captioner that is awake, two pictures of other shapes as it takes them, and what it says of the first."""

    kind: str
    captioner: CaptionNetwork
    prepared: PreparedPicture
    other: PreparedPicture
    tokens: tuple[int, ...]
    folder: Path | None = None

    def double(self) -> Any:
        """The same network, loaded apart in float64, its attention written out by transformers."""
        kind = type(self.captioner.module)
        return kind.from_pretrained(self.folder, attn_implementation="eager", dtype=torch.float64).eval()


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    made: dict[str, Case] = {}

    def case(kind: str) -> Case:
        if kind not in made:
            made[kind] = _catr() if kind == "catr" else _of_transformers(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return case


def _of_transformers(kind: str, folder: Path) -> Case:
    captioner = load_caption_network(str(getattr(captioners, kind)(folder)))
    prepared, other = (captioner.prepare(picture(*size), PROMPT) for size in ((60, 100), (100, 60)))
    return Case(kind, captioner, prepared, other, captioner.generate([prepared], limit=5)[0].tokens, folder)


def _catr() -> Case:
    """On 3 × 3 patches, few enough to take every attention apart."""
    module = catr_twin.small_catr(torch.stack(catr_twin.pictures(*[(33, 48)] * 2)))
    pieces = [f"w{token}" for token in range(module.vocabulary)]
    for token, piece in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 5: "##s"}.items():
        pieces[token] = piece
    vocabulary = WordPiece(tuple(pieces), {piece: token for token, piece in enumerate(pieces)})
    captioner = CatrCaptioner(module, vocabulary=vocabulary, preparation=LongestSide(48))
    prepared, other = captioner.prepare(picture(66, 96)), captioner.prepare(picture(96, 50, 1))
    return Case("catr", captioner, prepared, other, captioner.generate([prepared], limit=5)[0].tokens)


def near(came: Any, right: Any, within: float = 1e-4) -> None:
    """The largest difference is small beside the largest value, which is not nothing."""
    came, right = np.asarray(came, np.float64), np.asarray(right, np.float64)
    assert came.shape == right.shape
    assert np.abs(right).max() > 1e-6
    assert np.abs(came - right).max() < within * np.abs(right).max()


# cross_attention


@pytest.mark.parametrize("kind", KINDS)
def test_cross_attention_is_what_force_gives(cases: Any, kind: str) -> None:
    case = cases(kind)
    given = case.captioner, case.prepared, case.tokens
    whole = case.captioner.teacher_force([case.prepared], [case.tokens], capture=Capture(None, None))[
        0
    ].attention.numpy()
    assert whole.max() > 0.1  # awake: else any map would do
    found = cross_attention(*given)
    assert found.dtype == np.float32
    near(found, whole[-1].mean(0)[:-1], 1e-5)
    near(cross_attention(*given, row="reading"), whole[-1].mean(0)[1:], 1e-5)
    near(cross_attention(*given, layer=0, head=2), whole[0, 2, :-1], 1e-5)
    assert np.abs(found - whole[-1].mean(0)[1:]).max() > 0.01  # the two rows differ


# grad_cross_attention


def _attentions(output: Any) -> tuple[list[Tensor], list[Tensor]]:
    itself = output.get("decoder_attentions", output.get("attentions"))
    return list(itself), list(output.cross_attentions)


def _pass(case: Case, module: Any) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Log-probabilities (rows, vocabulary) and all attention of one pass of its own."""
    pixels = case.prepared.inputs["pixel_values"].double()
    whole = torch.tensor([[*case.prepared.start, *case.tokens]])
    if case.kind == "blip":
        seen = module.vision_model(pixel_values=pixels).last_hidden_state
        output = module.text_decoder(input_ids=whole, encoder_hidden_states=seen, output_attentions=True)
    else:
        output = module(pixel_values=pixels, decoder_input_ids=whole, output_attentions=True)
    return output.logits[0].log_softmax(-1), *_attentions(output)


def _helping(case: Case, module: Any, place: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(A ⊙ ∇A)⁺ of each layer and head, (heads, rows, keys), for one token, from a pass and a backward of its own."""
    steps, itself, cross = _pass(case, module)
    for each in (*itself, *cross):
        each.retain_grad()
    steps[len(case.prepared.start) - 1 + place, case.tokens[place]].backward()
    found = [[(each * each.grad).clamp(min=0)[0].detach().numpy() for each in kind] for kind in (itself, cross)]
    module.zero_grad()
    return found[0], found[1]


def _through(itself: list[np.ndarray], cross: list[np.ndarray]) -> np.ndarray:
    """Eq. 6 to 10, number by number."""
    rows, keys = cross[0].shape[1:]
    tokens, found = np.eye(rows), np.zeros((rows, keys))
    for own, looks in zip(itself, cross, strict=True):
        own, looks = sum(own) / len(own), sum(looks) / len(looks)
        found, tokens = found + own @ found, tokens + own @ tokens
        hat = np.eye(rows)
        for row in range(rows):
            added = tokens[row] - np.eye(rows)[row]
            if added.sum() > 0:
                hat[row] += added / added.sum()
        for source in range(rows):
            for key in range(keys):
                found[source, key] += sum(hat[query, source] * looks[query, key] for query in range(rows))
    return found


@pytest.mark.parametrize("kind", CROSS)
def test_grad_cross_attention_is_its_slow_twin(cases: Any, kind: str) -> None:
    case = cases(kind)
    module, given = case.double(), (case.captioner, case.prepared, case.tokens)
    first, shape = len(case.prepared.start) - 1, (case.prepared.grid.rows, case.prepared.grid.columns)
    assert first == len(case.captioner.tokenizer.encode(PROMPT, add_special_tokens=False)) > 0
    maps: dict[str, list[np.ndarray]] = {name: [] for name in ("last", "first", "head", "through", "later")}
    for place in range(len(case.tokens)):
        itself, cross = _helping(case, module, place)
        row = first + place
        maps["last"].append(sum(cross[-1][:, row]) / 4)
        maps["first"].append(sum(cross[0][:, row]) / 4)
        maps["head"].append(cross[1][3, row])
        maps["through"].append(_through(itself, cross)[row])
        maps["later"].append(_through(itself[1:], cross[1:])[row])
    right = {name: np.stack(each)[:, 1:].reshape(-1, *shape) for name, each in maps.items()}  # CLS away
    near(grad_cross_attention(*given), right["last"])
    near(grad_cross_attention(*given, layer=2), right["last"])
    near(grad_cross_attention(*given, layer=0), right["first"])
    near(grad_cross_attention(*given, layer=1, head=3), right["head"])
    near(grad_cross_attention(*given, start=0), right["through"])
    near(grad_cross_attention(*given, start=1), right["later"])


def _adding(part: Attention, more: Tensor | None) -> Callable[..., Tensor]:
    """Multi-head attention by its formula, with something added to its weights."""

    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = scores.softmax(-1)
        part.noted = weights.detach()  # type: ignore[assignment]
        return part.out_proj(((weights if more is None else weights + more) @ v).transpose(1, 2).flatten(2))

    return forward


def test_catr_gradients_are_differences(cases: Any) -> None:
    """Every weight of every layer moved a little, to and fro: what the third token's log-probability does then."""
    case, place, step = cases("catr"), 2, 1e-5
    module = copy.deepcopy(case.captioner.module).double()
    whole = torch.tensor([[module.start, *case.tokens]])
    layers = module.transformer.decoder.layers
    with torch.no_grad():
        memory = module.encode(case.prepared.inputs["pixels"][None].double())

        def log() -> float:
            return float(module.decode(whole, memory)[0, place].log_softmax(-1)[case.tokens[place]])

        def helping(part: Attention) -> np.ndarray:
            part.forward = _adding(part, None)  # type: ignore[method-assign]
            log()
            weights = part.noted[0]
            found = torch.zeros_like(weights)
            for head, row, key in (weights[:, : place + 1] > 0).nonzero().tolist():
                more = torch.zeros_like(weights)
                sides = []
                for sign in (step, -step):
                    more[head, row, key] = sign
                    part.forward = _adding(part, more)  # type: ignore[method-assign]
                    sides.append(log())
                found[head, row, key] = weights[head, row, key] * (sides[0] - sides[1]) / (2 * step)
            del part.forward
            return found.clamp(min=0).numpy()

        itself = [helping(layer.self_attn) for layer in layers]
        cross = [helping(layer.multihead_attn) for layer in layers]
    given = case.captioner, case.prepared, case.tokens
    for layer in range(3):
        near(grad_cross_attention(*given, layer=layer)[place], cross[layer].mean(0)[place].reshape(3, 3), 1e-3)
    near(grad_cross_attention(*given, start=0)[place], _through(itself, cross)[place].reshape(3, 3), 1e-3)


def test_propagation_by_hand() -> None:
    """Two tokens, two patches, two layers; then rows to which nothing is added."""
    itself = [torch.tensor([[0.5, 0], [1, 0.5]]), torch.tensor([[0.0, 0], [1, 0]])]
    cross = [torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[0.0, 0], [0, 3]])]
    near(propagated(itself[:1], cross[:1]), [[2, 4 / 3], [0, 8 / 3]], 1e-6)
    near(propagated(itself, cross), [[2, 4 / 3 + 5 / 2], [2, 15 / 2]], 1e-6)
    near(propagated([torch.zeros(2, 2)], cross[:1]), cross[0], 1e-6)


def _hooks(module: torch.nn.Module) -> list[int]:
    return [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_left_as_it_was(cases: Any, kind: str) -> None:
    """Also where the caller wants no gradients, trains, or has frozen a part."""
    case = cases(kind)
    module = case.captioner.module
    name = METHODS_OF[kind][1]
    right = METHODS.load(name)(case.captioner, case.prepared, case.tokens)
    frozen = next(module.parameters())
    config = getattr(module, "config", None)
    before = None if config is None else copy.deepcopy(config.to_dict())
    hooks = _hooks(module)  # transformers puts some there itself, for good
    try:
        module.train()
        frozen.requires_grad = False
        for how in (torch.inference_mode(), torch.no_grad(), torch.enable_grad()):
            with how:
                near(METHODS.load(name)(case.captioner, case.prepared, case.tokens), right, 1e-5)
        assert all(part.training for part in module.modules())
        assert not frozen.requires_grad
        assert sum(not each.requires_grad for each in module.parameters()) == 1
        assert all(each.grad is None for each in module.parameters())
        assert _hooks(module) == hooks
        assert not any("forward" in vars(part) for part in module.modules())
        assert config is None or config.to_dict() == before
    finally:
        frozen.requires_grad = True
        module.eval()


# tam


def _tam(case: Case) -> np.ndarray:
    """The authors' code's rounds, from all logits (places, vocabulary) in float64, number by number."""
    inputs = {name: value.double() if value.is_floating_point() else value for name, value in _extended(case).items()}
    with torch.no_grad():
        logits = case.double()(**inputs).logits[0].numpy()
    cap = getattr(case.captioner.config, "final_logit_softcapping", None)  # type: ignore[attr-defined]
    if cap is not None:  # the head's rows are meant, as they are before that
        logits = cap * np.arctanh(logits / cap)
    start, before = case.prepared.start, len(logits) - len(case.prepared.start) - len(case.tokens)
    image = case.captioner.image_token  # type: ignore[attr-defined]
    seen = [place for place, token in enumerate(start) if token == image] if not before else [*range(1, 17)]
    special = set(case.captioner.tokenizer.all_special_ids)  # type: ignore[attr-defined]
    behind = [place for place in range(len(start)) if before + place > seen[-1]]
    while start[behind[0]] in special:  # what ends the picture
        behind = behind[1:]
    ends = [place for place in behind if start[place] in special]
    asked = [place for place in behind if place < min(ends, default=len(start))]
    assert len(asked) > 1
    words = [start[place] for place in asked] + list(case.tokens)
    rows = [before + place for place in [*asked, *range(len(start) - 1, len(start) + len(case.tokens) - 1)]]
    pictures: list[list[float]] = []
    for word in words:
        pictures.append([max(0.0, logits[place, word]) for place in seen])
    maps = []
    for target in range(len(asked), len(words)):
        text = [max(0.0, logits[rows[each], words[target]]) for each in range(target)]
        others = [each for each in range(target) if words[each] != words[target]]
        total = sum(text[each] for each in others) + 1e-8
        context = [sum(text[i] / total * pictures[i][place] for i in others) for place in range(len(seen))]
        product = sum(a * b for a, b in zip(pictures[target], context, strict=True))
        scale = product / sum(each**2 for each in context)
        values = [max(0.0, a - scale * b) for a, b in zip(pictures[target], context, strict=True)]
        low, high = min(values + text), max(values + text)
        maps.append(_filtered(_on_grid(case, [(each - low) / (high - low) for each in values])))
    return np.stack(maps)


def _extended(case: Case) -> dict[str, Tensor]:
    """The prompt with the caption behind it."""
    inputs, tokens = dict(case.prepared.inputs), case.tokens
    inputs.pop("attention_mask")
    for name, value in {"mm_token_type_ids": 0, "token_type_ids": 1}.items():
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], inputs[name].new_full((1, len(tokens)), value)], dim=1)
    return {**inputs, "input_ids": torch.tensor([[*case.prepared.start, *tokens]])}


def _on_grid(case: Case, values: list[float]) -> np.ndarray:
    """Tokens row by row; or of tiles, six of 2 × 2 tokens in two rows of three, and the whole as 2 × 2 more."""
    grid = np.zeros((case.prepared.grid.rows, case.prepared.grid.columns))
    if case.kind != "tiled":
        return np.array(values).reshape(grid.shape)
    for row in range(4):
        for column in range(6):
            tile = values[(row // 2 * 3 + column // 2) * 4 + row % 2 * 2 + column % 2]
            whole = values[24 + row // 2 * 2 + column // 3]
            grid[row, column] = (tile + whole / 6) / (1 + 1 / 6)
    return grid


def _mirrored(place: int, count: int) -> int:
    return 2 * count - 2 - place if place >= count else abs(place)


def _filtered(values: np.ndarray) -> np.ndarray:
    """The rank Gaussian filter, window by window."""
    rows, columns = values.shape
    found = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            window = [
                values[_mirrored(i, rows), _mirrored(j, columns)]
                for i in (row - 1, row, row + 1)
                for j in (column - 1, column, column + 1)
            ]
            window.sort()
            mean = sum(window) / 9
            if mean > 0:
                width = math.sqrt(sum((each - mean) ** 2 for each in window) / 9) / mean
                kernel = [math.exp(-((rank - 4) ** 2) / (2 * width**2)) for rank in range(9)]
                found[row, column] = sum(a * b for a, b in zip(window, kernel, strict=True)) / sum(kernel)
    return found


@pytest.mark.parametrize("kind", (*CHAT, "git", "paligemma2"))
def test_tam_is_its_slow_twin(cases: Any, kind: str) -> None:
    case = cases(kind)
    found = tam(case.captioner, case.prepared, case.tokens)
    assert found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    near(found, _tam(case))


@pytest.mark.parametrize("kind", CHAT)
def test_tam_of_a_word_depends_on_those_before_it_alone(cases: Any, kind: str) -> None:
    case = cases(kind)
    found = tam(case.captioner, case.prepared, case.tokens)
    near(tam(case.captioner, case.prepared, case.tokens[:3]), found[:3], 1e-5)
    changed = tam(case.captioner, case.prepared, (case.tokens[1], *case.tokens[1:]))
    assert np.abs(changed[2] - found[2]).max() > 1e-4


def test_what_the_context_explains_is_taken_off() -> None:
    """A map of twice the interference and something that is at right angles to it; only the latter is left."""
    context, rest = np.array([[1.0, 1, 0, 0], [3.0, 3, 0, 0]]), np.array([0.5, -0.5, 2, 0])
    found = unexplained(4 * context[0] + rest, context, np.array([1.0, 1]))
    near(found, [0.5, 0, 2, 0], 1e-6)
    near(unexplained(rest.clip(0), context[:0], np.zeros(0)), rest.clip(0), 1e-9)  # the first word has no context
    near(unexplained(rest.clip(0), context, np.zeros(2)), rest.clip(0), 1e-9)


def test_rank_gaussian_filter_by_hand() -> None:
    """Eight zeros and a nine: mean 1, deviation √8; mirrored edges; maps of one row; all alike."""
    spot = np.zeros((5, 5))
    spot[2, 2] = 9
    kernel = [math.exp(-((rank - 4) ** 2) / 16) for rank in range(9)]
    found = rank_gaussian(spot)
    assert math.isclose(found[2, 2], 9 * kernel[8] / sum(kernel), rel_tol=1e-9)
    assert math.isclose(found[1, 3], found[2, 2]) and not found[0].any()
    corner = rank_gaussian(np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]))
    edges = math.sqrt(5 / 4)  # four of nine are ones there: mean 4/9, deviation √20/9
    kernel = [math.exp(-((rank - 4) ** 2) / (2 * edges**2)) for rank in range(9)]
    assert math.isclose(corner[0, 0], sum(kernel[5:]) / sum(kernel), rel_tol=1e-9)
    for constant in (0.0, 3.0):
        assert np.array_equal(rank_gaussian(np.full((3, 4), constant)), np.full((3, 4), constant))
    values = np.random.default_rng(0).random((4, 6))
    near(rank_gaussian(values), _filtered(values), 1e-9)
    near(rank_gaussian(5 * values), 5 * _filtered(values), 1e-9)
    assert rank_gaussian(values[:1]).shape == (1, 6) and np.isfinite(rank_gaussian(values[:1, :1])).all()


def test_tam_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four words planted: the first is seen in one patch; the second is the first again, and a little more elsewhere;
    the third is said by the text twice as much as by the picture; the fourth by all of the picture and no text."""
    logits = torch.zeros(4, 5 + 4)  # words, places: four patches, the start, and four words
    logits[:, :4] = torch.tensor([[0.0, 4, 0, 0], [0, 4, 0, 1], [0, 0, 2, -5], [3, 4, 3, 5]])
    logits[1, 4], logits[2, 4:6] = 1, torch.tensor([1.0, 4])
    prepared = PreparedPicture({}, PatchGrid.whole(2, 2, 0, (32, 32)), (9, 9, 9, 9, 8), torch.arange(4))
    captioner = SimpleNamespace(
        capabilities={"picture tokens"},
        limit=9,
        pieces=lambda tokens: SimpleNamespace(special=(True,) * len(tokens)),
        token_logits=lambda picture, tokens, of: logits[-len(of) :, : 5 + len(of)],
    )
    monkeypatch.setattr("regard.explanation.words.token_activation.rank_gaussian", lambda values: values)
    first, second, third, fourth = tam(captioner, prepared, (1, 2, 3, 4))  # type: ignore[arg-type]
    assert first.tolist() == [[0, 1], [0, 0]]
    assert second.tolist() == [[0, 0], [0, 1]]
    near(third, [[0, 0], [0.5, 0]], 1e-6)
    near(fourth, [[0.6, 0.8], [0.6, 1]], 1e-6)
    apart = replace(prepared, spread=torch.tensor([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]))
    near(tam(captioner, apart, (4,)), [[[0, 1 / 3], [1, 0]]], 1e-6)  # type: ignore[arg-type]


def test_the_prompt_of_tam_ends_at_the_next_special_token() -> None:
    """As the authors' code has it for Qwen: from <|vision_end|> to <|im_end|>, without the template's words behind."""
    qwen = (
        "<|im_start|> user \n <|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> Describe it . <|im_end|> \n "
    )
    idefics = "User : <fake> <row> <image> <fake> <global> <image> <fake> Say . <end_of_utterance> \n Assistant :"
    for text, behind, words, stops in (
        (f"{qwen.strip()} <|im_start|> assistant \n", 6, ["Describe", "it", "."], ["<|im_end|>"]),
        (idefics, 7, ["Say", "."], ["<end_of_utterance>"]),
        ("USER: <image> Say . ASSISTANT:", 2, ["Say", ".", "ASSISTANT:"], ["</s>"]),
        ("<image> <image> <bos> caption en", 2, ["caption", "en"], ["<eos>"]),
        ("Say . <image> <|im_end|> \n <|im_start|> assistant", 3, [], ["<|im_end|>"]),
        ("[CLS] a", -16, ["a"], ["[SEP]"]),
    ):
        pieces = text.split(" ")
        names = sorted({*pieces, *stops})
        special = [piece.startswith(("<", "[")) for piece in pieces]
        tokens = [names.index(piece) for piece in pieces]
        found = prompt_places(tokens, special, [names.index(each) for each in stops], behind)
        assert [pieces[place] for place in found] == words, text


def test_what_a_template_puts_behind_the_prompt_is_no_context_of_tam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind <|im_end|> stands a word that the picture and the caption's word share, which took the map away before."""
    start = (9, 9, 9, 9, 8, 5, 7, 6)  # picture, <|vision_end|>, a word, <|im_end|>, a word of the template
    captioner = SimpleNamespace(
        capabilities={"picture tokens"},
        limit=9,
        stops=(7,),
        pieces=lambda tokens: SimpleNamespace(special=[token in (7, 8, 9) for token in tokens]),
        token_logits=lambda picture, tokens, of: torch.tensor([ROWS_OF[token] for token in of])[
            :, : len(start) + len(tokens)
        ],
    )
    prepared = PreparedPicture({}, PatchGrid.whole(2, 2, 0, (32, 32)), start, torch.arange(4))
    monkeypatch.setattr("regard.explanation.words.token_activation.rank_gaussian", lambda values: values)
    (found,) = tam(captioner, prepared, (1,))  # type: ignore[arg-type]
    near(found, [[0.5, 0], [0, 1]], 1e-6)


ROWS_OF = {
    1: [
        2.0,
        0,
        0,
        4,
        0,
        0,
        0,
        3,
        0,
    ],  # the last place before the caption, at which the template's word is read, says it
    5: [0.0, 0, 1, 0, 0, 0, 0, 0, 0],
    6: [2.0, 0, 0, 4, 0, 0, 0, 0, 0],
}


# dependence


def planted(log: float, maps: list[Any]) -> Decoding:
    """A caption of two tokens whose attention has one layer and head; the row that reads the last is all ones."""
    attention = torch.tensor([*maps, np.ones(np.shape(maps[0])).tolist()])[None, None]
    logs = torch.tensor([log, 2 * log])
    return Decoding((1, 2), logs, torch.zeros(2, 0), torch.zeros(2, 0), attention, True)


class Planted:
    """Says what it was told to say; a picture is grey where its pixels are."""

    layers, limit = 1, 9

    def prepare(self, image: Any) -> PreparedPicture:
        assert image.size == (40, 10)
        level = torch.full((1, 3), float(np.asarray(image).mean()))
        return PreparedPicture(
            {"pixels": level, "input_ids": torch.tensor([[5]])}, PatchGrid.whole(1, 2, 0, (10, 40)), (5,)
        )

    def teacher_force(self, pictures: Any, captions: Any, *, capture: Capture) -> list[Decoding]:
        own, _, none = pictures
        assert captions == [(1, 2)] * 3 and capture == Capture(0, "mean")
        assert none.inputs["pixels"].unique().tolist() == [GREY[0]]
        assert none.start == own.start == (7, 8) and none.inputs["input_ids"].tolist() == [[7, 8]]
        return [
            planted(-1.0, [[[1.0, 0.0]], [[0.3, 0.1]]]),
            planted(-2.0, [[[0.0, 0.0, 0.0, 1.0]], [[0.75, 0.0, 0.0, 0.25]]]),
            planted(-0.5, [[[0.5, 0.5]], [[0.0, 0.0]]]),
        ]


def test_dependence_by_hand() -> None:
    """Two tokens on 1 × 2 patches; the other picture has 1 × 4, and without one the second token looks nowhere."""
    captioner: Any = Planted()
    image = np.zeros((10, 40, 3), np.uint8)
    own = replace(captioner.prepare(Image.fromarray(image)), start=(7, 8))
    own = replace(own, inputs={**own.inputs, "input_ids": torch.tensor([[7, 8]])})
    found = dependence(captioner, own, replace(own, grid=PatchGrid.whole(1, 4, 0, (10, 40))), (1, 2))
    assert found.over_other.tolist() == [1, 2] and found.over_none.tolist() == [-0.5, -1]
    near(found.moved_by_other, [1, 0], 1e-6)
    assert found.moved_by_none[0] == 0.5 and math.isnan(found.moved_by_none[1])
    reading = dependence(captioner, own, own, (1, 2), row="reading")
    near(reading.picture.maps, [[[0.3, 0.1]], [[1, 1]]], 1e-6)
    (word,) = found.of_words([Span("cats", 0, 2)]).picture.log_probabilities
    assert word == -3
    joined = found.of_words([Span("a", 0, 1), Span("cats", 0, 2)])
    near(joined.picture.maps, [[[1, 0]], [[0.65, 0.05]]], 1e-6)
    near(joined.over_other, [1, 3], 1e-6)
    assert found.of_words([]).moved_by_other.shape == (0,)


def test_maps_of_other_grids_by_area() -> None:
    """Half of four, two thirds of two, and rows and columns not swapped; the sum stays."""
    near(resized(np.array([[[1.0, 2, 3, 4]]]), (1, 2)), [[[3, 7]]], 1e-6)
    near(resized(np.array([[[3.0, 6]]]), (1, 3)), [[[2, 3, 4]]], 1e-6)
    values = np.random.default_rng(1).random((2, 3, 5))
    found = resized(values, (4, 2))
    assert found.shape == (2, 4, 2)
    near(found.sum((1, 2)), values.sum((1, 2)), 1e-6)
    near(resized(values, (3, 5)), values, 1e-6)


def test_moved_is_the_share_that_lies_elsewhere() -> None:
    maps = np.array([[[4.0, 0]], [[1, 3]], [[0, 0]]])
    near(map_distance(maps[:1], maps[1:2]), [0.75], 1e-6)
    assert np.isnan(map_distance(maps, maps)).tolist() == [False, False, True]
    assert map_distance(maps, 7 * maps)[:2].tolist() == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_dependence_of_every_captioner(cases: Any, kind: str) -> None:
    """The log-probabilities are those of teacher forcing, also of a grey picture that was prepared with the prompt."""
    case = cases(kind)
    captioner, prompt = case.captioner, () if kind == "catr" else (PROMPT,)
    found = dependence(captioner, case.prepared, case.other, case.tokens, layer=1, head=0)
    grey = captioner.prepare(Image.new("RGB", case.prepared.grid.picture[::-1], GREY), *prompt)
    right = captioner.teacher_force([case.prepared, case.other, grey], [case.tokens] * 3, capture=Capture(1, 0))
    for told, decoding in zip((found.picture, found.other, found.without), right, strict=True):
        near(told.log_probabilities, decoding.log_probabilities, 1e-5)
        size = case.prepared.grid.rows, case.prepared.grid.columns
        near(told.maps, resized(decoding.predicting[0, 0].numpy(), size), 1e-5)
    assert np.abs(found.over_none).max() > 1e-3 and found.moved_by_none.max() > 1e-3
    assert found.moved_by_other.max() > 1e-3 and found.moved_by_other.max() <= 1
    same = dependence(captioner, case.prepared, case.prepared, case.tokens)
    assert np.abs(same.over_other).max() < 1e-5 and same.moved_by_other.max() < 1e-5
    assert grey_picture(captioner, case.prepared).start == case.prepared.start


# what cannot be done


@pytest.mark.parametrize("kind", KINDS)
def test_methods_that_a_captioner_lacks_what_for_name_those_that_it_can_do(cases: Any, kind: str) -> None:
    case = cases(kind)
    assert fitting(case.captioner) == METHODS_OF[kind]
    others = {row.name for row in METHODS if row.kind == "word"} - set(METHODS_OF[kind])
    assert len(others) == 1
    for name in others:
        with pytest.raises(UsageError, match=f"{name} needs a .*which .* lacks; use {' or '.join(METHODS_OF[kind])}$"):
            METHODS.load(name)(case.captioner, case.prepared, case.tokens)
    what = case.captioner.token_logits if "tam" in others else case.captioner.decoder_pass
    with pytest.raises(UsageError, match="has no "):
        what(case.prepared, case.tokens, [0])


@pytest.mark.parametrize(
    ("kind", "method", "how", "words"),
    [
        ("catr", "cross_attention", {"row": "writing"}, "unknown row 'writing'; did you mean 'predicting'"),
        ("catr", "cross_attention", {"layer": 3}, "no layer 3; they go from 0 to 2"),
        ("merged", "cross_attention", {"head": 4}, "no head 4; they go from 0 to 3"),
        ("catr", "grad_cross_attention", {"row": "reading"}, "no row that reads it; leave the row out"),
        ("blip", "grad_cross_attention", {"row": "writing"}, "unknown row 'writing'"),
        ("blip", "grad_cross_attention", {"layer": 7}, "no layer 7; they go from 0 to 2"),
        ("catr", "grad_cross_attention", {"head": -1}, "no head -1"),
        ("catr", "grad_cross_attention", {"start": 3}, "no layer 3; it goes from 0 to 2"),
        ("catr", "grad_cross_attention", {"start": 0, "layer": 1}, "give one of them"),
        ("tiled", "tam", {"layer": 0}, "have no heads; leave layer and head out"),
        ("tiled", "tam", {"row": "reading"}, "no row that reads it"),
    ],
)
def test_settings_that_there_are_not(cases: Any, kind: str, method: str, how: dict[str, Any], words: str) -> None:
    case = cases(kind)
    with pytest.raises(UsageError, match=words):
        METHODS.load(method)(case.captioner, case.prepared, case.tokens, **how)


@pytest.mark.parametrize("kind", ["catr", "blip", "tiled"])
def test_captions_that_cannot_be(cases: Any, kind: str) -> None:
    case = cases(kind)
    for tokens in ((), [3] * 999):
        for name in METHODS_OF[kind]:
            with pytest.raises(UsageError, match=rf"{len(tokens)} tokens; there may be 1 to {case.captioner.limit}"):
                METHODS.load(name)(case.captioner, case.prepared, tokens)
        with pytest.raises(UsageError, match="tokens; there may be"):
            dependence(case.captioner, case.prepared, case.other, tokens)


def test_a_prompt_without_its_picture_is_refused(cases: Any) -> None:
    case = cases("merged")
    with pytest.raises(UsageError, match="no tokens of the picture"):
        tam(case.captioner, replace(case.prepared, places=None), case.tokens)


@pytest.mark.parametrize("method", [row.name for row in METHODS if row.kind == "word"])
def test_regard_explain_sends_to_regard_caption(method: str, tmp_path: Path) -> None:
    picture(9, 9).save(tmp_path / "a.png")
    with pytest.raises(
        UsageError, match=f"{method} makes maps of words, not of pictures; use it with `regard caption`"
    ):
        regard.explain(tmp_path / "a.png", method=method)
