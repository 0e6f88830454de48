"""`regard caption` as a user runs it: panels, words, maps and their boxes, the row rule, and what goes wrong.

Most of it is shown with a captioner whose words and attention are planted, so that every number is known.
"""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captioners
import catr_twin
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from planted import COLUMNS, ROWS, SENTENCE, Planted

import regard
from regard.app import caption_panels
from regard.app.commands.caption import Result, as_json, as_text
from regard.data.images.longest_side import LongestSide
from regard.errors import DataError, OutputError, UsageError
from regard.explanation import METHODS
from regard.explanation.words.dependence import dependence
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.families.catr import CatrCaptioner
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.wordpiece import Span, WordPiece
from regard.predictors.captions.job import readable_pieces
from regard.records import Heatmap, PatchGrid
from regard.records.captions import peak
from regard.rendering import colour
from regard.rendering.figures.canvas import GAP, MARGIN
from regard.rendering.figures.caption_panels import (
    SOURCE,
    Cell,
    SheetItem,
    caption_panel,
    caption_sheet,
    columns_for,
    tile_for,
)
from regard.results.captions import read_captions

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of three shapes, none square, two with equal names but for their folders."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "deep").mkdir()
    for place, (name, size) in enumerate(
        {"a.png": (60, 100), "b.jpg": (100, 60), "deep/a.png": (60, 100), "deep/c.png": (40, 130)}.items()
    ):
        captioners.picture(*size, seed=place).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ViT-GPT2 of 4 × 6 patches, as a Hugging Face folder."""
    return captioners.encoder_decoder(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def catr() -> CatrCaptioner:
    module = catr_twin.small_catr(torch.stack(catr_twin.pictures(*[(70, 101)] * 2)))
    pieces = [f"w{token}" for token in range(module.vocabulary)]
    for token, piece in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 5: "##s"}.items():
        pieces[token] = piece
    vocabulary = WordPiece(tuple(pieces), {piece: token for token, piece in enumerate(pieces)})
    return CatrCaptioner(module, vocabulary=vocabulary, preparation=LongestSide(101))


def entries(out: Path) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = json.loads((out / "captions.json").read_text(encoding="utf-8"))
    return stored


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def bright_patches(maps: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(each).tolist() for each in maps]


# as a user runs it


def test_a_folder_of_pictures(folder: Path, pictures: Path, tmp_path: Path, run: Run) -> None:
    """Beam search through the command: files, and the maps that the captioner itself gives for what was said."""
    out = tmp_path / "out"
    words = (
        "caption",
        pictures,
        "--model",
        folder,
        "--out",
        out,
        "--beams",
        3,
        "--limit",
        6,
        "--layer",
        1,
        "--head",
        2,
    )
    code, stdout, stderr = run(*words, "--prompt", "a cat", "--json")
    assert code == 0, stderr
    assert json.loads(stdout) == {
        "out": str(out),
        "n": 4,
        "limit_reached": sum(entry["limit_reached"] for entry in entries(out)),
        "network": folder.name,
        "settings": {
            "prompt": "a cat",
            "beams": 3,
            "limit": 6,
            "method": "cross_attention",
            "row": "predicting",
            "layer": 1,
            "head": 2,
        },
    }
    names = ["a", "b", "deep/a", "deep/c"]
    arrays, panels = [f"maps/{name}.npy" for name in names], [f"{name}.png" for name in names]
    assert files(out) == sorted([*panels, *arrays, "captions.json", "contact_sheet.png", "manifest.json"])
    captioner = load_caption_network(folder)
    for entry, name in zip(entries(out), ["a.png", "b.jpg", "deep/a.png", "deep/c.png"], strict=True):
        prepared = captioner.prepare(Image.open(pictures / name).convert("RGB"), "a cat")
        right = captioner.generate([prepared], beams=3, limit=6, capture=Capture(1, 2))[0]
        rows = right.predicting[0, 0].numpy()
        maps = np.load(out / entry["maps"])
        assert entry["name"] == name and maps.dtype == np.float32 and maps.shape == (len(entry["words"]), 4, 6)
        for word, values in zip(entry["words"], maps, strict=True):
            start, stop = word["steps"]
            assert np.abs(values - rows[start:stop].mean(0)).max() < 1e-6
            assert word["log_probability"] == pytest.approx(float(right.log_probabilities[start:stop].sum()), rel=1e-4)
        assert len(entry["steps"]) == len(right.tokens) and len(entry["steps"][0]["alternatives"]) == 5
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["kind"] == "captions" and manifest["n"] == 4 and len(manifest["provenance"]["weights_sha256"]) == 64
    assert (out / "manifest.json").stat().st_mtime_ns == max(path.stat().st_mtime_ns for path in out.rglob("*.*"))


def test_catr_says_the_same_whatever_the_batch(catr: CatrCaptioner, pictures: Path, tmp_path: Path) -> None:
    one = regard.caption(pictures, tmp_path / "one", catr, batch_size=1, limit=8)
    all_ = regard.caption(pictures, tmp_path / "all", catr, limit=8)
    assert one.first == all_.first and one.n == 4
    shapes = [caption.words[0].heatmap.values.shape for caption in all_.captions if caption.words[0].heatmap]
    assert shapes == [(4, 7), (7, 4), (4, 7), (2, 7)]  # rows, columns
    for left, right in zip(one.captions, all_.captions, strict=True):
        for one_word, other in zip(left.words, right.words, strict=True):
            assert one_word.heatmap is not None and other.heatmap is not None
            assert np.abs(one_word.heatmap.values - other.heatmap.values).max() < 1e-5


def test_a_given_caption_has_the_maps_of_another_method_and_what_it_owes_to_its_picture(
    catr: CatrCaptioner, pictures: Path, tmp_path: Path
) -> None:
    """As the captioner, the method and `dependence` say it, of pictures of two shapes; a word of two pieces."""
    names, text = [pictures / "a.png", pictures / "b.jpg"], "w7s w9 w11"
    (tmp_path / "given.csv").write_text("filename,caption\n" + "".join(f"{name},{text}\n" for name in names))
    options = {"captions": tmp_path / "given.csv", "method": "grad_cross_attention", "layer": 0, "depends": True}
    regard.caption(names, tmp_path / "out", catr, **options)  # type: ignore[arg-type]
    tokens = catr.tokenize(text)
    ready = [catr.prepare(Image.open(name).convert("RGB")) for name in names]
    assert len(tokens) == 5 and tokens[-1] == 102
    for place, entry in enumerate(entries(tmp_path / "out")):
        assert [word["text"] for word in entry["words"]] == ["w7s", "w9", "w11", "<end>"]
        forced = catr.teacher_force([ready[place]], [tokens])[0].log_probabilities
        right = [float(forced[:2].sum()), *forced[2:].tolist()]
        assert [word["log_probability"] for word in entry["words"]] == pytest.approx(right, rel=1e-4)
        maps = METHODS.load("grad_cross_attention")(catr, ready[place], tokens, layer=0)
        words = np.stack([maps[:2].mean(0), *maps[2:]])
        assert np.abs(np.load(tmp_path / "out" / entry["maps"]) - words).max() < 1e-6
        spans = [Span("", start, stop) for start, stop in ((0, 2), (2, 3), (3, 4), (4, 5))]
        right = dependence(catr, ready[place], ready[1 - place], tokens, layer=0).of_words(spans)
        for name in ("over_other", "over_none", "moved_by_other", "moved_by_none"):
            values = [word["depends"][name] for word in entry["words"]]
            assert values == pytest.approx(getattr(right, name).tolist(), rel=1e-3, abs=1e-4)
        assert max(map(abs, values)) > 0.01, "the network must look at its picture"


@pytest.mark.shared
def test_a_checkpoint_file_alone_gives_the_words_and_maps_of_the_original(
    shared: Path, tmp_path: Path, run: Run
) -> None:
    """The golden network by the command, with the shipped vocabulary; a word of two pieces has the mean of its maps."""
    from skimage.data import chelsea

    sys.path.insert(0, str(shared / "golden"))
    from fill import fill

    layout = [line.split("\t") for line in (shared / "golden" / "catr_layout.tsv").read_text().splitlines()[1:]]
    weights = {name: torch.from_numpy(fill(name, tuple(map(int, shape.split("x"))))) for name, shape, _ in layout}
    torch.save({"model": weights}, tmp_path / "weights.pth")
    Image.fromarray(chelsea()).save(tmp_path / "cat.png")
    out = tmp_path / "out"
    code, _, stderr = run("caption", tmp_path / "cat.png", "-m", tmp_path / "weights.pth", "-o", out, "--limit", 12)
    (tmp_path / "weights.pth").unlink()
    assert code == 0 and "1 caption (cat.png) reached the length limit of 12 tokens" in stderr
    right, vocabulary = np.load(shared / "golden" / "catr.npz"), WordPiece.load()
    entry, maps = entries(out)[0], np.load(out / "maps" / "cat.npy")
    assert [vocabulary.tokens[step["piece"]] for step in entry["steps"]] == right["tokens"][1:].tolist()
    attention = right["cross_attention"][-1].reshape(12, 13, 19)
    assert any(word["steps"][1] - word["steps"][0] == 2 for word in entry["words"])
    for word, values in zip(entry["words"], maps, strict=True):
        assert np.abs(values - attention[slice(*word["steps"])].mean(0)).max() < 1e-5


# what is said of each word


def test_words_by_hand(pictures: Path, tmp_path: Path) -> None:
    result = regard.caption(pictures / "a.png", tmp_path / "out", Planted())
    entry = entries(tmp_path / "out")[0]
    assert entry["text"] == "a cat unbelievably naps." and entry["limit_reached"] is False
    assert [word["text"] for word in entry["words"]] == ["a", "cat", "unbelievably", "naps", ".", "<end>"]
    assert bright_patches(np.load(tmp_path / "out" / "maps" / "a.npy")) == [[0], [1], [2, 3, 4], [5], [6], [7]]
    third = entry["words"][2]
    assert third["steps"] == [2, 5] and third["log_probability"] == pytest.approx(-1.2)
    assert third["probability"] == pytest.approx(math.exp(-1.2))
    assert third["focus"] == {
        "entropy": pytest.approx(math.log(3), rel=1e-5),
        "top_tenth": pytest.approx(2 / 3, rel=1e-5),
    }
    assert entry["log_probability"] == pytest.approx(-3.6)
    step = entry["steps"][3]
    assert step["piece"] == "##believ" and step["alternatives"][0]["probability"] == step["probability"]
    assert step["alternatives"][1] == {"piece": "[PAD]", "probability": 0.0, "log_probability": None}
    assert (
        as_text(result) == f"a.png: a cat unbelievably naps.\n1 picture captioned by planted, written to {result.out}"
    )
    assert as_json(result)["settings"]["layer"] == 2 and as_json(result)["settings"]["head"] == "mean"


def test_boxes_of_peaks_are_in_the_users_pixels_and_inside_the_picture(pictures: Path, tmp_path: Path) -> None:
    """60 × 100 pixels, the grid from (-10, -5) to (102, 61): cells of 22.4 × 22."""
    regard.caption(pictures / "a.png", tmp_path / "out", Planted())
    peaks = [word["peak"] for word in entries(tmp_path / "out")[0]["words"]]
    assert peaks[0] == {"row": 0, "column": 0, "value": 1.0, "box": [0.0, 0.0, 12.4, 17.0]}
    assert peaks[3] == {"row": 1, "column": 0, "value": 1.0, "box": [0.0, 17.0, 12.4, 39.0]}
    grid = PatchGrid(ROWS, COLUMNS, 0, (60, 100), (-10.0, -5.0, 102.0, 61.0))
    values = np.zeros((ROWS, COLUMNS), np.float32)
    assert peak(Heatmap(values, grid, "a")) is None
    values[2, 4] = 0.5
    top = peak(Heatmap(values, grid, "a"))
    assert top is not None and (top.row, top.column, top.value) == (2, 4, 0.5)
    assert top.box == pytest.approx((79.6, 39.0, 100.0, 60.0))


def test_the_reading_row_has_a_start_that_nobody_says(pictures: Path, tmp_path: Path) -> None:
    result = regard.caption(pictures / "a.png", tmp_path / "out", Planted(), row="reading")
    words = entries(tmp_path / "out")[0]["words"]
    assert [word["text"] for word in words][:2] == ["<start>", "a"] and words[-1]["text"] == "<end>"
    assert words[0]["probability"] is words[0]["log_probability"] is words[0]["steps"] is None
    assert bright_patches(np.load(tmp_path / "out" / "maps" / "a.npy")) == [[0], [1], [2], [3, 4, 5], [6], [7], [8]]
    assert next(result.captions).words[0].probability == 1


def test_saved_captions_are_read_again(pictures: Path, tmp_path: Path) -> None:
    result = regard.caption(pictures, tmp_path / "out", Planted(SENTENCE, (1, 2)))
    stored = list(read_captions(tmp_path / "out"))
    assert [caption.name for caption in stored] == ["a.png", "b.jpg", "deep/a.png", "deep/c.png"]
    assert stored[1].text == "a cat" and [word.text for word in stored[1].words] == ["a", "cat"]
    heatmap = stored[1].words[1].heatmap
    assert heatmap is not None and heatmap.grid.picture == (100, 60) and heatmap.values[0, 1] == 1
    assert stored[0].provenance["network"] == "planted" and result.cut == 2
    with pytest.raises(DataError, match="not a finished result"):
        read_captions(pictures)
    (tmp_path / "out" / "captions.json").write_text(json.dumps(entries(tmp_path / "out"), indent=2))
    with pytest.raises(DataError, match="is not as regard wrote it, a line for each picture"):
        next(read_captions(tmp_path / "out"))


def test_pieces_show_where_words_begin() -> None:
    assert readable_pieces(Pieces(("Ġcat", "s"), "bytes", (False, False))) == [" cat", "s"]
    assert readable_pieces(Pieces(("▁cat", "s"), "sentencepiece", (False, False))) == [" cat", "s"]
    assert readable_pieces(Pieces(("cat", "##s"), "wordpiece", (False, False))) == ["cat", "##s"]


# panels


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was given to be drawn, panel by panel."""
    calls: list[tuple[Any, ...]] = []

    def drawing(*arguments: Any) -> Image.Image:
        calls.append(arguments)
        return caption_panel(*arguments)

    monkeypatch.setattr(caption_panels, "caption_panel", drawing)
    return calls


