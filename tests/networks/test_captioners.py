"""All captioners through their one face: the tokens of transformers' own `generate`, and for every token, greedy or by
beams, the map that a teacher-forced pass with attention written out gives."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captioners
import catr_twin
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
from torch import Tensor

from regard.data.images.longest_side import LongestSide
from regard.errors import NetworkError, UsageError
from regard.networks.captioners import CAPTIONER_FAMILIES, CaptionerFamily, family_of, register_captioner
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.decoding import Decoding, greedy
from regard.networks.captioners.families.catr import CatrCaptioner
from regard.networks.captioners.families.language_model import _spread
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.pretrained import token_layout, visible_box
from regard.networks.captioners.wordpiece import WordPiece

CROSS, CHAT = ("encoder_decoder", "blip"), ("tiled", "merged")
KINDS = (*CROSS, *CHAT)
LIMIT = 10


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    return case_maker(tmp_path_factory, LIMIT)


def forced(case: Case, tokens: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Logits (tokens, vocabulary) and all rows to the picture (layers, heads, tokens + 1, keys), written out."""
    start, inputs = case.prepared.start, dict(case.prepared.inputs)
    whole, first = torch.tensor([[*start, *tokens]]), len(start) - 1
    with torch.no_grad():
        if case.kind == "encoder_decoder":
            output = case.eager(**inputs, decoder_input_ids=whole, output_attentions=True)
        elif case.kind == "blip":
            seen = case.eager.vision_model(**inputs).last_hidden_state
            output = case.eager.text_decoder(input_ids=whole, encoder_hidden_states=seen, output_attentions=True)
        else:
            inputs.pop("attention_mask")
            if "mm_token_type_ids" in inputs:
                kinds = inputs["mm_token_type_ids"]
                inputs["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(tokens))], dim=1)
            output = case.eager(**{**inputs, "input_ids": whole}, output_attentions=True)
    layers = output.attentions if case.kind in CHAT else output.cross_attentions
    return output.logits[0, first:-1], torch.cat(list(layers))[:, :, first:]


def on_grid(case: Case, rows: Tensor) -> Tensor:
    """(..., keys) → (..., rows, columns), by hand: CLS away; the picture's tokens out of the prompt's."""
    if case.kind in CROSS:
        return rows[..., 1:].unflatten(-1, (4, 6 if case.kind == "encoder_decoder" else 4))
    rows = of_picture(case, rows)
    return rows.unflatten(-1, (2, 4)) if case.kind == "merged" else on_tiles(rows)


def as_forced(case: Case, decoding: Decoding) -> None:
    logits, rows = forced(case, decoding.tokens)
    right = on_grid(case, rows)
    near_forced(decoding, logits, right)
    assert float(right.max()) > 0.1  # awake: else any map would do


def by_transformers(case: Case, beams: int, **more: Any) -> Any:
    """transformers' own `generate`, by the network that was loaded apart."""
    start, inputs = torch.tensor([case.prepared.start]), dict(case.prepared.inputs)
    plan = {"num_beams": beams, "do_sample": False, "max_new_tokens": LIMIT, "return_dict_in_generate": True, **more}
    if case.kind == "encoder_decoder":
        return case.eager.generate(**inputs, decoder_input_ids=start, **plan)
    if case.kind == "blip":
        fed = torch.cat([start, start.new_tensor([[3]])], dim=1)  # it drops the last, which is a tokenizer's separator
        return case.eager.generate(**inputs, input_ids=fed, **plan)
    return case.eager.generate(**inputs, **plan)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 3])
def test_tokens_are_those_of_generate_and_maps_those_of_teacher_forcing(cases: Any, kind: str, beams: int) -> None:
    case = cases(kind)
    decoding = case.generate(beams, alternatives=2)
    right = by_transformers(case, beams).sequences[0, len(case.prepared.start) :].tolist()
    assert list(decoding.tokens) == right[: len(decoding.tokens)]
    assert len(decoding.tokens) == LIMIT or decoding.finished
    as_forced(case, decoding)
    if beams == 1:
        assert decoding.alternatives[:, 0].tolist() == list(decoding.tokens)


