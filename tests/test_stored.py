"""Runs and results that an earlier version wrote are opened as they are; a training that was stopped is gone on with.

`stored/` was written before the house was rebuilt (see `stored/write.py`); `known.json` there has what that version
said. Numbers are near, not the same bytes: they come from another machine.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import regard
from regard.data.images import preparation
from regard.records import Explanation
from regard.results.caption_table import read_caption_table
from regard.results.captions import read_captions
from regard.results.maps import read_table

STORED = Path(__file__).with_name("stored")
KNOWN = json.loads((STORED / "known.json").read_text(encoding="utf-8"))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that is stored, as the folder that commands are run in."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    shutil.copytree(STORED, tmp_path / "stored")
    monkeypatch.chdir(tmp_path / "stored")
    return tmp_path / "stored"


def command(run: Run, name: str, *more: str, **instead: str) -> tuple[dict[str, Any], str]:
    """A command line of those that wrote what is stored, with words of it replaced: what it prints, and says."""
    code, out, err = run(*(instead.get(word, word) for word in KNOWN["commands"][name]), *more)
    assert code == 0, err
    return json.loads(out), err


def near(found: Any, known: Any, within: float = 1e-3, path: str = "", intervals: bool = True) -> None:
    """Two answers in JSON: the same names and words, numbers near; where they went may differ.

    Without `intervals` low and high are left out: the version before made them by other rules (decision 0017).
    """
    if isinstance(known, dict) and {"value", "low", "high"} <= set(known) and not intervals:
        near(found["value"], known["value"], within, f"{path}.value")
    elif isinstance(known, dict):
        assert set(found) == set(known), path
        for name in set(known) - {"out", "report"}:
            near(found[name], known[name], within, f"{path}.{name}", intervals)
    elif isinstance(known, list):
        assert len(found) == len(known), path
        for place, (one, other) in enumerate(zip(found, known, strict=True)):
            near(one, other, within, f"{path}[{place}]", intervals)
    elif isinstance(known, float):
        assert found == pytest.approx(known, rel=within, abs=within), path
    else:
        assert found == known, path


def same_weights(folder: Path, other: Path) -> None:
    found, known = (load_file(each / "model.safetensors") for each in (folder, other))
    assert list(found) == list(known)
    for name, value in known.items():
        if name.endswith("attn.qkv.bias"):  # keys' share cancels in the softmax: Adam trains it on rounding alone
            found[name], value = (torch.cat(each.chunk(3)[::2]) for each in (found[name], value))
        torch.testing.assert_close(
            found[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def same_explanations(found: Explanation, known: Explanation) -> None:
    assert found.method == known.method == "shapley" and found.signed is known.signed is True
    assert found.classes == known.classes and dict(found.settings) == dict(known.settings)
    for one, other in zip(found, known, strict=True):
        assert (one.name, one.grid, one.target, one.predicted) == (
            other.name,
            other.grid,
            other.target,
            other.predicted,
        )
        np.testing.assert_allclose(one.values, other.values, rtol=1e-3, atol=1e-4)
        assert one.error is not None and other.error is not None
        np.testing.assert_allclose(one.error, other.error, rtol=1e-3, atol=1e-4)


def same_captions(found: list[Any], known: list[Any]) -> None:
    """The words of both, and where the network looked for each."""
    assert [caption.name for caption in found] == [caption.name for caption in known]
    for one, other in zip(found, known, strict=True):
        assert [word.text for word in one.words] == [word.text for word in other.words]
        for first, second in zip(one.words, other.words, strict=True):
            assert first.probability == pytest.approx(second.probability, abs=1e-4)
            np.testing.assert_allclose(first.heatmap.values, second.heatmap.values, rtol=1e-3, atol=1e-5)


# Runs.


@pytest.mark.parametrize("name", ["probe", "finetune"])
def test_a_run_is_loaded(name: str, place: Path) -> None:
    network = regard.load(name)
    assert network.classes == ("bird", "cat", "dog", "elephant", "fish", "horse", "rabbit", "turtle")
    x = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.no_grad():
        found = network.module(x)[0].tolist()
    assert found == pytest.approx(KNOWN["logits"][name], abs=1e-4)


def test_a_run_is_scored_anew(place: Path, run: Run) -> None:
    """The stored evaluation is known for one, so that it is replaced on request only."""
    code, _, err = run(*KNOWN["commands"]["evaluation"])
    assert code == 1 and "exists already" in err
    stored = json.loads((place / "evaluation" / "scores.json").read_text())
    found, _ = command(run, "evaluation", "--overwrite")
    assert found["provenance"].pop("resizing") == preparation.STEPS  # which nothing said before
    near(found, KNOWN["evaluation"])
    written = json.loads((place / "evaluation" / "scores.json").read_text())
    assert written["provenance"].pop("resizing") == preparation.STEPS
    near(written, stored, intervals=False)


def test_runs_are_compared_by_what_they_scored(place: Path, run: Run) -> None:
    found, _ = command(run, "compared")
    near({name: found[name] for name in KNOWN["compared"]}, KNOWN["compared"])  # it says more today


def test_a_captioner_is_scored(place: Path, run: Run) -> None:
    found, _ = command(run, "captions scored")
    near(found, KNOWN["captions scored"])


def test_a_finished_run_is_left_alone(place: Path, run: Run) -> None:
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for name in ("finetune", "captioner"):
        found, err = command(run, name, "--resume")
        near(found, KNOWN[name])
        assert "finished already" in err
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_an_unfinished_training_goes_on(place: Path, run: Run) -> None:
    """It was stopped by Ctrl-C; without a stop it had made the run whose recipe it is."""
    lines = (place / "unfinished" / "metrics.jsonl").read_text().splitlines()
    words = ("--out", "unfinished", "--resume", "--workers", 0, "--json")
    code, out, err = run("train", "scenes", "--recipe", "finetune/recipe.json", *words)
    assert code == 0, err
    found, known = json.loads(out), json.loads(json.dumps(KNOWN["finetune"]))
    for answer in (found, known):  # what another machine trained is near, not the same bytes: so it has another digest
        assert len(answer["provenance"].pop("weights_sha256")) == 64
    assert found["provenance"].pop("resizing") == preparation.STEPS
    near(found, known)
    same_weights(place / "unfinished", place / "finetune")
    assert (place / "unfinished" / "metrics.jsonl").read_text().splitlines()[: len(lines)] == lines
    assert not (place / "unfinished" / "checkpoint").exists()


# Results.


def test_predictions_are_made_again(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes are the same, and with pixels cut out as that version did it, so are the probabilities."""
    known = (place / "predictions.csv").read_text()
    command(run, "predictions", **{"predictions.csv": "again.csv"})
    assert classes_in((place / "again.csv").read_text()) == classes_in(known)
    monkeypatch.setattr(preparation, "WHOLE", 0)  # cropped while it is resized, as pictures without end still are
    command(run, "predictions", **{"predictions.csv": "cropped.csv"})
    same_rows((place / "cropped.csv").read_text(), known)


