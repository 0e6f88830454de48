"""`--page` of explain, predict and caption: what the file holds, what it keeps to itself, and what is refused."""

import json
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from markup import Reader, check_safe
from PIL import Image
from tiny_vits import CLS, TINY

import regard
from regard.app.cli import main
from regard.errors import OutputError, UsageError
from regard.records import Inspection


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 255, (16, 24, 3), np.uint8)
        image = Image.fromarray(pixels)
        exif = image.getexif()
        exif[0x010E] = "a secret place"
        image.save(folder / f"holiday_{index}.jpg", exif=exif)
    return folder


def held(page: Path) -> tuple[dict, list[Inspection], Reader]:
    """The index of a page, its inspections, and the whole of it, which must be safe."""
    reader = check_safe(page.read_text(encoding="utf-8"))
    scripts = [attrs for tag, attrs in reader.elements if tag == "script"]
    index = None
    blocks = []
    for attrs, text in zip(scripts, reader.scripts, strict=True):
        if attrs.get("id") == "data":
            index = json.loads(text)
        elif attrs.get("class") == "inspection":
            blocks.append(Inspection.unpack(b64decode(text)))
    return index, blocks, reader


def test_a_page_of_explanations(pictures: Path, tmp_path: Path) -> None:
    module = CLS.network().module
    page = tmp_path / "look.html"
    result = regard.explain(pictures, page=page, model=module, methods="gradcam, rollout", workers=0)
    assert (result.n, result.out, result.page) == (3, None, page)
    index, blocks, reader = held(page)
    assert [each["name"] for each in index["pictures"]] == [f"holiday_{number}.jpg" for number in range(3)]
    assert [each["inspections"] for each in index["pictures"]] == [[0], [1], [2]]
    inspection = regard.Inspector(module)(pictures / "holiday_1.jpg", methods=("gradcam", "rollout"))
    assert blocks[1].maps == inspection.maps and np.array_equal(blocks[1].values("cls"), inspection.values("cls"))
    assert index["classes"][index["pictures"][1]["predicted"]] == inspection.answer.predicted
    assert index["pictures"][1]["confidence"] == pytest.approx(inspection.answer.probabilities[0][1], abs=1e-6)
    assert reader.text.count("symmetric relevance gain") == 3 and inspection.answer.predicted in reader.text
    stills = [attrs for tag, attrs in reader.elements if attrs.get("class") == "still"]
    assert [attrs["data-picture"] for attrs in stills] == ["0", "1", "2"]
    assert sum(attrs.get("class") == "map" for _, attrs in reader.elements) == 3


def test_networks_side_by_side_and_what_one_of_them_lacks(pictures: Path, tmp_path: Path) -> None:
    page = tmp_path / "look.html"
    first = CLS.network().module
    result = regard.explain(pictures / "holiday_0.jpg", page=page, model=first, beside=[TINY[3].network().module])
    assert result.n == 1
    index, blocks, _ = held(page)
    assert index["pictures"][0]["inspections"] == [0, 1] and len(blocks) == 2
    assert blocks[0].network["reads"] == "cls" and blocks[1].network["reads"] == "patches"


def test_a_page_beside_a_folder_of_maps(pictures: Path, tmp_path: Path) -> None:
    module = CLS.network().module
    options = {"model": module, "workers": 0, "methods": ["attention"]}
    result = regard.explain(pictures, tmp_path / "maps", page=tmp_path / "look.html", **options)
    assert result.explanation.maps.shape == (3, 2, 3) and (tmp_path / "look.html").is_file()


