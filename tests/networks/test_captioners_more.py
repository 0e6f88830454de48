"""The further captioners (BLIP-2, GIT, Florence-2, PaliGemma, LLaVA, and relatives of those tested elsewhere): the
tokens of transformers' own `generate`, the maps of a teacher-forced pass with attention written out, each put on its
grid by hand, and grids whose cells are where a picture was painted."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from captioner_cases import (
    Case,
    apart,
    as_it_was,
    case_maker,
    given,
    near,
    near_forced,
    of_picture,
    on_grids,
    on_tiles,
    refusals,
    softmax_rows,
    without,
)
from captioners import picture
from PIL import Image
from torch import Tensor

from regard.errors import NetworkError, UsageError
from regard.networks.captioners import CAPTIONER_FAMILIES
from regard.networks.captioners.attention import Capture, RowRecorder
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.families.llava import after_prefix
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.pretrained import patch_side, visible_box
from regard.records import Box

TILED, MERGED = ("smolvlm",), ("qwen2_vl", "qwen3_vl")
SQUARE = ("llava", "paligemma", "paligemma2", "git")
READING = ("blip2_t5", "florence2")
CHAT = (*TILED, *MERGED, "llava", "llava_next", "paligemma", "blip2")
"""Decoders of fused attention."""
KINDS = (*CHAT, "paligemma2", "git", *READING)
LIMIT = 8


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    return case_maker(tmp_path_factory, LIMIT)


# tokens and maps


def extended(case: Case, tokens: tuple[int, ...]) -> dict[str, Tensor]:
    """Inputs of a pass over prompt and caption; what says the kinds of tokens goes on as each family has it."""
    inputs, said = dict(case.prepared.inputs), torch.tensor([tokens])
    if case.kind in READING:
        start = [0] if case.kind == "blip2_t5" else [2, 1]
        assert case.prepared.start == tuple(start)
        return {**inputs, "decoder_input_ids": torch.tensor([[*start, *tokens]])}
    inputs.pop("attention_mask")
    inputs["input_ids"] = torch.cat([inputs["input_ids"], said], dim=1)
    for name, kind in (("mm_token_type_ids", 0), ("token_type_ids", 1)):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.full_like(said, kind)], dim=1)
    return inputs


def forced(case: Case, tokens: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Logits (tokens, vocabulary) and all rows (layers, heads, tokens + 1, keys), written out."""
    first = len(case.prepared.start) - 1
    with torch.no_grad():
        output = case.eager(**extended(case, tokens), output_attentions=True)
    own = output.language_model_outputs if case.kind in ("blip2", "blip2_t5") else output
    layers = own.cross_attentions if case.kind in READING else own.attentions
    before = 17 if case.kind == "git" else 0  # CLS and patches, which are no tokens
    return output.logits[0, before + first : -1], torch.cat(list(layers))[:, :, before + first :]


def hop(case: Case) -> Tensor:
    """(queries, patches): the mean of the Q-Former's cross-attention, of layers 0 and 2 of its four."""
    with torch.no_grad():
        seen = case.eager.vision_model(case.prepared.inputs["pixel_values"]).last_hidden_state
        asked = case.eager.query_tokens
        layers = case.eager.qformer(asked, encoder_hidden_states=seen, output_attentions=True).cross_attentions
    assert len(layers) == 2
    return sum(layer[0, head] for layer in layers for head in range(4))[:, 1:] / 8


def on_grid(case: Case, rows: Tensor) -> Tensor:
    """(..., keys) → (..., rows, columns), by hand."""
    if case.kind == "git":
        return rows[..., 1:17].unflatten(-1, (4, 4))
    rows = of_picture(case, rows)
    if case.kind in ("blip2", "blip2_t5"):
        return (rows @ hop(case)).unflatten(-1, (4, 6))
    if case.kind == "florence2":
        return rows[..., 1:].unflatten(-1, (4, 6))
    if case.kind in SQUARE:
        return rows.unflatten(-1, (4, 4))
    if case.kind in MERGED:
        return rows.unflatten(-1, (2, 4))
    return on_next_grid(rows) if case.kind == "llava_next" else on_tiles(rows)