def test_a_panel_shows_the_picture_and_then_each_word(drawings: Any, pictures: Path, tmp_path: Path) -> None:
    regard.caption(pictures / "a.png", tmp_path / "out", Planted(), row="reading", colours="jet")
    _, name, text, cells, style, line = drawings[0]
    assert (name, text, style.colours, style.grey) == ("a.png", "a cat unbelievably naps.", "jet", True)
    assert [(cell.title, cell.note) for cell in cells] == [
        ("picture", ""), ("<start>", "given"), ("a", "0.905"), ("cat", "0.819"), ("unbelievably", "0.301"),
        ("naps", "0.549"), (".", "0.497"), ("<end>", "0.449"),
    ]  # fmt: skip
    assert "row reading" in line and "layer 2" in line and "network planted" in line


def test_the_source_style_shows_the_panels_of_the_source(drawings: Any, pictures: Path, tmp_path: Path) -> None:
    regard.caption(pictures / "a.png", tmp_path / "out", Planted(), style="source")
    cells, style = drawings[0][3], drawings[0][4]
    assert style is SOURCE
    maps = [None if cell.heatmap is None else np.flatnonzero(cell.heatmap.values).tolist() for cell in cells]
    assert [cell.title for cell in cells] == ["<start>", "a", "cat", "unbelievably", "naps.", "<end>"]
    assert maps == [None, None, [1], [2, 3, 4], [5], [6]]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["style"] == "source"


