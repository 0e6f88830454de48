"""The commands as a user runs them, in process: the whole way from a folder of pictures to a report, and back."""

import csv
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import regard
from regard.app.cli import main
from regard.predictors.classifier import Classifier
from regard.records import Explanation

TINY = ("--model", "random:test_vit", "--size", "32", "--workers", "0")
PROBE = ("--recipe", "probe", "--val", 0.2, *TINY)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of tests stay among the tests."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that an untrained network can tell apart: dark and light, ten each, two of each at every site."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    rows = ["filename,label,site,camera"]
    for index in range(20):
        name, level = ("dark", 60) if index % 2 else ("light", 190)
        pixels = (random.normal(level, 25, (40, 60, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}_{index}.png")
        rows.append(f"{name}_{index}.png,{name},site{index // 4},{'left' if index < 8 else 'right'}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that the command line made."""
    out = tmp_path_factory.mktemp("runs") / "first"
    assert main([*map(str, ["train", data, "--out", out, *PROBE, "--slice", "camera"])]) == 0
    return out


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _json(result: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_a_run_folder_is_whole(trained: Path) -> None:
    files = {path.name for path in trained.iterdir()}
    contract = {"model.safetensors", "model.json", "recipe.json", "split.csv", "metrics.jsonl", "timing.jsonl"}
    assert contract | {"report.html", "evaluation"} <= files
    metrics = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in metrics] == ["cross-validation"] * 7 + ["validate"]
    assert "seconds" not in (trained / "metrics.jsonl").read_text()
    rows = _table(trained / "split.csv")
    assert {row["split"] for row in rows} == {"train", "val"}
    assert len({row["sha256"] for row in rows}) == 20


def test_the_network_says_what_the_probe_said(trained: Path, data: Path, run: Run) -> None:
    stored = json.loads((trained / "evaluation" / "scores.json").read_text())
    again = _json(run("evaluate", data, "--model", trained, "--workers", 0, "--json"))
    assert again["n"] == stored["n"] == 4
    assert again["top1"] == stored["top1"]
    assert again["top1"]["value"] == 1.0
    assert again["nll"]["value"] == pytest.approx(stored["nll"]["value"], abs=1e-4)


def test_the_same_command_gives_the_same_bytes(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    for recipe in ("probe", trained / "recipe.json"):
        out = tmp_path / Path(recipe).stem
        words = ("--slice", "camera", "--val", 0.2, *TINY) if recipe == "probe" else ("--workers", "0")
        assert run("train", data, "--out", out, "--recipe", recipe, *words)[0] == 0
        for name in ("model.safetensors", "metrics.jsonl", "split.csv"):
            assert (out / name).read_bytes() == (trained / name).read_bytes(), (recipe, name)


def test_pictures_of_the_training_are_left_out_or_the_number_says_so(trained: Path, data: Path, run: Run) -> None:
    kept = _json(run("evaluate", data, "--model", trained, "--split", "all", "--workers", 0, "--json"))
    assert (kept["n"], kept["note"]) == (4, "")
    marked = run("evaluate", data, "--model", trained, "--split", "train", "--workers", 0, "--json")
    assert _json(marked)["note"] == "seen in training"
    assert "16 of 16 pictures were seen in training" in marked[2]
    asked = _json(run("evaluate", data, "--model", trained, "--split", "all", "--keep-seen", "--workers", 0, "--json"))
    assert (asked["n"], asked["note"]) == (20, "seen in training")


def test_a_renamed_picture_is_still_known(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    for label in ("dark", "light"):
        (tmp_path / label).mkdir()
    for path in data.glob("*.png"):
        (tmp_path / path.name.split("_")[0] / f"new{path.name}").write_bytes(path.read_bytes())
    assert _json(run("evaluate", tmp_path, "--model", trained, "--workers", 0, "--json"))["n"] == 4


def test_an_evaluation_is_a_result_folder(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "eval"
    words = ("evaluate", data, "--model", trained, "--group", "site", "--slice", "camera", "--workers", 0, "--out", out)
    scores = _json(run(*words, "--json"))
    expected = {"scores.json", "per_class.csv", "confusion.csv", "predictions.parquet", "report.html", "manifest.json"}
    assert expected <= {path.name for path in out.iterdir()}
    assert json.loads((out / "scores.json").read_text())["top1"] == scores["top1"]
    code, _, err = run(*words)
    assert code == 1
    assert "exists already; choose another --out, or --overwrite" in err


def test_an_evaluation_prints_its_slices_and_what_a_threshold_finds(trained: Path, data: Path, run: Run) -> None:
    words = ("evaluate", data, "--model", trained, "--keep-seen", "--workers", 0)
    code, out, err = run(*words, "--slice", "site", "--slice", "camera")
    assert code == 0, err
    lines = out.splitlines()
    start = lines.index("top1 of each slice, the worst first:")
    rows = [line for line in lines[start + 1 :] if line.startswith("  ")]
    assert {row.split(" = ")[0].strip() for row in rows} == {"site", "camera"}
    values = [float(row.split(" = ")[1].split()[1]) for row in rows]
    assert values == sorted(values)
    assert all(row.split("n = ")[1].isdigit() for row in rows)
    assert lines[start + 1 + len(rows)] == "worst of 10 pictures or more: none is so large"
    code, out, err = run(*words, "--threshold", 0.3)
    assert code == 0, err
    lines = out.splitlines()
    start = lines.index("found where the probability is 0.3 or more:")
    assert [line.split()[0] for line in lines[start + 1 : start + 3]] == ["dark", "light"]
    assert all("sensitivity" in line and "specificity" in line for line in lines[start + 1 : start + 3])


def test_group_keeps_sites_on_one_side(data: Path, tmp_path: Path, run: Run) -> None:
    assert run("train", data, "--out", tmp_path / "run", *PROBE, "--group", "site")[0] == 0
    sides: dict[str, set[str]] = {}
    for row in _table(tmp_path / "run" / "split.csv"):
        sides.setdefault(row["group"], set()).add(row["split"])
    assert len(sides) == 5
    assert all(len(side) == 1 for side in sides.values())


def test_predict_streams_in_order_and_goes_on(trained: Path, data: Path, tmp_path: Path, run: Run, monkeypatch) -> None:
    words = ("predict", data, "--model", trained, "--workers", 0, "--batch-size", 3, "--probs", "--out")
    whole = tmp_path / "whole.csv"
    assert run(*words, whole)[0] == 0
    rows = _table(whole)
    assert [row["filename"] for row in rows] == sorted(path.name for path in data.glob("*.png"))
    assert all(row["label"] == row["filename"].split("_")[0] for row in rows)
    assert list(rows[0]) == ["filename", "label", "p:dark", "p:light"]

    original, calls = Classifier.batches, []

    def stops(*arguments: Any, **settings: Any) -> Any:
        for batch in original(*arguments, **settings):
            calls.append(len(batch[0]))
            yield batch
            if len(calls) == 2:
                raise KeyboardInterrupt

    cut = tmp_path / "cut.csv"
    monkeypatch.setattr(Classifier, "batches", stops)
    assert run(*words, cut)[0] == 130
    assert not cut.exists()
    assert (tmp_path / "cut.csv.part" / "predictions.csv").read_text().count("\n") == 1 + 6
    with (tmp_path / "cut.csv.part" / "predictions.csv").open("a") as file:
        file.write("half a li")  # what a kill in mid-write leaves
    monkeypatch.setattr(Classifier, "batches", original)
    code, _, err = run(*words, cut)
    assert code == 0
    assert "going on after 6 of 20 pictures" in err
    assert cut.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.glob("cut*")] == ["cut.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a file name be any bytes")
def test_a_file_name_that_is_no_text_goes_through(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"caf\xe9.png")  # Latin-1, as old cameras and archives have it
    (tmp_path / "in" / name).write_bytes((data / "dark_1.png").read_bytes())
    words = ("--model", trained, "--workers", 0, "--out")
    assert run("predict", tmp_path / "in", *words, tmp_path / "out.csv")[0] == 0
    assert b"caf\xe9.png,dark" in (tmp_path / "out.csv").read_bytes()
    assert run("explain", tmp_path / "in", *words, tmp_path / "maps")[0] == 0


def test_predictions_can_be_scored_as_if_made_elsewhere(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    made = tmp_path / "made.csv"
    assert run("predict", data, "--model", trained, "--workers", 0, "--out", made)[0] == 0
    scores = _json(run("evaluate", data, "--predictions", made, "--json"))
    assert scores["n"] == 20
    assert scores["top1"]["value"] == 1.0
    assert "nll" not in scores  # no probabilities were given: nothing is made up


def test_compare_is_paired(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    assert run("train", data, "--out", tmp_path / "second", *PROBE, "--slice", "camera", "--seed", 0)[0] == 0
    found = _json(run("compare", trained, tmp_path / "second", "--json"))
    assert found["n"] == 4
    assert [each["name"] for each in found["runs"]] == ["first", "second"]
    assert found["differences"][0]["top1"]["value"] == 0.0
    assert found["differences"][0]["p"] == 1.0
    out = tmp_path / "compared"
    columns = ("--data", data, "--slice", "camera", "--group", "site", "--workers", 0)
    text = run("compare", trained, tmp_path / "second", *columns, "--out", out)
    assert text[0] == 0
    assert "second minus first" in text[1]
    page = (out / "report.html").read_text()
    assert "second alone is right on 0 of 4 pictures" in page and str(tmp_path) not in page
    assert [(row["column"], row["value"]) for row in json.loads((out / "comparison.json").read_text())["slices"]]
    assert {row["column"] for row in _table(out / "parts.csv")} == {"class", "camera"}
    assert {"manifest.json", "comparison.csv"} <= {path.name for path in out.iterdir()}
    code, _, err = run("compare", trained, tmp_path / "second", "--slice", "camera")
    assert code == 2 and "--data" in err


def test_runs_of_one_name_are_told_apart_without_the_place_of_this_machine(tmp_path: Path) -> None:
    from regard.results.comparisons import run_names

    runs = [tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "c"]
    assert list(run_names(runs)) == ["a/run", "b/run", "c"]


def test_compare_refuses_different_pictures(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    assert run("train", data, "--out", tmp_path / "other", *PROBE, "--seed", 5)[0] == 0
    code, _, err = run("compare", trained, tmp_path / "other")
    assert code == 1
    assert "score them on the same data" in err


def test_explain_writes_panels_under_the_pictures_names(trained: Path, data: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.open(data / "dark_1.png").save(tmp_path / "in" / "a.png")
    Image.open(data / "light_0.png").save(tmp_path / "in" / "deep" / "a.png")
    out = tmp_path / "maps"
    words = ("explain", tmp_path / "in", "--model", trained, "--workers", 0, "--out", out)
    found = _json(run(*words, "--layer", 2, "--head", 1, "--query", "1,0", "--json"))
    assert found["settings"] == {"layer": 2, "head": 1, "query": [1, 0]}
    assert {"a.jpg", "deep", "contact_sheet.png", "maps.npy", "manifest.json"} == {path.name for path in out.iterdir()}
    assert (out / "deep" / "a.jpg").is_file()
    explanation = Explanation.load(out)
    assert explanation.maps.shape == (2, found["rows"], found["columns"])
    assert [heatmap.name for heatmap in explanation] == ["a.png", "deep/a.png"]
    assert explanation[0].grid.picture == (40, 60)


def test_positions_of_a_run(trained: Path, tmp_path: Path, run: Run) -> None:
    found = _json(run("positions", "--model", trained, "--out", tmp_path / "pos", "--scale", "each", "--json"))
    similarity = np.load(tmp_path / "pos" / "similarity.npy")
    assert similarity.shape == (found["rows"], found["columns"]) * 2
    assert np.allclose(np.einsum("ijij->ij", similarity), 1, atol=1e-6)
    assert (tmp_path / "pos" / "positions.png").is_file()


def test_functions_have_the_names_of_the_commands(data: Path, tmp_path: Path) -> None:
    result = regard.train(data, tmp_path / "run", recipe="probe", model="random:test_vit", size=32, workers=0, val=0.2)
    assert result.evaluation.scores["top1"].n == 4
    maps = regard.explain(sorted(data.glob("*.png"))[:2], model=tmp_path / "run", workers=0)
    assert maps.out is None
    assert maps.explanation.maps.shape[0] == 2


def test_lists_come_from_the_tables(run: Run) -> None:
    assert [row["name"] for row in _json(run("methods", "--json"))["methods"]] == list(regard.METHODS.names)
    assert [row["name"] for row in _json(run("metrics", "--json"))["metrics"]] == list(regard.METRICS.names)
    names = [row["name"] for row in _json(run("models", "vit_base_patch16_38", "--json"))["models"]]
    assert names
    assert all("vit_base_patch16_38" in name for name in names)


def test_a_report_can_do_without_pictures_and_names(data: Path, tmp_path: Path, run: Run) -> None:
    words = ("train", data, *PROBE, "--seed", 1, "--out")
    assert run(*words, tmp_path / "bare", "--no-pictures", "--anonymise")[0] == 0
    html = (tmp_path / "bare" / "report.html").read_text(encoding="utf-8")
    assert "dark_" not in html
    assert str(data) not in html
    assert run(*words, tmp_path / "full")[0] == 0
    assert html.count("data:image/jpeg") < (tmp_path / "full" / "report.html").read_text(encoding="utf-8").count(
        "data:image/jpeg"
    )


def test_features_are_computed_once(data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    words = ("train", data, *PROBE, "--overwrite", "--out", tmp_path / "run")
    assert run(*words)[0] == 0
    first = (tmp_path / "run" / "model.safetensors").read_bytes()

    def never(*arguments: Any, **settings: Any) -> Any:
        yield from ()

    monkeypatch.setattr("regard.training.tasks.features.prepared", never)
    assert run(*words)[0] == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == first


def test_a_damaged_cache_is_done_without(data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    words = ("train", data, *PROBE, "--overwrite", "--out", tmp_path / "run")
    assert run(*words)[0] == 0
    (file,) = (tmp_path / "cache" / "features").glob("*.sqlite")
    file.write_bytes(b"this is no database" * 100)
    code, _, err = run(*words)
    assert code == 0
    assert "features could not be kept" in err


TUNED = ("--recipe", "finetune", "--search", "never", "--val", 0.2, "--epochs", 2, *TINY)


def test_a_training_of_the_whole_network_is_a_run_like_any_other(data: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "run"
    scores = _json(run("train", data, "--out", out, *TUNED, "--learning-rate", 1e-4, "--json"))
    assert json.loads((out / "recipe.json").read_text())["settings"]["learning_rate"] == 1e-4
    assert "checkpoint" not in {path.name for path in out.iterdir()}
    assert "Training" in (out / "report.html").read_text(encoding="utf-8")
    again = _json(run("evaluate", data, "--model", out, "--workers", 0, "--json"))
    assert again["top1"] == scores["top1"]
    assert again["nll"]["value"] == pytest.approx(scores["nll"]["value"], abs=1e-4)

    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    code, _, err = run("train", data, "--out", out, *TUNED, "--learning-rate", 1e-4, "--resume")
    assert code == 0
    assert "finished already" in err
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before
    code, _, err = run("train", data, "--out", out, *TUNED)
    assert code == 1
    assert "exists already" in err


def test_a_stored_recipe_does_the_training_again(data: Path, tmp_path: Path, run: Run) -> None:
    assert run("train", data, "--out", tmp_path / "one", *TUNED, "--dropout", 0.2)[0] == 0
    assert run("train", data, "--out", tmp_path / "two", "--recipe", tmp_path / "one" / "recipe.json")[0] == 0
    for name in ("model.safetensors", "metrics.jsonl", "split.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_settings_are_checked_before_any_work(data: Path, tmp_path: Path, run: Run) -> None:
    for words, said in [
        (("--epochs", 0), "--epochs is 0; it must be at least 1"),
        (("--learning-rate", "nan"), "--learning-rate is nan"),
        (("--optimiser", "adam"), "did you mean 'adamw'"),
        (("--recipe", "probe", "--epochs", 3), "takes no --epochs"),
        (("--recipe", "probe", "--resume"), "leave --resume out"),
    ]:
        code, _, err = run("train", data, "--out", tmp_path / "run", *TINY, *words)
        assert code == 2, err
        assert said in err
        assert not (tmp_path / "run").exists()


def test_only_the_first_process_speaks(data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from regard.app.console import log

    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setenv("RANK", "1")
    code, out, err = run("positions", "--out", tmp_path / "pos", "--model", "random:test_vit")
    assert (code, out, err) == (0, "", "")


def test_the_demo_leaves_a_report(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole job on what is shipped, with fewer scenes than a user gets."""
    monkeypatch.setattr("regard.app.commands.demo.SCENES", 40)
    monkeypatch.setattr("regard.app.commands.demo.AUDITED", 3)
    monkeypatch.setattr("regard.app.commands.demo.BIASED", 64)
    monkeypatch.setattr("regard.app.commands.demo.MENDING", {"epochs": 1})
    monkeypatch.setattr("regard.app.commands.demo.QUICK", {"epochs": 1, "search": "never"})
    code, out, err = run("demo", "--out", tmp_path / "démo")
    assert code == 0, err
    assert out.splitlines()[-1] == f"report: {tmp_path / 'démo' / 'report.html'}"
    folders = {"scenes", "run", "new_scenes", "audit", "photographs", "positions", "captions"}
    folders |= {"biased_scenes", "biased_run", "mended_run"}
    pages = {"report.html", "photographs.html", "captions.html"}
    assert folders | pages | {"manifest.json"} == {path.name for path in (tmp_path / "démo").iterdir()}
    assert not any(".démo." in path.read_text(encoding="utf-8") for path in (tmp_path / "démo").rglob("*.json"))
    assert "libra_fullgrad_plus" in (tmp_path / "démo" / "audit" / "report.html").read_text(encoding="utf-8")
    html = (tmp_path / "démo" / "report.html").read_text(encoding="utf-8")
    assert "chelsea.png" in html
    assert "A network that learnt the ground for the animal, found out and mended" in html
    assert 'class="story"' in (tmp_path / "démo" / "mended_run" / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in html


@pytest.mark.shared
def test_the_shipped_network_knows_what_it_was_trained_on(shared: Path, run: Run) -> None:
    found = _json(run("evaluate", shared / "data" / "pets", "--split", "all", "--workers", 0, "--json"))
    assert found["n"] == 74
    assert found["note"] == ""
    assert found["top1"]["value"] >= 0.82