def classes_in(text: str) -> list[tuple[str, str]]:
    return [(row["filename"], row["label"]) for row in csv.DictReader(io.StringIO(text))]


def same_rows(found: str, known: str) -> None:
    first, second = (list(csv.DictReader(io.StringIO(text))) for text in (found, known))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert list(one) == list(other)
        assert (one["filename"], one["label"]) == (other["filename"], other["label"])
        rest = [name for name in one if name not in ("filename", "label")]
        assert [float(one[name]) for name in rest] == pytest.approx([float(other[name]) for name in rest], abs=1e-4)


def test_maps_are_opened_and_made_again(place: Path, run: Run) -> None:
    stored = Explanation.load("explanation")
    assert [heatmap.name for heatmap in stored] == ["cat_00001.png", "dog_00002.png"]
    assert stored.maps.shape == (2, 4, 4)
    same_explanations(read_table("explanation.parquet"), stored)
    found, _ = command(run, "table", **{"explanation.parquet": "again.parquet"})
    assert found.pop("verdict") is None  # no audit was made of this network; earlier versions had no verdicts
    near(found, KNOWN["table"])
    same_explanations(read_table("again.parquet"), stored)
    command(run, "explanation", "--overwrite")
    same_explanations(Explanation.load("explanation"), stored)


def test_captions_are_opened_and_made_again(place: Path, run: Run) -> None:
    stored = list(read_captions("captions"))
    assert [caption.name for caption in stored] == ["cat_00001.png", "dog_00002.png"]
    same_captions(list(read_caption_table("captions.parquet")), stored)
    found, _ = command(run, "caption table", **{"captions.parquet": "again.parquet"})
    near(found, KNOWN["caption table"])
    same_captions(list(read_caption_table("again.parquet")), stored)


# What was stopped after four of six pictures, whose pixels are cut out otherwise today: nothing is gone on with.


@pytest.mark.parametrize("name", ["going.parquet", "speaking.parquet"])
def test_unfinished_maps_of_other_pixels_start_anew(name: str, place: Path, run: Run) -> None:
    found, err = command(run, name)
    assert found["n"] == 6
    assert not (place / f"{name}.part").exists()
    assert "starting anew" in err and "another version of regard" in err and "going on" not in err
    command(run, name, **{name: "whole.parquet"})
    if name == "going.parquet":
        same_explanations(read_table(name), read_table("whole.parquet"))
    else:
        same_captions(list(read_caption_table(name)), list(read_caption_table("whole.parquet")))


def test_unfinished_predictions_of_other_pixels_start_anew(place: Path, run: Run) -> None:
    _, err = command(run, "rows.csv")
    assert "starting anew" in err and "going on" not in err
    assert not list(place.glob("rows.csv.part*"))
    rows = (place / "predictions.csv").read_text()
    labels = {row["filename"]: row["label"] for row in csv.DictReader(io.StringIO(rows))}
    found = list(csv.DictReader(io.StringIO((place / "rows.csv").read_text())))
    assert len(found) == 6
    assert all(labels[Path(row["filename"]).name] == row["label"] for row in found)  # now as written in the argument