def test_pages_without_pictures_and_without_names(pictures: Path, tmp_path: Path) -> None:
    module = CLS.network().module
    options = {"model": module, "workers": 0, "methods": "attention"}
    regard.explain(pictures, page=tmp_path / "bare.html", no_pictures=True, **options)
    _, blocks, reader = held(tmp_path / "bare.html")
    assert not any("jpeg" in image for image in reader.images())
    assert all(each.picture is None and "--no-pictures" in each.absent["picture"] for each in blocks)
    regard.explain(pictures, page=tmp_path / "anonymous.html", anonymise=True, **options)
    index, blocks, reader = held(tmp_path / "anonymous.html")
    names = [f"picture-{number:04d}" for number in (1, 2, 3)]
    assert [each["name"] for each in index["pictures"]] == names == [each.name for each in blocks]
    for name in ("bare.html", "anonymous.html"):
        index, blocks, reader = held(tmp_path / name)
        everything = reader.text + json.dumps(index) + "".join(json.dumps(each.to_json()) for each in blocks)
        everything += "".join((each.picture.content if each.picture else b"").decode("latin-1") for each in blocks)
        for private in (str(tmp_path), "my pictures", "secret", *(["holiday"] if name == "anonymous.html" else [])):
            assert private not in everything, (name, private)


def test_answers_as_a_page(pictures: Path, tmp_path: Path) -> None:
    module = CLS.network().module
    result = regard.predict(pictures, page=tmp_path / "answers.html", model=module, workers=0)
    assert (result.n, result.out) == (3, None)
    index, blocks, _ = held(tmp_path / "answers.html")
    both = regard.predict(pictures, tmp_path / "a.csv", page=tmp_path / "b.html", model=module, workers=0)
    labels = [line.split(",")[1] for line in both.out.read_text().splitlines()[1:]]
    assert [index["classes"][each["predicted"]] for each in index["pictures"]] == labels
    assert all("not asked for" in each.absent["curve"] for each in blocks)


def test_captions_as_a_page(tmp_path: Path) -> None:
    regard.scenes(2, tmp_path / "drawn")
    page = tmp_path / "captions.html"
    out = tmp_path / "captions"
    result = regard.caption(tmp_path / "drawn" / "images", out, page=page, truth=tmp_path / "drawn", depends=True)
    index, blocks, reader = held(page)
    files = sorted((tmp_path / "drawn" / "images").iterdir())
    stored = regard.Captioner()(files, depends=True)
    assert [each.text for each in result.captions] == [each.text for each in stored]
    assert [each["caption"] for each in index["pictures"]] == [each.text for each in stored]
    for block, caption in zip(blocks, stored, strict=True):
        words = [word for word in caption.words if word.text not in ("<start>", "<end>")]
        assert [each.text for each in block.caption.words] == [word.text for word in words]
        assert [each.part for each in block.caption.words] == [word.part_of_speech for word in words]
        off = np.abs(block.values("words") - np.stack([word.heatmap.values for word in words]))
        assert off.max() <= block.arrays["words"].bound().max() + 1e-6
        for entry, word in zip(block.caption.words, words, strict=True):
            without = np.exp(word.log_probability - word.dependence.over_none)
            assert entry.without == pytest.approx(min(1, without), abs=1e-4) and len(entry.alternatives) >= 4
        true = [each for each in block.caption.words if each.truth]
        assert true and {each.wrong for each in true} <= {True, False, None}
        mask = block.values(true[0].truth["mask"])
        assert mask.min() >= 0 and 0.5 < mask.max() <= 1
        assert caption.text in reader.text
    alone = regard.caption(tmp_path / "drawn" / "images", page=tmp_path / "alone.html")
    assert alone.n == 2 and alone.out is None
    again = held(tmp_path / "alone.html")[1]
    assert [each.caption.text for each in again] == [each.caption.text for each in blocks]


def test_what_does_not_fit_is_refused_before_any_work(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--methods is of a page; give --page"):
        regard.explain(pictures, tmp_path / "maps", methods="rollout")
    with pytest.raises(UsageError, match=r"must end in \.html"):
        regard.explain(pictures, page=tmp_path / "look.png")
    with pytest.raises(UsageError, match="unknown method 'rolout'"):
        regard.explain(pictures, page=tmp_path / "look.html", methods="rolout", model=CLS.network().module)
    (tmp_path / "look.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        regard.explain(pictures, page=tmp_path / "look.html")
    for command in (regard.predict, regard.caption):
        with pytest.raises(UsageError, match="nothing would be written"):
            command(pictures)


def test_the_command_line_asks_for_out_or_page(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("explain", "predict", "caption"):
        assert main([command, str(pictures)]) == 2
        assert re.search(r"give --out .* or --page FILE\.html", capsys.readouterr().err)
