"""A bulk audit: what is measured of each date, and what changed between two."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tars import write_shards
from tiny_vits import CLASSES, CLS, awake

import regard
from regard.data.dataset import Picture
from regard.data.images.preparation import read_pixels
from regard.data.openers import FileOpener
from regard.data.regions import regions_of
from regard.errors import DataError, UsageError
from regard.jobs.bulk import tasks
from regard.jobs.bulk.audit import audit_bulk
from regard.measurement.localisation.objects import input_masks


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two dates of 12 shards with other pictures each, and the first with confidence planted .2 lower."""
    root = tmp_path_factory.mktemp("dates")
    network = regard.load(awake(CLS), classes=["cat", "dog", *map(str, range(CLASSES - 2))])
    before = tasks._Prediction.columns
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        how = {"model": network, "jobs": "local", "columns": "label,confidence,artifacts,truth"}
        first = write_shards(root / "first", 12, 4)
        second = write_shards(root / "whole", 24, 4)
        for shard in sorted(second.iterdir())[:12]:
            shard.unlink()  # the later half: other pictures
        regard.predict(first, root / "one", **how)
        regard.predict(second, root / "two", **how)

        def lower(self, pictures):
            columns, errors = before(self, pictures)
            return {**columns, "confidence": columns["confidence"] - 0.2}, errors

        patch.setattr(tasks._Prediction, "columns", lower)
        regard.predict(second, root / "drifted", **how)
        patch.setattr(tasks._Prediction, "columns", before)
        regard.predict(first, root / "labels", **{**how, "columns": "label"})
    return {name: root / name for name in ("one", "two", "drifted", "labels")}


def test_means_are_those_of_the_rows(places: dict[str, Path]) -> None:
    import pandas as pd

    rows = pd.read_parquet(places["one"] / "pictures")
    audit = audit_bulk(places["one"])
    assert audit.pictures == 48 and [change.drift for change in audit.changes] == [None] * 4
    assert audit["confidence"].now.value == pytest.approx(rows["confidence"].mean())
    assert audit["accuracy"].now.value == pytest.approx((rows["label"] == rows["truth"]).mean())
    assert audit["artifact_share"].now.value == pytest.approx(rows["artifact_share"].mean())
    assert audit["unreadable"].now.value == 0


def test_a_planted_drift_is_seen_with_other_pictures_and_with_the_same(places: dict[str, Path]) -> None:
    none = audit_bulk(places["two"], places["one"])
    drift = none["confidence"].drift
    assert not none.is_paired and drift.low <= 0 <= drift.high and none["confidence"].verdict == "no drift is seen"
    fell = audit_bulk(places["drifted"], places["one"])
    assert fell["confidence"].verdict == "it fell" and fell["confidence"].drift.value == pytest.approx(
        -0.2 + drift.value
    )
    paired = audit_bulk(places["drifted"], places["two"])
    assert paired.is_paired and paired["confidence"].drift.value == pytest.approx(-0.2)
    assert paired["accuracy"].verdict == "no drift is seen"
    same = audit_bulk(places["one"], places["one"])
    assert same.is_paired and same["confidence"].drift.value == 0 and same["confidence"].verdict == "no drift is seen"


def test_it_is_a_command(places: dict[str, Path], tmp_path: Path, run) -> None:
    code, out, _ = run("audit", places["two"], "--before", places["one"], "--out", tmp_path / "drift.json", "--json")
    assert code == 0
    stored = json.loads((tmp_path / "drift.json").read_text())
    assert json.loads(out) == stored and stored["measures"]["confidence"]["verdict"] == "no drift is seen"
    assert np.isfinite(stored["measures"]["confidence"]["drift"]["low"])
    code, out, _ = run("audit", places["one"])
    assert code == 0 and out.startswith("audit of 48 pictures\nconfidence of the answer: 0.")


def test_what_does_not_fit_is_refused(places: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--masks is not for bulk work"):
        regard.audit(places["one"], masks="masks")
    with pytest.raises(DataError, match=r"there is no .*manifest\.json"):
        regard.audit(places["one"], before=tmp_path)
    with pytest.raises(DataError, match="no columns that an audit reads"):
        audit_bulk(places["labels"])


def test_reliance_is_what_the_answer_is_worth_on_the_object_and_on_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    regard.scenes(4, tmp_path / "drawn", size=64)
    network = regard.load(awake(CLS), classes=[f"class {index}" for index in range(CLASSES)])
    data = tmp_path / "drawn" / "images"
    how = {"model": network, "jobs": "local", "columns": "label,confidence,reliance"}
    with pytest.raises(UsageError, match="give both, or neither"):
        regard.predict(data, tmp_path / "out", **how)
    result = regard.predict(data, tmp_path / "out", masks=tmp_path / "drawn", **how).result
    classifier = regard.Classifier(network)
    regions = regions_of(tmp_path / "drawn")
    for row in result.rows():
        picture = Picture(row["name"], FileOpener(data / row["name"]))
        pixels, size = read_pixels(picture.opener, network.preparation)
        mask = input_masks(regions, [picture], [size], network.preparation).masks[0]
        grey = np.where(mask[..., None], pixels / 255.0, np.array(network.preparation.mean))
        inputs = network.preparation.normalise(torch.from_numpy(255 * grey)[None])[0]
        record = classifier(inputs, prepared=True)
        expected = record.probabilities[0][classifier.classes.index(row["label"])]
        assert row["object_alone"] == pytest.approx(expected, abs=1e-4)
        assert row["background_alone"] is None or 0 < row["background_alone"] < 1
    audit = audit_bulk(tmp_path / "out")
    assert audit["object_alone"].now.n == 4 and np.isfinite(audit["background_alone"].now.value)
