"""Predictors in the pipelines of others: the same values as commands give, and no error that ends a pipeline."""

import io
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tars import png
from tiny_vits import CLASSES, CLS, awake

from regard import Captioner, Classifier, Explainer, Inspector
from regard.errors import UsageError
from regard.jobs.bulk.batches import BatchFunction
from regard.networks.load import load

NAMES = [f"class {index}" for index in range(CLASSES)]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(load(awake(CLS), classes=NAMES))


def array(seed: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(seed))))


@pytest.fixture
def batch(tmp_path: Path) -> dict[str, object]:
    """A picture in every way that a cell may hold it, among two that are none."""
    (tmp_path / "a.png").write_bytes(png(2))
    cells = [png(0), {"bytes": png(1), "path": "b.png"}, str(tmp_path / "a.png"), b"none", array(3), None]
    cells += [Image.fromarray(array(4)), {"bytes": None, "path": str(tmp_path / "a.png")}, memoryview(png(5))]
    return {"key": [*"abcdefghi"], "image": cells}


SEEDS = [0, 1, 2, None, 3, None, 4, 2, 5]


def test_each_kind_of_cell_gives_what_the_predictor_gives(classifier: Classifier, batch: dict[str, object]) -> None:
    columns = BatchFunction(classifier, columns="label,confidence,top5,probs", batch_size=3)(batch)
    assert list(columns) == ["key", "label", "confidence", "top5", "top5_probability", "probs", "error"]
    for place, seed in enumerate(SEEDS):
        if seed is None:
            assert columns["label"][place] is None and np.isnan(columns["confidence"][place])
            assert columns["top5"][place] == [] and len(columns["probs"][place]) == 0 and columns["error"][place]
        else:
            found = classifier(png(seed))
            assert columns["label"][place] == found.labels[0]
            assert columns["probs"][place] == pytest.approx(found.probabilities[0], abs=1e-6)
            assert columns["top5"][place] == list(found.top(0)) and columns["error"][place] is None
    assert columns["confidence"].dtype == columns["probs"][3].dtype == np.float32


def test_a_list_of_columns_may_be_left_out(classifier: Classifier, batch: dict[str, object]) -> None:
    assert list(BatchFunction(classifier, columns="label", keep=())(batch)) == ["label", "error"]


def test_maps_come_small_and_with_their_class(classifier: Classifier) -> None:
    function = BatchFunction(Explainer(classifier.network), columns="target,map16", method="gradcam")
    columns = function({"image": [png(0), b"none"]})
    assert columns["target"].tolist() == [classifier(png(0)).predicted[0], -1]
    assert columns["map16"][0].shape == (256,) and columns["map16"][0].dtype == np.uint8
    assert len(columns["map16"][1]) == 0


def test_captions_come_too() -> None:
    captioner = Captioner("scenes-captioner", device="cpu")
    columns = BatchFunction(captioner, columns="caption")({"image": [png(0), b"none"]})
    assert columns["caption"].tolist() == [captioner(png(0)).text, None]
    assert columns["finished"].tolist() == [True, False]


def test_tables_of_pandas(classifier: Classifier) -> None:
    table = pd.DataFrame({"key": ["a", "b"], "image": [png(0), png(1)]})
    found = table.assign(**BatchFunction(classifier)(table))
    assert found["label"].tolist() == [classifier(png(seed)).labels[0] for seed in (0, 1)]
    assert list(found) == ["key", "image", "label", "confidence", "error"]


def test_data_sets_of_datasets(classifier: Classifier) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"key": ["a", "b", "c"], "image": [png(0), b"none", png(2)]})
    found = data.map(BatchFunction(classifier, columns="label,probs"), batched=True, batch_size=2, keep_in_memory=True)
    assert found["label"][0] == classifier(png(0)).labels[0] and found["label"][1] is None
    assert [len(row) for row in found["probs"]] == [CLASSES, 0, CLASSES]


def test_it_is_pickled_without_what_it_loaded() -> None:
    function = BatchFunction(Classifier("pets-tiny", device="cpu"), columns="label")
    before = function({"image": [png(0)]})
    text = pickle.dumps(function)
    assert len(text) < 3000
    assert pickle.loads(text)({"image": [png(0)]})["label"].tolist() == before["label"].tolist()


def test_what_is_wrong_is_said_in_a_line(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=r"no column 'image', only jpg, key; give image="):
        BatchFunction(classifier)({"jpg": [], "key": []})
    with pytest.raises(UsageError, match="a Inspector cannot work on batches; give a predictor: regard"):
        BatchFunction(Inspector(classifier.network))
    with pytest.raises(UsageError, match="lable"):
        BatchFunction(classifier, columns="lable")


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but Ray Data, which would start Ray."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for place in range(3):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        (tmp_path / f"pictures/{place}.png").write_bytes(png(place, 40, 50))
    (tmp_path / "index.csv").write_text("filename,site\npictures/0.png,s1\npictures/9.png,s2\n", encoding="utf-8")
    page = (Path(__file__).parents[3] / "docs" / "ray.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        if "import ray" not in block:
            exec(block, names)
    assert list(names["labelled"]) == ["filename", "site", "label", "confidence", "error"]
    assert names["labelled"]["error"].isna().tolist() == [True, False]
    assert names["mapped"].num_rows == 3 and len(names["mapped"]["map16"][0]) == 256