def on_next_grid(rows: Tensor) -> Tensor:
    """4 × 4 tokens of the whole picture of 60 × 100, then 8 lines of 12 patches, each with its end.

    The picture is enlarged to 58 × 96 pixels and lies 3 below the upper edge of 64 × 96.
    """
    grid, scale = torch.zeros(*rows.shape[:-1], 8, 12), 60 / 58
    assert rows.shape[-1] == 16 + 8 * 13
    for place in range(16):
        top, left = place // 4 * 15, place % 4 * 3  # in pixels, and in columns of patches
        for row in range(8):
            above, below = (8 * row - 3) * scale, (8 * row + 5) * scale
            shared = max(0.0, min(below, top + 15) - max(above, top)) / 15
            grid[..., row, left : left + 3] += rows[..., place, None] * shared / 3
    for row in range(8):
        grid[..., row, :] += rows[..., 16 + 13 * row : 16 + 13 * row + 12]
    return grid


def as_forced(case: Case, decoding: Decoding, within: float = 1e-5) -> None:
    logits, rows = forced(case, decoding.tokens)
    right = on_grid(case, rows)
    near_forced(decoding, logits, right, within)
    assert float(rows.max()) > 0.3 and float(right.max()) > 2 / right[0, 0, 0].numel()  # awake: else any map would do


def by_transformers(case: Case, beams: int) -> list[int]:
    """What transformers' own `generate` says after the start, by the network that was loaded apart."""
    plan = {"num_beams": beams, "do_sample": False, "max_new_tokens": LIMIT}
    if case.kind == "florence2":  # its first token is forced, and counts there
        plan = {**plan, "max_new_tokens": LIMIT + 1, "forced_eos_token_id": None}
    found = case.eager.generate(**case.prepared.inputs, **plan)[0].tolist()
    start = list(case.prepared.start)
    assert found[: len(start)] == start
    return found[len(start) :]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 3])