def test_the_source_lays_jet_at_a_half_on_the_colour_picture() -> None:
    image = captioners.picture(280, 420)
    heatmap = Heatmap(np.random.default_rng(0).random((4, 6), np.float32), PatchGrid.whole(4, 6, 0, (280, 420)), "a")
    panel = caption_panel(image, "a", "a cat", [Cell("picture"), Cell("a", heatmap=heatmap)], SOURCE)
    jet = Image.fromarray(colour.paint(heatmap.upsampled(), "jet", scale=colour.limits(heatmap.values)))
    top = MARGIN + 30 + 34 + 24
    corners = [MARGIN, MARGIN + 420 + GAP]
    tiles = [panel.crop((left, top, left + 420, top + 280)) for left in corners]
    assert np.array_equal(tiles[0], image) and np.array_equal(tiles[1], Image.blend(image, jet, 0.5))
    usual = caption_panel(image, "a", "a cat", [Cell("picture"), Cell("a", heatmap=heatmap)])
    grey = np.asarray(usual.crop((corners[1], top, corners[1] + 420, top + 280)))
    assert np.array_equal(grey, colour.overlay(image, heatmap.upsampled(), scale=colour.limits(heatmap.values)))


@pytest.mark.parametrize("size", [(60, 100), (100, 60), (40, 400), (400, 40)])
@pytest.mark.parametrize("count", [2, 4, 26, 128])
def test_panels_stay_of_a_shape_that_can_be_read(size: tuple[int, int], count: int) -> None:
    image = captioners.picture(*size)
    grid = PatchGrid.whole(2, 3, 0, size)
    cells = [Cell(f"word{place}", "0.5", Heatmap(np.eye(2, 3, dtype=np.float32), grid, "a")) for place in range(count)]
    panel = caption_panel(image, "a", " ".join(cell.title for cell in cells), cells)
    assert 560 <= panel.width <= 3200 and panel.height <= 2400
    assert 150 <= tile_for(count, image.size) <= 420


