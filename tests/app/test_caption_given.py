"""`regard caption` with captions that are given, methods other than the captured attention, and what words owe to their
picture, with a captioner whose words and attention are planted."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import captioners
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from planted import COLUMNS, PIECES, ROWS, Planted

import regard
from regard.app import caption_panels
from regard.errors import DataError, RegardError, UsageError
from regard.explanation import METHODS, Method
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding

Run = Callable[..., tuple[int, str, str]]
TEXTS = {
    "a.png": ["a cat naps.", "a cat"],
    "b.jpg": ["cat", "A CAT unbelievably naps", "a"],
    "deep/c.png": ["a cat."] * 2,
}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures of two shapes, one dark, with `captions.json` and `captions.csv` beside them."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name, size, brightness in (("a.png", (100, 60), 200), ("b.jpg", (60, 100), 20), ("deep/c.png", (100, 60), 90)):
        Image.new("RGB", size, (brightness,) * 3).save(folder / name)
    write_json(folder / "captions.json", TEXTS)
    rows = [{"filename": name, "caption": text} for name, texts in TEXTS.items() for text in texts]
    pd.DataFrame(rows).to_csv(folder / "captions.csv", index=False)
    return folder


def write_json(file: Path, captions_of: dict[str, list[str]], key: str = "caption") -> Path:
    images = [{"id": number, "file_name": name} for number, name in enumerate(captions_of)]
    annotations = [
        {"image_id": number, key: text} for number, texts in enumerate(captions_of.values()) for text in texts
    ]
    file.write_text(json.dumps({"images": images, "annotations": annotations}), encoding="utf-8")
    return file


def entries(out: Path) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = json.loads((out / "captions.json").read_text(encoding="utf-8"))
    return stored


def words_of(entry: dict[str, Any]) -> list[str]:
    return [word["text"] for word in entry["words"]]


def bright_patches(maps: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(each).tolist() for each in maps]


# given captions


@pytest.mark.parametrize("file", ["captions.json", "captions.csv", ""])
def test_the_first_caption_is_given_word_by_word(file: str, pictures: Path, tmp_path: Path) -> None:
    """A COCO file, a table, and the folder that has the file; what is said is as the user wrote it."""
    result = regard.caption(pictures, tmp_path / "out", Planted(), captions=pictures / file)
    stored = entries(tmp_path / "out")
    assert [entry["name"] for entry in stored] == list(TEXTS)
    assert [entry["text"] for entry in stored] == ["a cat naps.", "cat", "a cat."]
    assert words_of(stored[0]) == ["a", "cat", "naps", ".", "<end>"] and words_of(stored[1]) == ["cat", "<end>"]
    assert stored[0]["log_probability"] == pytest.approx(-1.5) and stored[0]["unknown"] == []
    assert [word["probability"] for word in stored[1]["words"]] == pytest.approx([math.exp(-0.1), math.exp(-0.2)])
    assert bright_patches(np.load(tmp_path / "out" / "maps" / "b.npy")) == [[0], [1]]
    assert result.cut == 0 and result.settings["captions"] == (file or "in") and result.settings["which"] == "0"
    assert "beams" not in result.settings and "limit" not in result.settings


def test_another_or_all_of_them(pictures: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"captions": pictures / "captions.csv"}
    regard.caption(pictures, tmp_path / "second", Planted(), which=1, **settings)
    assert [entry["text"] for entry in entries(tmp_path / "second")] == ["a cat", "A CAT unbelievably naps", "a cat."]
    result = regard.caption(pictures, tmp_path / "all", Planted(), which="all", **settings)
    stored = entries(tmp_path / "all")
    assert result.n == 7 and [(entry["name"], entry["which"]) for entry in stored] == [
        (name, which) for name, texts in TEXTS.items() for which in range(len(texts))
    ]
    panels = ["a_0.png", "a_1.png", "b_0.png", "b_1.png", "b_2.png", "deep/c_0.png", "deep/c_1.png"]
    assert [entry["panel"] for entry in stored] == panels
    assert all((tmp_path / "all" / panel).is_file() for panel in panels)
    assert words_of(stored[3]) == ["a", "cat", "unbelievably", "naps", "<end>"]
    table = regard.caption(pictures, tmp_path / "all.parquet", Planted(), which="all", **settings)
    assert [(caption.name, caption.text) for caption in table.captions] == [
        (caption.name, caption.text) for caption in result.captions
    ]
    assert pd.read_parquet(table.out)["which"].tolist()[:8] == [0] * 5 + [1] * 3


def test_a_part_of_the_pictures_has_its_own_captions(pictures: Path, tmp_path: Path) -> None:
    """Whatever they are called by where they are named."""
    regard.caption([pictures / "deep", pictures / "b.jpg"], tmp_path / "out", Planted(), captions=pictures)
    stored = [(entry["name"], entry["text"]) for entry in entries(tmp_path / "out")]
    assert stored == [("c.png", "a cat."), ("b.jpg", "cat")]


def test_words_that_the_network_does_not_know_are_said(pictures: Path, tmp_path: Path, caplog: Any) -> None:
    captions_of = {"a.png": ["a xyzzy naps 😺"], "b.jpg": ["a 猫 я"], "deep/c.png": ["(Ёж). cat"]}
    file = write_json(pictures / "odd.json", captions_of)
    regard.caption(pictures, tmp_path / "out", Planted(), captions=file)
    stored = entries(tmp_path / "out")
    assert [entry["unknown"] for entry in stored] == [["xyzzy", "😺"], [], ["Ёж"]]
    assert words_of(stored[0]) == ["a", "xyzzy", "naps", "😺", "<end>"]
    assert words_of(stored[2]) == ["(", "Ёж", ")", ".", "cat", "<end>"]
    assert [step["piece"] for step in stored[0]["steps"]][1:4:2] == ["xyzzy", "😺"]
    assert words_of(stored[1]) == ["a", "猫", "я", "<end>"] and stored[1]["text"] == "a 猫 я"
    assert "3 words (xyzzy in a.png, 😺 in a.png, Ёж in deep/c.png) are unknown to planted" in caplog.text


def test_pictures_without_captions_are_named_and_left_out_on_request(
    pictures: Path, tmp_path: Path, caplog: Any
) -> None:
    captioners.picture(30, 40).save(pictures / "more.png")
    with pytest.raises(DataError, match=r"1 picture \('more.png'\) is without a caption in .*in; add captions"):
        regard.caption(pictures, tmp_path / "out", Planted(), captions=pictures)
    result = regard.caption(pictures, tmp_path / "out", Planted(), captions=pictures, skip_bad=True)
    assert result.n == 3 and "more.png" in caplog.text
    with pytest.raises(DataError, match="is without a caption"):
        regard.caption(pictures / "more.png", tmp_path / "none", Planted(), captions=pictures, skip_bad=True)


@pytest.mark.parametrize(
    ("captions_of", "key", "message"),
    [
        ({**TEXTS, "a.png": []}, "caption", r"1 picture \('a.png'\) is without a caption"),
        (TEXTS, "sentence", r"without a caption; its annotations have .*sentence"),
        ({**TEXTS, "b.jpg": ["  "]}, "caption", r"1 picture \('b.jpg'\) is there with an empty caption"),
        ({**TEXTS, "b.jpg": ["\u200b"]}, "caption", r"b.jpg: the caption '\\u200b' has no words for planted"),
        ({**TEXTS, "b.jpg": ["a cat " * 6]}, "caption", r"b.jpg: the caption .* 13 tokens with its end, .* takes 12"),
    ],
)
def test_captions_that_cannot_be_given(
    captions_of: dict[str, list[str]], key: str, message: str, pictures: Path, tmp_path: Path
) -> None:
    """Named before any picture is captioned."""
    captioner = Planted()
    with pytest.raises(DataError, match=message) as raised:
        regard.caption(
            pictures, tmp_path / "out", captioner, captions=write_json(pictures / "odd.json", captions_of, key)
        )
    assert len(str(raised.value).splitlines()) == 1 and not captioner.batches
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_prompt_leaves_less_room_for_a_caption(pictures: Path, tmp_path: Path) -> None:
    """Twelve tokens after the start, of which the prompt takes two."""

    class Prompted(Planted):
        def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
            ready = super().prepare(image)
            return PreparedPicture(ready.inputs, ready.grid, (10, 1, 2))

    for text, fits in (("a cat naps " * 3, True), ("a cat naps " * 3 + "a", False)):
        file = write_json(pictures / "odd.json", {name: [text] for name in TEXTS})
        if fits:
            regard.caption(pictures, tmp_path / "out", Prompted(), captions=file, prompt="a cat")
        else:
            with pytest.raises(DataError, match=r"a.png: .* has 11 tokens with its end, and planted takes 10"):
                regard.caption(pictures, tmp_path / "none", Prompted(), captions=file, prompt="a cat")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"which": "2"}, r"a.png has no caption 2, only 0 to 1"),
        ({"which": "first"}, r"--which is 'first'; it must be the number of a caption, from 0, or all"),
        ({"which": "-1"}, r"--which is '-1'"),
        ({"captions": None, "which": "1"}, r"--which 1 is of captions that are given; give --captions FILE"),
        ({"beams": 3}, r"--beams is of captions that are made, and --captions gives them"),
        ({"limit": 5}, r"--limit is of captions that are made, and --captions gives them"),
        ({"captions": "nowhere.json"}, r"there is no nowhere.json"),
        ({"captions": "IN/a.png"}, r"neither a .json in COCO's style nor a .csv"),
    ],
)
def test_options_of_given_captions(settings: dict[str, Any], message: str, pictures: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"captions": pictures / "captions.json", **settings}
    if options["captions"] == "IN/a.png":
        options["captions"] = pictures / "a.png"
    with pytest.raises(RegardError, match=message):
        regard.caption(pictures, tmp_path / "out", Planted(), **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_captions_of_another_text_start_anew(pictures: Path, tmp_path: Path) -> None:
    class Stopped(Planted):
        def teacher_force(self, pictures: Any, captions: Any, **how: Any) -> list[Decoding]:
            if len(self.batches) == 1:
                raise KeyboardInterrupt
            return super().teacher_force(pictures, captions, **how)

    settings: dict[str, Any] = {"captions": pictures / "captions.json", "batch_size": 2}
    for captions_of, batches in ((TEXTS, [1]), ({**TEXTS, "a.png": ["naps"]}, [2, 1])):
        write_json(pictures / "captions.json", TEXTS)
        with pytest.raises(KeyboardInterrupt):
            regard.caption(pictures, tmp_path / "out", Stopped(), **settings)
        write_json(pictures / "captions.json", captions_of)
        captioner = Planted()
        regard.caption(pictures, tmp_path / "out", captioner, overwrite=True, **settings)
        assert captioner.batches == batches
        assert entries(tmp_path / "out")[0]["text"] == captions_of["a.png"][0]
        for file in sorted((tmp_path / "out").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()


# methods


def numbered(
    captioner: CaptionNetwork,
    picture: PreparedPicture,
    tokens: Sequence[int],
    *,
    layer: int = 0,
    row: str = "predicting",
) -> np.ndarray:
    """The map of token i is 10 · layer + i everywhere, and 100 more by the reading rule."""
    values = np.arange(len(tokens)) + 10 * layer + 100 * (row == "reading")
    return np.broadcast_to(values[:, None, None], (len(tokens), ROWS, COLUMNS)).astype(np.float32)


def below(captioner: CaptionNetwork, picture: PreparedPicture, tokens: Sequence[int]) -> np.ndarray:
    return numbered(captioner, picture, tokens) - 3


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, settings, signed in (("numbered", ("layer", "row"), False), ("below", (), True)):
        row = Method(name, "word", f"{__name__}:{name}", "for tests", (), settings, signed, False, 0, "no paper")
        monkeypatch.setitem(METHODS._rows, name, row)


@pytest.mark.usefixtures("methods")
def test_another_method_looks_at_the_finished_caption(pictures: Path, tmp_path: Path) -> None:
    """A word of three pieces has the mean of their maps; nothing is captured on the way."""
    captioner = Planted()
    result = regard.caption(pictures / "a.png", tmp_path / "out", captioner, method="numbered", layer=2)
    maps = np.load(tmp_path / "out" / "maps" / "a.npy")
    assert maps[:, 0, 0].tolist() == [20, 21, 23, 25, 26, 27] and (maps == maps[:, :1, :1]).all()
    assert captioner.captures == [None] and result.settings["method"] == "numbered" and result.settings["layer"] == 2
    assert "head" not in result.settings
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["method"] == "numbered"
    regard.caption(pictures / "a.png", tmp_path / "read", captioner, method="numbered", row="reading")
    maps = np.load(tmp_path / "read" / "maps" / "a.npy")
    assert maps[:, 0, 0].tolist() == [0, 100, 101, 103, 105, 106, 107]  # the start: what predicts the first


@pytest.mark.usefixtures("methods")
def test_maps_with_a_sign_have_no_focus(pictures: Path, tmp_path: Path) -> None:
    regard.caption(pictures / "a.png", tmp_path / "out", Planted(), method="below")
    words = entries(tmp_path / "out")[0]["words"]
    assert words[0]["focus"] is None and words[-1]["focus"] is not None


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "rollout"}, "rollout makes maps of pictures, not of words; for words there are cross_attention, "),
        ({"method": "cross_atention"}, "unknown method 'cross_atention'; did you mean .*'cross_attention'"),
        ({"method": "numbered", "head": 1}, "numbered takes no --head"),
        ({"method": "below", "row": "reading"}, "below takes no --row"),
        ({"start": 1}, "cross_attention takes no --start"),
        ({"method": "numbered", "layer": 3}, "there is no layer 3; they go from 0 to 2"),
        ({"method": "tam"}, "tam needs a language model that has the picture among its tokens, which planted"),
        ({"row": "read"}, "unknown row 'read'"),
    ],
)
def test_methods_that_do_not_fit(settings: dict[str, Any], message: str, pictures: Path, tmp_path: Path) -> None:
    captioner = Planted()
    with pytest.raises(UsageError, match=message):
        regard.caption(pictures, tmp_path / "out", captioner, **settings)
    assert not captioner.batches and [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_command_checks_the_method_at_the_door(run: Run, pictures: Path, tmp_path: Path) -> None:
    words = ("caption", pictures, "--out", tmp_path / "out", "--model", "nowhere.pth")
    for method, message in (("rollout", "makes maps of pictures"), ("rolout", "unknown method 'rolout'")):
        code, _, stderr = run(*words, "--method", method)
        assert code == 2 and message in stderr and len(stderr.strip().splitlines()) == 1


# what words owe to their picture


class Honest(Planted):
    """The first word is the likelier the brighter the picture, and its map the higher up; the others never change."""

    def teacher_force(self, pictures: Any, captions: Any, **how: Any) -> list[Decoding]:
        decodings = super().teacher_force(pictures, captions, **how)
        for picture, decoding in zip(pictures, decodings, strict=True):
            bright = int(picture.inputs["brightness"]) / 3
            decoding.log_probabilities[0] = -100 / bright
            assert decoding.attention is not None
            decoding.attention[..., 0, :, :] = torch.zeros(ROWS, COLUMNS)
            decoding.attention[..., 0, 2 - int(bright) // 90, 0] = 1
        return decodings


def test_what_words_owe_to_their_picture_by_hand(pictures: Path, tmp_path: Path) -> None:
    """Pictures of brightness 200, 20 and 90 (rows 0, 2 and 1), each beside the next, and grey of 128 (row 1)."""
    result = regard.caption(pictures, tmp_path / "out", Honest(), captions=pictures, depends=True)
    stored = [entry["words"] for entry in entries(tmp_path / "out")]
    lights = [(200, 20), (20, 90), (90, 200)]
    for words, (light, other) in zip(stored, lights, strict=True):
        depends = words[0]["depends"]
        assert depends["over_other"] == pytest.approx(100 / other - 100 / light, abs=0.1)  # JPEG is not exact
        assert depends["over_none"] == pytest.approx(100 / 128 - 100 / light, abs=0.1)
        assert depends["moved_by_other"] == 1 and depends["moved_by_none"] == (light != 90)
        assert words[1]["depends"] == dict.fromkeys(depends, 0)
    assert result.settings["depends"] is True
    table = pd.read_parquet(
        regard.caption(pictures, tmp_path / "t.parquet", Honest(), captions=pictures, depends=True).out
    )
    assert table["over_other"].tolist() == [word["depends"]["over_other"] for words in stored for word in words]


def test_the_start_owes_nothing(pictures: Path, tmp_path: Path) -> None:
    regard.caption(pictures, tmp_path / "out", Honest(), depends=True, row="reading")
    words = entries(tmp_path / "out")[0]["words"]
    assert words[0]["text"] == "<start>" and words[0]["depends"] is None
    assert words[1]["depends"]["over_other"] > 0 and len(words) == 7


def test_the_next_picture_that_can_be_read_is_the_other(pictures: Path, tmp_path: Path) -> None:
    (pictures / "aa.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"aa\.png"):
        regard.caption(pictures, tmp_path / "none", Honest(), depends=True)
    regard.caption(pictures, tmp_path / "out", Honest(), depends=True, skip_bad=True)
    words = entries(tmp_path / "out")[0]["words"]
    assert words[0]["depends"]["over_other"] == pytest.approx(4.5, abs=0.1)
    with pytest.raises(UsageError, match="there is one alone"):
        regard.caption(pictures / "a.png", tmp_path / "one", Honest(), depends=True)
    with pytest.raises(DataError, match=r"no other picture that a\.png could be compared with"):
        regard.caption(
            [pictures / "a.png", pictures / "aa.png"], tmp_path / "two", Honest(), depends=True, skip_bad=True
        )


def test_all_captions_of_a_picture_are_compared_with_another_one(pictures: Path, tmp_path: Path) -> None:
    regard.caption(pictures, tmp_path / "out", Honest(), captions=pictures, which="all", depends=True)
    gains = [entry["words"][0]["depends"]["over_other"] for entry in entries(tmp_path / "out")]
    assert gains[:2] == pytest.approx([4.5] * 2, abs=0.1) and gains[0] == gains[1]
    assert gains[2:5] == pytest.approx([-3.9] * 3, abs=0.1)


def test_a_panel_says_what_a_word_gains_where_there_is_room(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[list[str]] = []
    original = caption_panels.caption_panel

    def drawing(image: Any, name: str, text: str, cells: Any, *more: Any) -> Image.Image:
        notes.append([cell.note for cell in cells])
        return original(image, name, text, cells, *more)

    monkeypatch.setattr(caption_panels, "caption_panel", drawing)
    monkeypatch.setattr("planted.PIECES", tuple(piece.replace("##ably", "##ably" * 9) for piece in PIECES))
    regard.caption(pictures, tmp_path / "out", Honest(), depends=True)
    assert [each[1] for each in notes] == ["0.905 +4.5", "0.905 -3.9", "0.905 -0.6"]
    assert notes[0][2] == "0.819 +0.0" and notes[0][3] == "0.301"
