"""A graph in smaller numbers: what is made smaller, what stays, and what it costs; and the metadata of a file."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from PIL import Image
from small_graphs import CLASSES, WIDTH, graph
from tiny_vits import CLS

from regard.data.dataset import Dataset
from regard.data.layouts import read_pictures
from regard.errors import DataError, UsageError
from regard.exports.onnx import losses, metadata, variants
from regard.exports.onnx.preparation import PICTURE, prepared
from regard.exports.onnx.runner import Runner
from regard.exports.parity import probes
from regard.exports.source import ExportSource
from regard.networks.load import load
from regard.records import Score
from regard.records.exported import Variant


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 16, 24)).astype(np.float32)


def relative(value: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(value - right).max() / np.abs(right).max())


@pytest.mark.parametrize("outlier", [1.0, 300.0])
def test_eight_bits_are_near_also_where_one_channel_is_far_larger_than_the_others(outlier: float) -> None:
    model = graph(outlier)
    small = variants.int8(model, pictures(8))
    onnx.checker.check_model(small, full_check=True)
    kinds = {node.output[0]: node.op_type for node in small.graph.node}
    # the head, and what makes the map alone, stay as they are
    assert [kinds[name] for name in ("logits", "shares")] == ["MatMul", "MatMul"]
    assert sum(kind == "MatMulInteger" for kind in kinds.values()) == 3
    assert not {"embed", "up", "down"} & {tensor.name for tensor in small.graph.initializer}
    assert small.ByteSize() < 0.55 * model.ByteSize()
    right, value = (Runner(each) for each in (model, small))
    for picture in pictures(4, seed=1):
        before, after = right(picture[None]), value(picture[None])
        assert after["logits"].dtype == np.float32
        assert 0 < relative(after["logits"], before["logits"]) < 0.05
        assert relative(after["map"], before["map"]) < 0.05


def test_sixteen_bits_are_stored_and_cast_where_they_can_hold_the_numbers() -> None:
    model = graph()
    large = next(tensor for tensor in model.graph.initializer if tensor.name == "up")
    large.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(large) * 1e6, "up"))
    small = variants.fp16(model)
    onnx.checker.check_model(small, full_check=True)
    stored = {tensor.name: tensor.data_type for tensor in small.graph.initializer}
    assert stored["embed.half"] == TensorProto.FLOAT16
    assert stored["up"] == stored["gain"] == TensorProto.FLOAT  # beyond 65,504, and too small to matter
    assert [each.type.tensor_type.elem_type for each in (*small.graph.input, *small.graph.output)] == [1, 1, 1]
    before, after = (Runner(each)(pictures(1)) for each in (model, small))
    assert 0 < relative(after["logits"], before["logits"]) < 2e-3


@pytest.fixture
def source() -> ExportSource:
    network = load(CLS.network().module, classes=CLASSES)
    return ExportSource("tiny", network)


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    """Twelve small pictures of noise with labels, in folders."""
    random = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "data" / CLASSES[number % 5]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{number}.png")
    return read_pictures(tmp_path / "data")


def test_the_cost_is_paired_by_picture_and_told(source: ExportSource, labelled: Dataset) -> None:
    """A variant that always answers the first class, and whose map is the other way round: solved by hand."""
    model = graph()
    other = variants._copied(model)
    for tensor in other.graph.initializer:
        if tensor.name == "direction":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
        elif tensor.name == "head":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((WIDTH, len(CLASSES)), np.float32), tensor.name))
    scored = losses.Pictures(labelled, probes(source).numpy(), "12 pictures of noise")
    first, last = losses.measured(source, {"fp32": model, "int8": other}, scored)
    runner = Runner(model)
    fitted = labelled.fitted(CLASSES)
    right = [runner(pixels)["logits"][0].argmax() for pixels in losses._each(source, fitted)] == fitted.labels
    assert first == Variant("fp32", model.ByteSize())
    assert last.accuracy is not None
    assert last.maps is not None
    assert last.accuracy.value == pytest.approx(((fitted.labels == 0).sum() - right.sum()) / 12)
    assert last.accuracy.low < last.accuracy.value < last.accuracy.high
    assert last.maps.value == pytest.approx(-1)
    notes = losses.sentences([first, last], scored)
    assert notes[0] == "measured on 12 pictures of noise, each seen alone"
    assert any("int8 may cost accuracy" in note for note in notes)
    assert any("int8 changes the maps: their rank correlation is -1.000, below 0.95" in note for note in notes)
    good = Variant("int8", 1, Score(0.0, -0.02, 0.02, 300), Score(0.97, 0.96, 0.98, 300))
    assert losses.sentences([first, good], scored) == notes[:1]


def test_without_pictures_nothing_is_claimed(source: ExportSource) -> None:
    rows = losses.measured(source, {"fp32": graph(), "fp16": variants.fp16(graph())}, losses.pictures_of(source, None))
    assert [(row.name, row.accuracy, row.maps) for row in rows] == [("fp32", None, None), ("fp16", None, None)]
    assert "was not measured; --data gives pictures" in losses.sentences(rows, None)[0]
    source.network.multilabel = True
    with pytest.raises(UsageError, match="any number of labels, and variants are measured on networks that choose one"):
        losses.pictures_of(source, Path("data"))


def test_scored_pictures_are_never_those_of_the_calibration(source: ExportSource, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            folder = tmp_path / "parts" / split / CLASSES[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{split}{number}.png")
    found = losses.pictures_of(source, tmp_path / "parts")
    assert found is not None
    assert {Path(name).parts[0] for name in found.scored.names} == {"val"}
    assert found.calibration.shape == (8, 3, 16, 24)
    every = np.concatenate(list(losses._each(source, found.scored)))
    assert not any((each == other).all() for each in found.calibration for other in every)


def test_metadata_comes_back_whole(source: ExportSource, tmp_path: Path) -> None:
    model = prepared(graph(), source.preparation)
    rows = (Variant("fp32", 100), Variant("int8", 30, Score(-0.01, -0.02, 0.0, 341), Score(0.97, 0.96, 0.98, 341)))
    onnx.helper.set_model_props(model, {"regard.graph": json.dumps({"layers": [0]}), "regard.card": "an older one"})
    metadata.attach(model, source, "int8", rows, ["measured on 341 pictures"])
    path = tmp_path / "small.onnx"
    onnx.save(model, path)
    found = metadata.read(path)
    assert found.classes == CLASSES
    assert found.preparation == source.preparation
    assert found.card == source.card("onnx")
    assert found.provenance["model"] == source.provenance["model"]
    assert found.graph == {"layers": [0]}
    assert found.variants["this"] == "int8"
    assert found.variants["rows"][1]["accuracy"] == {"value": -0.01, "low": -0.02, "high": 0.0, "n": 341}
    # and without regard
    session = onnxruntime.InferenceSession(path)
    assert json.loads(session.get_modelmeta().custom_metadata_map["regard.classes"]) == list(CLASSES)
    assert session.get_inputs()[0].name == PICTURE


def test_a_file_that_is_not_regards_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*none\.onnx; give one"):
        metadata.read(tmp_path / "none.onnx")
    onnx.save(graph(), tmp_path / "other.onnx")
    with pytest.raises(DataError, match=r"that regard did not write: it has no regard\.classes"):
        metadata.read(tmp_path / "other.onnx")
    (tmp_path / "half.onnx").write_bytes(graph().SerializeToString()[:-100])
    with pytest.raises(DataError, match=r"half\.onnx is damaged"):
        metadata.read(tmp_path / "half.onnx")
