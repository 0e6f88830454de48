"""`regard caption --truth`: panels that outline what words speak of, and measures; and the captioner that ships."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.app.commands.caption import as_text, caption
from regard.app.commands.evaluate import evaluate
from regard.errors import DataError
from regard.networks.captioners.load import load_caption_network
from regard.networks.sources.shipped import HOME
from regard.rendering.figures.caption_panels import WRONG, Cell, caption_panel
from regard.scenes import write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn from a seed that the shipped captioner did not learn from."""
    return write_scenes(24, tmp_path_factory.mktemp("drawn") / "scenes", seed=4242, val=0.0)


@pytest.fixture(scope="module")
def result(scenes: Path, tmp_path_factory: pytest.TempPathFactory):
    return caption(scenes / "images", tmp_path_factory.mktemp("captions") / "with", truth=scenes)


def test_a_folder_with_truth_has_measures_beside_baselines(result) -> None:
    stored = json.loads((result.out / "truth.json").read_text(encoding="utf-8"))
    assert stored["pictures"] == result.n == 24
    nouns = next(row for row in stored["rows"] if (row["part"], row["right"]) == ("noun", True))
    assert nouns["words"] >= 24
    assert nouns["scores"]["share_over_random"]["low"] > 0
    assert nouns["scores"]["share_over_shuffled"]["low"] > 0
    assert result.truth is not None
    assert "over shuffled" in as_text(result)


def test_panels_outline_what_a_word_speaks_of(result, scenes: Path, tmp_path: Path) -> None:
    plain = caption(scenes / "images", tmp_path / "plain")
    assert plain.truth is None
    assert not (plain.out / "truth.json").exists()
    entry = json.loads((result.out / "captions.json").read_text(encoding="utf-8"))[0]
    outlined, bare = (np.asarray(Image.open(folder / entry["panel"])).astype(int) for folder in (result.out, plain.out))
    width = min(outlined.shape[1], bare.shape[1])
    changed = np.abs(outlined[: len(bare), :width] - bare[: len(outlined), :width]).max(-1) > 60
    assert 0.001 < changed.mean() < 0.1


def test_an_outline_lies_on_the_edge_of_the_region_and_a_wrong_word_is_struck_out() -> None:
    image = Image.new("RGB", (80, 40), (90, 90, 90))
    region = np.zeros((40, 80), bool)
    region[10:30, 20:60] = True
    drawn, bare, wrong = (
        np.asarray(caption_panel(image, "a.png", "cat", [cell]))
        for cell in (Cell("cat", region=region), Cell("cat"), Cell("cat", wrong=True))
    )
    drawn = drawn[: len(bare)]  # without the line that explains the outline
    rows, columns = np.nonzero((drawn == 255).all(-1) & (bare == 90).all(-1))
    tile_rows, tile_columns = np.nonzero((bare == 90).all(-1))
    scale = (tile_rows.max() - tile_rows.min() + 1) / 40
    top, left = tile_rows.min(), tile_columns.min()
    assert rows.min() == pytest.approx(top + 10 * scale, abs=2)
    assert rows.max() == pytest.approx(top + 30 * scale, abs=2)
    assert columns.min() == pytest.approx(left + 20 * scale, abs=2)
    assert columns.max() == pytest.approx(left + 60 * scale, abs=2)
    assert ((wrong == WRONG).all(-1) & ~(bare == WRONG).all(-1)).any()


def test_truth_of_other_pictures_is_refused_before_any_work(scenes: Path, tmp_path: Path) -> None:
    other = write_scenes(2, tmp_path / "other", seed=1, size=32)
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "mine" / "photograph.png")
    with pytest.raises(DataError, match=r"other knows none of these pictures \(the first is 'photograph.png'\)"):
        caption(tmp_path / "mine", tmp_path / "out", truth=other)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.part").exists()
    with pytest.raises(DataError, match="tells no regions of words"):
        caption(tmp_path / "mine", tmp_path / "out", truth=tmp_path / "mine")


def test_the_shipped_captioner_says_what_is_true(scenes: Path) -> None:
    """Its card says at least 95 % on many scenes; of these few, 90 % leave room for chance."""
    result = evaluate(scenes, "scenes-captioner")
    assert result.evaluation.note == ""
    assert result.evaluation.n == 24
    assert result.evaluation.scores["true_words"].value > 0.9
    assert result.evaluation.scores["true_noun"].value > 0.9


def test_the_shipped_captioner_is_small_and_of_no_machine() -> None:
    folder = HOME / "scenes-captioner"
    assert (folder / "model.safetensors").stat().st_size <= 12e6
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "model.json", "model.safetensors", "recipe.json", "split.csv", "support.json",
        "vocabulary.txt",
    }  # fmt: skip
    assert "/" not in str(json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["arguments"])
    captioner = load_caption_network("scenes-captioner")
    assert captioner.name == "scenes-captioner"
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert described["weights_sha256"] == captioner.weights_hash()