@pytest.mark.parametrize("kind", ["encoder_decoder", *CHAT])
def test_beam_maps_follow_the_beams(cases: Any, kind: str) -> None:
    """transformers' own maps, re-ordered by `beam_indices`; as they come, of beam 0, they are others."""
    case = cases(kind)
    decoding = case.generate(3)
    output = by_transformers(case, 3, output_attentions=True)
    steps = output.attentions if kind in CHAT else output.cross_attentions
    indices = output.beam_indices[0].tolist()
    found, naive = [], []
    for step, layers in enumerate(steps[: len(decoding.tokens)]):
        # a prompt is still one for all beams where it is read
        beam = indices[step] if len(layers[0]) > 1 else 0
        found.append(torch.stack([layer[beam, :, -1] for layer in layers]))
        naive.append(torch.stack([layer[0, :, -1] for layer in layers]))
    right = torch.stack([on_grid(case, each) for each in found], dim=2)
    wrong = torch.stack([on_grid(case, each) for each in naive], dim=2)
    near(decoding.predicting, right)
    assert float((right - wrong).abs().max()) > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_caption_is_judged_with_its_stop(cases: Any, kind: str) -> None:
    case = cases(kind)
    decoding = given(case)
    as_forced(case, decoding)
    for wrong in ([], [decoding.tokens] * 2, [()]):
        with pytest.raises(UsageError, match=r"give one for each|has 0 tokens"):
            case.captioner.teacher_force([case.prepared], wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stops_is_kept_and_read(cases: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third token made one that stops: the caption ends with it, and the row that reads it is there too."""
    case = cases(kind)
    before = case.generate()
    stop = before.tokens[2]
    first = before.tokens.index(stop)
    monkeypatch.setattr(type(case.captioner), "stops", (stop,))
    decoding = case.generate(alternatives=2)
    assert decoding.tokens == before.tokens[: first + 1] and decoding.finished
    as_forced(case, decoding)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_and_heads_on_request(cases: Any, kind: str) -> None:
    case = cases(kind)
    whole = case.generate().attention
    for capture in (Capture(1, 2), Capture(None, "mean"), Capture(2, None), Capture(0, "mean")):
        came = case.generate(capture=capture)
        layers = slice(None) if capture.layer is None else slice(capture.layer, capture.layer + 1)
        right = whole[layers].mean(1, keepdim=True) if capture.head == "mean" else whole[layers]
        near(came.attention, right[:, 2:3] if capture.head == 2 else right, 1e-6)
    assert case.generate(capture=None).attention is None
    for how, words in (
        ({"capture": Capture(3)}, "no layer 3; they go from 0 to 2"),
        ({"capture": Capture(0, 4)}, "no head 4; they go from 0 to 3"),
        ({"beams": 0}, "0 beams are none"),
        ({"limit": 0}, "length limit of 0 tokens"),
    ):
        with pytest.raises(UsageError, match=words):
            case.captioner.generate([case.prepared], **how)


@pytest.mark.parametrize("kind", KINDS)
def test_another_picture_has_other_maps_and_the_network_stays_as_it_was(cases: Any, kind: str) -> None:
    case = cases(kind)
    with as_it_was(case):
        tokens = case.generate().tokens
        assert apart(case, tokens) > 0.02
        assert case.generate().tokens == tokens


@pytest.mark.parametrize("kind", CHAT)
def test_no_map_of_all_tokens_to_all_is_ever_made(cases: Any, kind: str) -> None:
    case = cases(kind)
    assert len(case.prepared.start) > 20
    assert softmax_rows(case) == [1] * 3 * (LIMIT + 1)
    assert softmax_rows(case, capture=None) == []


# geometry


def test_grids_of_pictures_that_are_not_square(cases: Any) -> None:
    for kind, tall, wide in (
        ("tiled", (6, 4), (4, 6)),
        ("merged", (4, 2), (2, 4)),
        ("encoder_decoder", (4, 6), (4, 6)),
    ):
        for prepared in on_grids(cases(kind).captioner, tall, wide):
            height, width = prepared.grid.picture
            assert prepared.grid.box == (0, 0, width, height)
    assert cases("tiled").captioner.prepare(picture(2, 90)).grid.columns > 0


def test_tokens_of_tiles_and_of_the_whole_picture_by_hand() -> None:
    spread = _spread(1, 2, 3)  # six tiles of one token, row by row, and the whole
    assert torch.equal(spread[:6], torch.eye(6)) and torch.allclose(spread[6], torch.full((6,), 1 / 6))
    spread = _spread(2, 1, 2).unflatten(1, (2, 4))
    assert spread.sum((1, 2)).tolist() == [1] * 12
    assert spread[4 + 3].nonzero().tolist() == [[1, 3]]  # second tile, its lower right
    assert spread[8 + 1].nonzero().tolist() == [[0, 2], [0, 3]]  # the whole's upper right


def test_an_encoder_without_a_patch_grid_is_refused() -> None:
    assert token_layout(197, 14, 14) == (14, 14, 1) and token_layout(49, 56, 56) == (7, 7, 0)
    assert token_layout(26, 4, 6) == (4, 6, 2)
    with pytest.raises(NetworkError, match="32 tokens, which are no grid of 14 × 14"):
        token_layout(32, 14, 14)


def test_what_a_cropping_processor_sees() -> None:
    kinds = transformers.ViTImageProcessor, transformers.CLIPImageProcessor
    squash, crop = kinds[0](size={"height": 32, "width": 32}), kinds[1](size={"shortest_edge": 20}, crop_size=16)
    assert visible_box(squash, picture(60, 100)) == (0, 0, 100, 60)
    assert visible_box(crop, picture(60, 100)) == (26, 6, 74, 54)
    assert visible_box(crop, picture(100, 60)) == (6, 26, 54, 74)


# prompts


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_change_what_is_said(cases: Any, kind: str) -> None:
    case = cases(kind)
    other = case.captioner.prepare(picture(60, 100), "two dogs near the red ball")
    assert len(other.start) > len(case.prepared.start)
    said = [each.tokens for each in case.captioner.generate([case.prepared, other], limit=LIMIT)]
    assert said[0] != said[1]
    assert len(case.captioner.prepare(picture(60, 100)).start) > 0
    with pytest.raises(UsageError, match="shorten the prompt"):
        case.captioner.prepare(picture(60, 100), "a cat " * 300)


# CATR


@pytest.fixture(scope="module")
def catr() -> CatrCaptioner:
    module = catr_twin.small_catr(torch.stack(catr_twin.pictures(*[(70, 101)] * 2)))
    pieces = [f"w{token}" for token in range(module.vocabulary)]
    for token, piece in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 5: "##s"}.items():
        pieces[token] = piece
    vocabulary = WordPiece(tuple(pieces), {piece: token for token, piece in enumerate(pieces)})
    return CatrCaptioner(module, vocabulary=vocabulary, preparation=LongestSide(101))


def test_catr_speaks_as_its_network_does_whatever_the_shapes(catr: CatrCaptioner) -> None:
    given = [catr.prepare(picture(*size)) for size in ((140, 202), (202, 140), (140, 202))]
    assert [(each.grid.rows, each.grid.columns) for each in given] == [(5, 7), (7, 5), (5, 7)]
    found = catr.generate(given, limit=6, capture=Capture(None, None), alternatives=1)
    for prepared, decoding in zip(given, found, strict=True):
        with torch.no_grad():
            memory = catr.module.encode(prepared.inputs["pixels"][None])
        right = greedy(catr.module, memory, limit=6, capture=Capture(None, None), alternatives=1)[0]
        assert decoding.tokens == right.tokens
        near(decoding.attention, right.attention)  # type: ignore[arg-type]
        mean = catr.teacher_force([prepared], [right.tokens], capture=Capture(2))[0].attention
        near(mean[0, 0], right.attention[2].mean(0))  # type: ignore[index]
    assert catr.generate(given[:1], beams=3, limit=6)[0].attention is None
    with pytest.raises(UsageError, match="takes no prompt"):
        catr.prepare(picture(9, 9), "a cat")


def test_catr_needs_its_own_vocabulary(catr: CatrCaptioner) -> None:
    with pytest.raises(NetworkError, match="speaks 200 tokens, but the vocabulary has 30522"):
        CatrCaptioner(catr.module)


# what cannot be loaded


def test_what_cannot_caption_is_told_what_can(tmp_path: Path) -> None:
    transformers.ViTConfig().save_pretrained(tmp_path)
    for model, words in (("pets-tiny", "no network that can caption"), (str(tmp_path), "of the kind 'vit'")):
        with pytest.raises(UsageError, match=rf"{words}.*catr-v1.*blip.*smolvlm"):
            load_caption_network(model)
    with pytest.raises(NetworkError, match="no such file"):
        load_caption_network("nowhere.pth")
    with pytest.raises(NetworkError, match="cannot fetch hf:nobody/nothing"):
        load_caption_network("hf:nobody/nothing")


def test_a_family_from_outside_is_a_row_and_a_function(tmp_path: Path) -> None:
    transformers.ViTConfig().save_pretrained(tmp_path)
    row = CaptionerFamily("mine", "a captioner of one's own", "huggingface", ("vit",), "planted:planted_family")
    register_captioner(row)
    try:
        captioner = load_caption_network(str(tmp_path))
        with pytest.raises(UsageError, match="a captioner named 'mine' exists already"):
            register_captioner(row)
    finally:
        del CAPTIONER_FAMILIES._rows["mine"]
    assert captioner.name == "planted" and family_of("huggingface", "vit") is None


def test_every_kind_belongs_to_one_family_whose_function_is_there() -> None:
    kinds = [(family.source, kind) for family in CAPTIONER_FAMILIES for kind in family.kinds]
    assert len(kinds) == len(set(kinds))
    for family in CAPTIONER_FAMILIES:
        assert family.source in ("huggingface", "run") and callable(CAPTIONER_FAMILIES.load(family.name))


def test_folders_that_lack_a_part_are_named(cases: Any, tmp_path: Path) -> None:
    refusals(cases("blip").folder, tmp_path, "preprocessor_config.json")


def test_weights_that_lack_keys_are_refused(cases: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = without(cases("blip").folder, tmp_path / "less")
    tensors = load_file(folder / "model.safetensors")
    gone = next(name for name in tensors if "crossattention" in name)
    tensors["strange.weight"] = tensors.pop(gone)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NetworkError, match=r"1 missing: .*crossattention"):
        load_caption_network(str(folder))


# Where captions begin and end


def edited(folder: Path, to: Path, **sides: Any) -> Path:
    """A copy of a captioner's folder whose settings are changed; None takes one away, in all files and depths."""
    shutil.copytree(folder, to)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        content = json.loads((to / name).read_text())
        for part in (content, *(value for value in content.values() if isinstance(value, dict))):
            for key, value in sides.items():
                if key in part:
                    part[key] = value
        (to / name).write_text(json.dumps(content))
    return to


def test_an_encoder_decoder_that_names_no_start_takes_its_vocabularys_and_says_so(tmp_path: Path) -> None:
    folder = captioners.encoder_decoder(tmp_path / "whole")
    assert load_caption_network(str(folder)).messages == ()
    nowhere = dict.fromkeys(("decoder_start_token_id", "bos_token_id", "eos_token_id"))
    found = load_caption_network(str(edited(folder, tmp_path / "bare", **nowhere)))
    assert found.start == 1 and found.stops == (2,)  # type: ignore[attr-defined]
    assert any(
        "names no token that captions begin with: <s> of its vocabulary is taken" in each for each in found.messages
    )
    lost = {**nowhere, "bos_token": None, "eos_token": None}
    with pytest.raises(NetworkError, match="write the decoder_start_token_id that it was trained with"):
        load_caption_network(str(edited(folder, tmp_path / "lost", **lost)))
    with pytest.raises(NetworkError, match="begin with token 5000, and its decoder knows 0 to 299"):
        load_caption_network(str(edited(folder, tmp_path / "far", decoder_start_token_id=5000)))


def test_a_decoder_of_berts_kind_begins_with_cls_and_ends_with_sep(tmp_path: Path) -> None:
    """As `VisionEncoderDecoderModel` of a ViT and a BERT is saved, whose configurations name neither."""
    size = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 48}
    vit = transformers.ViTConfig(**size, image_size=32, patch_size=16)
    tokenizer = captioners.word_vocabulary()
    bert = transformers.BertConfig(**size, vocab_size=len(tokenizer), is_decoder=True, add_cross_attention=True)
    module = transformers.VisionEncoderDecoderModel(
        encoder=transformers.ViTModel(vit), decoder=transformers.BertLMHeadModel(bert)
    )
    for part in (module, tokenizer, transformers.ViTImageProcessor(size={"height": 32, "width": 32})):
        part.save_pretrained(tmp_path)
    found = load_caption_network(str(tmp_path))
    assert found.start == tokenizer.cls_token_id == 2 and found.stops == (3,)  # type: ignore[attr-defined]
    assert found.prepare(picture(32, 32)).start == (2,)
    said = " ".join(found.messages)
    assert "begin with: [CLS]" in said and "ends a caption: [SEP]" in said


@pytest.mark.parametrize(
    ("kind", "setting"), [("blip", "bos_token_id"), ("git", "bos_token_id"), ("florence2", "decoder_start_token_id")]
)
def test_other_captioners_that_name_no_start(tmp_path: Path, kind: str, setting: str) -> None:
    folder = edited(getattr(captioners, kind)(tmp_path / "whole"), tmp_path / "bare", **{setting: None})
    found = load_caption_network(str(folder))
    assert found.start == (found.tokenizer.bos_token_id or found.tokenizer.cls_token_id)  # type: ignore[attr-defined]
    assert "names no token that captions begin with" in " ".join(found.messages)
