"""Preparation inside a graph: what onnxruntime makes of raw pixels is what regard makes of them, to the bit."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from PIL import Image

from regard.data.images.decode import open_picture
from regard.data.images.preparation import Preparation, read_pixels
from regard.data.layouts import read_pictures
from regard.errors import UsageError
from regard.exports.onnx.preparation import PICTURE, prepared

SIZES = ((60, 60), (75, 100), (1, 1), (1, 150), (400, 2), (301, 403), (640, 480), (120, 61), (17, 31), (900, 1210))
"""(height, width): square, broad, of one pixel, of one row, thin (Pillow then filters from top to bottom first), and
six times too large and more (Pillow then averages first)."""

PREPARATIONS = {
    "crop": Preparation(48, 48, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "squash": Preparation(48, 48, mode="squash"),
    "centre": Preparation(48, 48, mode="centre"),
    "another shape": Preparation(32, 56, crop=0.8),
    "shortest edge": Preparation(48, 48, resized=(54, 54), interpolation="bilinear"),
    "padded": Preparation(48, 48, mode="squash", resized=(40, 50)),
    "box": Preparation(20, 20, interpolation="box"),
    "lanczos, blue first": Preparation(40, 40, interpolation="lanczos", colours="BGR"),
    "hamming, grey": Preparation(40, 40, interpolation="hamming", colours="L", mean=(0.5,), std=(0.25,)),
}


def session_of(preparation: Preparation) -> onnxruntime.InferenceSession:
    """A graph that gives its prepared pixels."""
    shape = ["batch", preparation.channels, preparation.height, preparation.width]
    entry, result = (helper.make_tensor_value_info(name, 1, shape) for name in ("pixels", "logits"))
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["logits"])], "same", [entry], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model = prepared(model, preparation)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_raw_pixels_of_any_size_are_prepared_to_the_bit(name: str) -> None:
    preparation = PREPARATIONS[name]
    session = session_of(preparation)
    random = np.random.default_rng(0)
    for height, width in SIZES:
        picture = random.integers(0, 256, (height, width, 3), np.uint8)
        (value,) = session.run(None, {PICTURE: picture})
        right = preparation.tensor(Image.fromarray(picture))[None].numpy()
        assert right.std() > 0.01 or (height, width) == (1, 1)
        np.testing.assert_array_equal(value, right, err_msg=f"{height} × {width}")


def test_an_older_pillow_filters_from_left_to_right_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow 13 turned the order round for tall pictures; a graph does as the Pillow that it was made beside."""
    picture = np.random.default_rng(0).integers(0, 256, (120, 40, 3), np.uint8)
    preparation = PREPARATIONS["squash"]
    image = Image.fromarray(picture)
    first = image.resize((48, 120), Image.Resampling.BICUBIC).resize((48, 48), Image.Resampling.BICUBIC)
    right = preparation.normalise(torch.from_numpy(np.asarray(first).copy())[None]).numpy()
    monkeypatch.setattr("PIL.__version__", "12.1.0")
    (value,) = session_of(preparation).run(None, {PICTURE: picture})
    np.testing.assert_array_equal(value, right)


def test_what_weighs_no_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match=r"interpolation 'nearest' is not written into a graph.*leave out --prepare"):
        session_of(replace(PREPARATIONS["crop"], interpolation="nearest"))


@pytest.mark.shared
def test_photographs_differ_by_what_the_jpeg_decoder_left_out(shared) -> None:
    """The whole picture gives regard's pixels; regard itself lets the decoder shrink large JPEGs, as in any command."""
    preparation = Preparation(64, 64)
    session = session_of(preparation)
    for picture in read_pictures(shared / "data" / "pets").pictures[:6]:
        image = open_picture(picture.opener)
        (value,) = session.run(None, {PICTURE: np.asarray(image)})
        np.testing.assert_array_equal(value[0], preparation.tensor(image).numpy())
        reduced = preparation.normalise(torch.from_numpy(read_pixels(picture.opener, preparation)[0].copy())[None])
        assert np.abs(value - reduced.numpy()).mean() * 127.5 < 2