def test_tokens_are_those_of_generate_and_maps_those_of_teacher_forcing(cases: Any, kind: str, beams: int) -> None:
    case = cases(kind)
    decoding = case.generate(beams, alternatives=2)
    assert list(decoding.tokens) == by_transformers(case, beams)[: len(decoding.tokens)]
    assert len(decoding.tokens) == LIMIT or decoding.finished
    as_forced(case, decoding, 1e-5 if beams == 1 else 1e-4)
    for capture in (Capture(1, 2), Capture(2)):
        whole = decoding.attention[capture.layer, None]  # type: ignore[index]
        right = whole[:, 2:3] if capture.head == 2 else whole.mean(1, keepdim=True)
        near(case.generate(beams, capture=capture).attention, right, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_caption_is_judged_with_its_stop(cases: Any, kind: str) -> None:
    case = cases(kind)
    as_forced(case, given(case))


@pytest.mark.parametrize("kind", ["llava", "blip2", "git", "florence2"])
def test_what_stops_is_kept_and_read(cases: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases(kind)
    before = case.generate()
    stop = next(token for token in before.tokens[2:] if token not in case.prepared.start)
    monkeypatch.setattr(type(case.captioner), "stops", (stop,))
    decoding = case.generate(alternatives=2)
    assert decoding.tokens == before.tokens[: before.tokens.index(stop) + 1] and decoding.finished
    as_forced(case, decoding)


def test_a_stop_at_the_limit_is_not_forced(cases: Any) -> None:
    """Florence-2's own settings would end every caption that is cut off as if it were whole."""
    assert cases("florence2").eager.generation_config.forced_eos_token_id == 2
    assert not cases("florence2").generate().finished


def test_scores_that_are_squashed_are_heard_on_the_way_and_a_window_afterwards(cases: Any) -> None:
    """Of 21 tokens of the prompt and a window of 24: one token fits, two do not."""
    case = cases("paligemma2")
    assert len(case.prepared.start) == 21
    for limit in (1, 2):
        as_forced(case, case.generate(limit=limit, alternatives=2))


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_and_pictures_change_what_is_said_and_the_network_stays_as_it_was(cases: Any, kind: str) -> None:
    case = cases(kind)
    module = case.captioner.module
    hooks = [len(part._forward_hooks) for part in module.modules()]
    with as_it_was(case):
        tokens = case.generate().tokens
        asked = case.captioner.prepare(picture(60, 100), "two dogs near the red ball")
        assert case.captioner.generate([asked], limit=LIMIT)[0].tokens != tokens
        assert apart(case, tokens) > 0.01
        assert case.generate(capture=None).attention is None and case.generate().tokens == tokens
        assert len(case.captioner.prepare(picture(60, 100)).start) > 0
    assert [len(part._forward_hooks) for part in module.modules()] == hooks
    with pytest.raises(UsageError, match="shorten the prompt"):
        case.captioner.prepare(picture(60, 100), "a cat " * 300)


@pytest.mark.parametrize("kind", CHAT)
def test_no_map_of_all_tokens_to_all_is_ever_made(cases: Any, kind: str) -> None:
    case = cases(kind)
    mine = [6] * 2 if kind == "blip2" else []  # the Q-Former's six queries in its two layers that look at the picture
    assert sorted(softmax_rows(case)) == [1] * 3 * (LIMIT + 1) + mine
    assert softmax_rows(case, capture=None) == []


@pytest.mark.parametrize("kind", ["git", "paligemma2"])
def test_of_attention_that_is_written_out_only_needed_rows_are_kept(
    cases: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, sizes = cases(kind), []

    def add(recorder: RowRecorder, layer: int, weights: Tensor) -> None:
        before(recorder, layer, weights)
        sizes.append(recorder.rows[layer][-1].untyped_storage().nbytes() // 4)

    before = RowRecorder.add
    monkeypatch.setattr(RowRecorder, "add", add)
    decoding = case.generate(limit=2 if kind == "git" else 1)
    assert sizes == [4 * 16] * 3 * (len(decoding.tokens) + 1)  # heads × patches, one row at a time


def test_every_kind_of_a_family_is_tested(cases: Any) -> None:
    """Those of `test_captioners.py` too."""
    tested = {"vision-encoder-decoder", "blip", "idefics3", "qwen2_5_vl"}
    tested |= {cases(kind).captioner.module.config.model_type for kind in KINDS}
    kinds = {kind for family in CAPTIONER_FAMILIES if family.source == "huggingface" for kind in family.kinds}
    assert tested == kinds


# geometry


def features(case: Case, inputs: dict[str, Tensor]) -> Tensor:
    """(places, width): what is seen of a picture, in the order of the map's places before they spread."""
    if case.kind == "git":
        return case.eager.git.image_encoder(inputs["pixel_values"]).last_hidden_state[0, 1:]
    if case.kind.startswith("blip2"):
        return case.eager.vision_model(inputs["pixel_values"]).last_hidden_state[0, 1:]
    more = {name: inputs[name] for name in ("image_grid_thw", "image_sizes", "pixel_attention_mask") if name in inputs}
    found = case.eager.model.get_image_features(inputs["pixel_values"], **more).pooler_output
    found = torch.cat(list(found)) if not isinstance(found, Tensor) or case.kind in TILED else found[0]
    return found.flatten(0, -2)[1 if case.kind == "florence2" else 0 :]


@pytest.fixture
def sole(cases: Any) -> Iterator[Callable[[str], Case]]:
    """A case whose encoder sees each patch for itself: what attention or convolution brings from others is nothing."""
    kept: list[tuple[Tensor, Tensor]] = []

    def case(kind: str) -> Case:
        found: Case = cases(kind)
        for name, part in found.eager.named_parameters():
            eye = "vision" in name or "visual" in name or "image_encoder" in name
            mixing = ("out_proj.", "attn.proj.", "self_attn.projection.", ".conv1.", ".conv2.")
            if eye and any(key in name for key in mixing):
                kept.append((part, part.detach().clone()))
                part.zero_()
        assert kept
        return found

    with torch.no_grad():
        yield case
        for part, values in kept:
            part.copy_(values)


def painted(image: Image.Image, box: Box) -> Image.Image | None:
    """The middle third of a box in white, or in black where it is bright; None where that is outside the picture."""
    left, top, right, bottom = box
    wide, high = (right - left) / 3, (bottom - top) / 3
    inner = [round(left + wide), round(top + high), round(right - wide), round(bottom - high)]
    if inner[0] < 0 or inner[1] < 0 or inner[2] > image.width or inner[3] > image.height:
        return None
    values = np.array(image)
    part = values[inner[1] : inner[3], inner[0] : inner[2]]
    part[...] = 0 if part.mean() > 127 else 255
    return Image.fromarray(values)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "florence2"])
@pytest.mark.parametrize("size", [(60, 100), (100, 60)])
def test_a_cell_of_the_grid_is_where_the_picture_was_painted(sole: Any, kind: str, size: tuple[int, int]) -> None:
    """Every cell of a wide and a tall picture: what changes most in what is seen lies in that cell of the map."""
    case, image = sole(kind), picture(*size)
    plain = case.captioner.prepare(image, "a cat")
    grid, before = plain.grid, features(case, dict(plain.inputs))
    assert grid.picture == size
    checked = 0
    for row in range(grid.rows):
        for column in range(grid.columns):
            other = painted(image, grid.cell(row, column))
            if other is None:
                continue
            changed = (features(case, dict(case.captioner.prepare(other, "a cat").inputs)) - before).norm(dim=1)
            lies = changed if plain.spread is None else changed @ plain.spread
            assert divmod(int(lies.argmax()), grid.columns) == (row, column)
            checked += 1
    assert checked >= 0.75 * grid.patches


@pytest.mark.parametrize("size", [(60, 100), (100, 60)])
def test_what_overlapping_patches_see_is_around_their_corner(sole: Any, size: tuple[int, int]) -> None:
    """Of Florence-2's: a spot at the corner of a patch inside changes it and those around it, alike far."""
    case, image = sole("florence2"), picture(*size)
    plain = case.captioner.prepare(image, "a cat")
    before = features(case, dict(plain.inputs))
    for row in range(1, 3):
        for column in range(1, 5):
            left, top, right, bottom = plain.grid.cell(row, column)
            across, down = (right - left) / 2, (bottom - top) / 2
            other = painted(image, (left - across, top - down, right - across, bottom - down))
            assert other is not None
            changed = (features(case, dict(case.captioner.prepare(other, "a cat").inputs)) - before).norm(dim=1)
            rows, columns = (changed.view(4, 6) > 0).nonzero().T
            assert (rows.min() + rows.max(), columns.min() + columns.max()) == (2 * row, 2 * column)


def test_grids_of_pictures_that_are_not_square(cases: Any) -> None:
    for kind, tall, wide in (
        ("smolvlm", (6, 4), (4, 6)),
        ("qwen2_vl", (4, 2), (2, 4)),
        ("qwen3_vl", (4, 2), (2, 4)),
        ("llava_next", (12, 8), (8, 12)),
        ("blip2", (4, 6), (4, 6)),
        ("florence2", (4, 6), (4, 6)),
    ):
        on_grids(cases(kind).captioner, tall, wide)


def test_tiles_that_a_picture_does_not_fill_by_hand(cases: Any) -> None:
    """40 × 100 becomes 39 × 96, 12 below the edge of 64 × 96: of eight lines the middle four, from 4 to 36 of 39."""
    captioner = cases("llava_next").captioner
    wide, tall = captioner.prepare(picture(40, 100)), captioner.prepare(picture(100, 40))
    assert (wide.grid.rows, wide.grid.columns) == (4, 12) and (tall.grid.rows, tall.grid.columns) == (12, 4)
    assert wide.grid.box == pytest.approx((0, 4 * 40 / 39, 100, 36 * 40 / 39))
    assert tall.grid.box == pytest.approx((4 * 40 / 39, 0, 36 * 40 / 39, 100))
    spread = wide.spread
    assert spread is not None and spread.shape == (16 + 4 * 13, 48)
    assert spread[:16].sum(1) == pytest.approx(torch.ones(16))
    upper = spread[0].view(4, 12)  # 0 to 10 pixels down: what is beside the patches counts for none
    shares = torch.tensor([10 - 4 * 40 / 39, 0, 0, 0])
    assert upper[:, 0] == pytest.approx(shares / shares.sum() / 3) and upper[:, 3:].sum() == 0
    assert spread[16 + 13 + 2].nonzero().tolist() == [[12 + 2]] and spread[16 + 12].sum() == 0


def test_what_a_processor_that_pads_to_a_square_sees() -> None:
    pads = transformers.LlavaImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_pad=True
    )
    assert visible_box(pads, picture(60, 100)) == (0, -20, 100, 80)
    assert visible_box(pads, picture(100, 60)) == (-20, 0, 80, 100)


def test_tokens_before_the_patches_lie_nowhere() -> None:
    assert torch.equal(after_prefix(1, 2), torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))


