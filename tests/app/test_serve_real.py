"""`regard serve` as a command, with the networks that ship: it starts, answers as predictors do, and ends in peace."""

import io
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from serving import Client

from regard.predictors.explainer import Explainer
from regard.records import Inspection
from regard.scenes import render, sample


@pytest.fixture(scope="module")
def picture():
    file = io.BytesIO()
    Image.fromarray(render(sample(3)).picture).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def command():
    """The command's process, and a client of it; at the end it hears a Ctrl-C."""
    words = [
        sys.executable,
        "-m",
        "regard",
        "serve",
        "--port",
        "0",
        "--device",
        "cpu",
        "--max-pixels",
        "1000000",
        "--json",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if match := re.search(r"http://\S+", line):
            break
    else:
        raise AssertionError(lines)
    yield process, Client(match[0])
    if process.poll() is None:
        process.kill()
    process.stdout.close()
    process.stderr.close()
    process.wait()


def test_maps_are_those_of_the_predictor(command, picture):
    answer = command[1].job(picture, method="attention,gradcam", layer=3)
    explainer = Explainer("pets-tiny", device="cpu")
    image = Image.open(io.BytesIO(picture))
    for each in answer.json["maps"]:
        expected = explainer(image, method=each["method"], layer=3).maps[0]
        assert np.allclose(each["values"], expected, rtol=1e-3, atol=1e-6)


def test_the_likeliest_classes(command, picture):
    answer = command[1].job(picture, "classify", top=3).json
    shares = [share for _, share in answer["probabilities"]]
    assert answer["predicted"] == answer["probabilities"][0][0]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 3


def test_an_inspection_comes_packed_as_its_twin_and_in_stages(command, picture):
    _, client = command
    packed = client.job(picture, "inspect", headers={"accept": "application/vnd.regard.inspection"})
    inspection = Inspection.unpack(packed.body)
    twin = client.job(picture, "inspect").json
    assert Inspection.from_json(twin["inspection"]) == inspection
    assert inspection.values("cls").shape == (12, 3, 14, 14)
    assert twin["predicted"] == inspection.answer.predicted
    stages = client.job(picture, "inspect", headers={"accept": "text/event-stream"}, method="gradcam").body.decode()
    assert re.findall(r'"stage": "(\w+)"', stages)[-4:] == ["gradcam", "random", "centre", "edges"]


def test_a_caption_has_its_words_and_their_maps(command, picture):
    answer = command[1].job(picture, "caption").json
    assert answer["text"].split() == [word["text"] for word in answer["words"][:-1]]
    assert np.shape(answer["words"][0]["map"]) == (14, 14)
    given = command[1].job(picture, "caption", caption="a cat on the grass").json
    assert given["text"] == "a cat on the grass"
    packed = command[1].job(
        picture, "inspect", model="scenes-captioner", headers={"accept": "application/vnd.regard.inspection"}
    )
    assert Inspection.unpack(packed.body).caption.text == answer["text"]
    assert {"checks", "support"}.isdisjoint(answer["words"][0]) and "measured" not in answer


def test_words_of_a_caption_are_checked_where_that_is_asked_for(command, picture):
    """Against a drawn scene, as there is no next picture; the caption is the same."""
    answer = command[1].job(picture, "caption", check="quick").json
    assert answer["text"] == command[1].job(picture, "caption").json["text"]
    gains = [word["checks"]["gain_over_another"] for word in answer["words"]]
    assert None not in gains and max(gains) > 0.1
    assert "upport" in answer["measured"]
    packed = command[1].job(
        picture, "inspect", model="scenes-captioner", check="quick",
        headers={"accept": "application/vnd.regard.inspection"},
    )  # fmt: skip
    caption = Inspection.unpack(packed.body).caption
    assert caption.measured == answer["measured"]
    assert [word.checks for word in caption.words] == [word["checks"] for word in answer["words"][:-1]]
    refused = command[1].job(picture, "inspect", check="quick")
    assert (refused.status, refused.json["error"].count("no captions to check")) == (422, 1)
    assert command[1].job(picture, "caption", check="all").status == 422


BAD = {
    "no picture": (b"this is text", "is not a picture"),
    "a broken picture": (b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, "not a picture"),
    "too many pixels": (2000, "this server takes up to 1,000,000"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_and_the_worker_lives(command, picture, name):
    content, part = BAD[name]
    if isinstance(content, int):
        file = io.BytesIO()
        Image.new("1", (content, content)).save(file, "PNG")
        content = file.getvalue()
    answer = command[1].job(content)
    assert answer.status == 422
    assert part in answer.error
    assert "--skip-bad" not in answer.error
    assert command[1].ask("GET", "/health").json["workers"][0]["restarts"] == 0


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"method": "atention"}, "did you mean 'attention'"),
        ({"method": "attention", "target": "beagle"}, "attention takes no --target"),
        ({"method": "gradcam", "target": "cow"}, "unknown class 'cow'"),
        ({"method": "attention", "layer": 99}, "99"),
        ({"method": "shapley", "samples": 256}, "would take about"),
        ({"method": "tam"}, "makes maps of words"),
        ({"model": "scenes-captioner"}, "writes captions"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_the_words_of_the_predictor(command, picture, fields, part):
    answer = command[1].job(picture, **fields)
    assert answer.status == 422
    assert part in answer.error


def test_ctrl_c_ends_it_in_peace_with_what_was_done(command):
    """The last test of this file: the command has ended behind it."""
    process, client = command
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err
    counts = json.loads(out)
    assert counts["address"] == client.address
    assert counts["restarts"] == 0
