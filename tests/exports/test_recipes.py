"""Every block of docs/recipes.md runs, on small real results, and gives what regard itself says."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regard
from regard.data.layouts import read
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.scoring import predict_all
from regard.records.captions import peak
from regard.results.evaluations import write_evaluation
from regard.results.maps import read_table

STORED = Path(__file__).parents[1] / "stored"
TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?m)^```python\n(.*?)^```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all blocks together leave: they run one after the other, as a reader of the page would."""
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("polars")
    folder = tmp_path_factory.mktemp("recipes")
    space: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        regard.scenes(24, "pictures", size=64)
        for path in Path("pictures/images").iterdir():
            place = Path("photographs") / path.name.split("_")[0]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        shutil.copytree(STORED / "finetune", "run")
        _, predictions = predict_all(regard.load("run"), read("pictures"), slices=["ground"], workers=0)
        evaluation = evaluate(predictions)
        write_evaluation(Path("scored"), evaluation)  # what `regard evaluate` leaves, without its page
        gradcam = {"model": "run", "method": "gradcam", "workers": 0}
        regard.explain("pictures/images", "maps.parquet", **gradcam)
        regard.caption(sorted(Path("pictures/images").iterdir())[:2], "words.parquet")
        bulk = {"jobs": "local", "workers": 0}
        regard.predict("photographs", "answers", model="run", columns="label,confidence,truth", **bulk)
        regard.explain("photographs", "bulk_maps", **{**gradcam, **bulk, "columns": "target,map16"})
        for place, block in enumerate(BLOCKS):
            exec(compile(block, f"docs/recipes.md, block {place + 1}", "exec"), space)
        space = {
            name: value.df() if isinstance(value, duckdb.DuckDBPyRelation) else value for name, value in space.items()
        }
        space["evaluation"] = evaluation
        space["records"] = {each.name: each for each in read_table("maps.parquet")}
    return space


def test_scores_are_those_of_regard(names: dict[str, Any]) -> None:
    evaluation = names["evaluation"]
    assert len(BLOCKS) > 10
    recall = {each.name: (each.n, each.recall.value) for each in evaluation.per_class if each.n}
    assert {row.label: (row.pictures, pytest.approx(row.accuracy)) for row in names["worst"].itertuples()} == recall
    assert names["confusions"]["pictures"].max() == np.max(
        evaluation.confusion - np.diag(np.diag(evaluation.confusion))
    )
    slices = {each.value: each.top1 for each in evaluation.slices}
    assert {row["slice:ground"]: row["accuracy"] for row in names["by_slice"].to_dicts()} == {
        name: pytest.approx(score.value) for name, score in slices.items()
    }
    assert names["parts"] == {name: pytest.approx((each.value, each.low, each.high)) for name, each in slices.items()}


def test_places_of_maps_are_those_of_regard(names: dict[str, Any]) -> None:
    records = names["records"]
    assert len(names["peaks"]) == len(records) == 24
    for row in names["peaks"].itertuples():
        top = peak(records[row.name])
        if top is not None:
            left, upper, right, lower = top.box
            assert (row.patch_row, row.patch_column) == (top.row, top.column)
            assert (row.x, row.y) == pytest.approx(((left + right) / 2, (upper + lower) / 2))
    assert np.array_equal(names["maps"], np.stack([each.values for each in records.values()]))
    assert len(names["mistakes"]) == 10


def test_bulk_results_and_words_are_whole(names: dict[str, Any]) -> None:
    assert names["by_label"]["pictures"].sum() == 24
    assert names["unread"] == []
    assert names["values"].shape == (24, 16, 16)
    assert set(names["mean_map"]) == set(names["small"]["predicted_name"])
    assert names["common"]["pictures"][0] <= 2
    assert len(names["rows"]) == 24
    assert names["unsure"]["probability"].is_monotonic_increasing