# what cannot be


def test_smolvlm_is_read_without_what_only_films_need(
    cases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its own processor makes it, whose module wants a package that writes numbers in words."""
    own = transformers.models.smolvlm.processing_smolvlm
    case = cases("smolvlm")
    parts = case.captioner.processor  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        patched.setattr(own, "num2words", str)
        processor = own.SmolVLMProcessor(
            parts.image_processor, parts.tokenizer, transformers.SmolVLMVideoProcessor(), image_seq_len=4,
            chat_template=parts.chat_template,
        )  # fmt: skip
        processor.save_pretrained(tmp_path)
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a cat"}]}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        right = processor(images=[picture(60, 100)], text=[text], return_tensors="pt")
    for file in ("config.json", "model.safetensors", "generation_config.json"):
        (tmp_path / file).write_bytes((case.folder / file).read_bytes())
    monkeypatch.setattr(own, "num2words", None)
    came = load_caption_network(str(tmp_path)).prepare(picture(60, 100), "a cat")
    assert set(came.inputs) == set(right)
    assert all(torch.equal(came.inputs[name], right[name]) for name in right)


@pytest.mark.parametrize("kind", ["smolvlm", "qwen3_vl", "llava", "paligemma", "git", "blip2", "florence2"])
def test_folders_that_lack_a_part_are_named(cases: Any, kind: str, tmp_path: Path) -> None:
    said = refusals(cases(kind).folder, tmp_path, "preprocessor_config.json", "processor_config.json")
    assert not any("\n" in each for each in said)


def test_places_that_are_not_those_of_the_patches_are_refused(cases: Any) -> None:
    for kind, words in (
        ("llava", "32 tokens, which are no grid of 4 × 4"),
        ("paligemma", "32 tokens, which are no grid of 4 × 4"),
        ("llava_next", "32 tokens of the picture are not those of 8 × 12 patches"),
        ("blip2", "makes 32 places for the 6 query tokens"),
    ):
        case = cases(kind)
        with pytest.raises(NetworkError, match=words):
            case.captioner.layout(case.prepared.inputs, 32)
    with pytest.raises(NetworkError, match=r"32 tokens of the picture are not the mean and 4 × 6 patches"):
        cases("florence2").captioner.layout(32, 48, 32)
    with pytest.raises(NetworkError, match="'resnet', has no square patches"):
        patch_side(transformers.ResNetConfig())


def test_a_git_for_films_and_a_task_with_more_are_refused(cases: Any, tmp_path: Path) -> None:
    folder = without(cases("git").folder, tmp_path / "films")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_image_with_embedding": 6}))
    with pytest.raises(NetworkError, match="describes films of 6 pictures"):
        load_caption_network(str(folder))
    captioner = cases("florence2").captioner
    with pytest.raises(UsageError, match=r"'<CAPTION> a cat' has <CAPTION> and more"):
        captioner.prepare(picture(9, 9), "<CAPTION> a cat")
    asked, plain = captioner.prepare(picture(9, 9)), captioner.prepare(picture(9, 9), "What does the image describe?")
    assert torch.equal(asked.inputs["input_ids"], plain.inputs["input_ids"])
    assert "labels" not in cases("paligemma").prepared.inputs