def test_rows_are_filled() -> None:
    assert columns_for(1, 100, 100) == 1 and columns_for(6, 100, 100) == 3 and columns_for(24, 100, 100) == 6
    assert columns_for(4, 400, 60) == 1 and columns_for(4, 60, 400) == 4


def test_the_contact_sheet_has_each_picture_with_its_words() -> None:
    image = captioners.picture(60, 100)
    one, three = (caption_sheet([SheetItem(image, "a.png", "a cat " * 20)] * count) for count in (1, 3))
    assert one.width >= 560 and three.height >= one.height and three.width > one.width
    with pytest.raises(UsageError, match="of no pictures"):
        caption_sheet([])


# many pictures, bad ones


def test_pictures_are_written_as_they_come(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captioner, counts = Planted(), []
    generate = captioner.generate

    def watching(*arguments: Any, **how: Any) -> list[Decoding]:
        counts.append(len(list(tmp_path.glob("out.part/result/maps/**/*.npy"))))
        return generate(*arguments, **how)

    monkeypatch.setattr(captioner, "generate", watching)
    regard.caption(pictures, tmp_path / "out", captioner, batch_size=2)
    assert captioner.batches == [2, 2] and counts == [0, 2]


def test_bad_pictures_are_named_and_skipped_on_request(pictures: Path, tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "in" / name).write_bytes((pictures / name).read_bytes())
    (tmp_path / "in" / "aa.png").write_bytes(b"no picture")
    captioners.picture(2, 90).save(tmp_path / "in" / "thin.png")
    with pytest.raises(DataError, match=r"aa\.png"):
        regard.caption(tmp_path / "in", tmp_path / "out", Planted())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    result = regard.caption(tmp_path / "in", tmp_path / "out", Planted(), skip_bad=True)
    assert result.n == 2 and [entry["name"] for entry in entries(tmp_path / "out")] == ["a.png", "b.jpg"]
    assert "skipped: thin.png: a picture of 2 × 90 pixels is too thin" in caplog.text
    with pytest.raises(DataError, match="none of the pictures could be read"):
        regard.caption(tmp_path / "in" / "aa.png", tmp_path / "none", Planted(), skip_bad=True)
    assert not (tmp_path / "none").exists()


def test_a_caption_that_is_cut_or_empty_is_said(pictures: Path, tmp_path: Path, caplog: Any) -> None:
    """Nothing but the end, padding alone, a whole one, and one that reached the limit."""
    result = regard.caption(pictures, tmp_path / "out", Planted((8,), (0, 0), SENTENCE, (1, 2)))
    stored = entries(tmp_path / "out")
    assert [entry["text"] for entry in stored] == ["", "", "a cat unbelievably naps.", "a cat"]
    assert [[word["text"] for word in entry["words"]] for entry in stored[:2]] == [["<end>"], []]
    assert np.load(tmp_path / "out" / "maps" / "b.npy").shape == (0, ROWS, COLUMNS)
    assert [entry["limit_reached"] for entry in stored] == [False, True, False, True] and result.cut == 2
    assert "2 captions (b.jpg, deep/c.png) reached the length limit of 9 tokens and have no <end>" in caplog.text
    assert "give a higher --limit, up to 12" in caplog.text
    assert "2 captions (a.png, b.jpg) have no words: the network ended at once" in caplog.text
    regard.caption(pictures / "a.png", tmp_path / "most", Planted((1, 2)), limit=12)
    assert "the network takes no more" in caplog.text
    regard.caption(pictures, tmp_path / "source", Planted((8,), (0, 0)), style="source")


def test_results_are_replaced_only_when_asked(pictures: Path, tmp_path: Path) -> None:
    def go(**how: Any) -> Result:
        return regard.caption(pictures / "a.png", tmp_path / "out", Planted(), **how)

    go()
    with pytest.raises(OutputError, match="--overwrite"):
        go()
    assert go(overwrite=True, row="reading").settings["row"] == "reading"


def test_layer_and_head_reach_the_captioner(pictures: Path, tmp_path: Path) -> None:
    captioner = Planted()
    regard.caption(pictures / "a.png", tmp_path / "one", captioner)
    regard.caption(pictures / "a.png", tmp_path / "two", captioner, layer=0, head=1)
    assert captioner.captures == [Capture(2, "mean"), Capture(0, 1)]


# what cannot be done


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--model", "pets-tiny"), 2, r"pets-tiny is no network that can caption; give .*catr-v1, .*blip.*smolvlm"),
        (("--model", "hf:nobody/nothing"), 1, r"cannot fetch hf:nobody/nothing"),
        (("--model", "nowhere.pth"), 1, r"no checkpoint at nowhere.pth"),
        (("--model", "SMALL", "--layer", 3), 2, r"there is no layer 3; they go from 0 to 2"),
        (("--model", "SMALL", "--head", 4), 2, r"there is no head 4; they go from 0 to 3"),
        (("--model", "SMALL", "--limit", 40), 2, r"a length limit of 40 tokens is out of range; it goes from 1 to 39"),
        (("--model", "SMALL", "--device", "abacus"), 2, r"device 'abacus' cannot be used here"),
        (("--model", "SMALL", "--prompt", "a cat " * 99), 2, r"shorten the prompt"),
        (("--model", "VIT"), 2, r"of the kind 'vit', which cannot caption; give .*catr-v1"),
        (("--model", "SMALL", "--row", "read"), 2, r"unknown row 'read'; did you mean 'reading'"),
        (("--model", "SMALL", "--style", "sauce"), 2, r"unknown style 'sauce'; did you mean 'source'"),
        (("--model", "SMALL", "--colours", "jat"), 2, r"unknown colour map 'jat'"),
        (("--model", "SMALL", "--style", "source", "--row", "reading"), 2, r"leave --row out"),
        (("--model", "SMALL", "--style", "source", "--colours", "viridis"), 2, r"leave --colours out"),
        (("--model", "SMALL", "--beams", 0), 2, r"beams"),
    ],
)
def test_wrong_commands_get_one_line(
    words: tuple[Any, ...], code: int, message: str, folder: Path, pictures: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "vit").mkdir()
    if "VIT" in words:
        transformers.ViTConfig().save_pretrained(tmp_path / "vit")
    options = [{"SMALL": folder, "VIT": tmp_path / "vit"}.get(word, word) for word in words]
    exit_code, stdout, stderr = run("caption", pictures, "--out", tmp_path / "out", *options)
    assert exit_code == code and stdout == ""
    *reading, error = stderr.strip().splitlines()
    assert all(re.search(r": 4 pictures$", line) for line in reading), "how DATA was read may stand before the error"
    assert re.search(message, error), stderr
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


def test_pictures_that_are_not_there(folder: Path, tmp_path: Path, run: Run) -> None:
    code, _, stderr = run("caption", tmp_path / "nowhere", "--out", tmp_path / "out", "--model", folder)
    assert code == 1 and "there is no" in stderr


def test_a_captioner_that_is_given_stays_where_it_is(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave device out"):
        regard.caption(pictures, tmp_path / "out", Planted(), device="cpu")


def test_catr_takes_no_prompt(catr: CatrCaptioner, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no prompt"):
        regard.caption(pictures, tmp_path / "out", catr, prompt="a cat")
    assert not (tmp_path / "out").exists()
