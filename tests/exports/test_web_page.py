"""`--to web` of the shipped network: its page in a real browser answers as the run does; what cannot be one is said."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from browser import open_page
from live_answers import Answers
from onnxruntime_web import runtime_folder
from PIL import Image
from playwright.sync_api import expect

import regard
from regard.data.images.preparation import read_pixels
from regard.errors import NetworkError, UsageError
from regard.exports.settings import ExportSettings
from regard.exports.source import open_source
from regard.exports.web import page as web
from regard.measurement.ranks import spearman
from regard.records import Verdict
from regard.scenes import render, sample

PATIENCE = 60_000


def stored(image, kind="JPEG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("web") / "pets.html"
    return regard.export("pets-tiny", out, to="web", single=True, runtime=runtime_folder())


def test_the_page_answers_as_the_run_does(exported, browser):
    assert exported.files == ("pets.html",) and exported.path.stat().st_size <= 20e6
    assert {each.what for each in exported.parity} >= {"logits", "attention", "map", "logits in 16 bits"}
    explainer = regard.Explainer("pets-tiny", device="cpu")
    network = explainer.network
    scenes = [
        Image.fromarray(render(sample(seed), size=size).picture) for seed, size in ((0, (300, 420)), (1, (500, 260)))
    ]
    turned = Image.Exif()
    turned[0x0112] = 6
    faded = scenes[0].copy()
    faded.putalpha(Image.linear_gradient("L").resize(faded.size))
    contents = {
        "a.jpg": stored(scenes[0], quality=90),
        "b.jpg": stored(scenes[1], exif=turned),
        "c.webp": stored(scenes[1], "WEBP", lossless=True, exif=turned),
        "d.png": stored(faded, "PNG"),
    }
    with open_page(browser, exported.path, offline=True) as page:
        expect(page.get_by_text("Ready.")).to_be_visible(timeout=PATIENCE)
        ask = Answers(page, network.preparation)
        for name, content in contents.items():
            answer = ask(content, name)
            pixels, size = read_pixels(content, network.preparation)
            np.testing.assert_array_equal(answer["pixels"], pixels, name)
            assert tuple(answer["picture"]) == size and tuple(answer["box"]) == network.preparation.box(size)
            best = int(answer["logits"][0].argmax())
            for method, values in (
                ("direct_logit", answer["map"][0, best]),
                ("attention", answer["attention"][0, -1].mean(0)),
            ):
                expected = explainer(content, method)
                assert spearman(values.ravel(), expected.maps.ravel()) >= 0.999
                np.testing.assert_allclose(
                    values.ravel(), expected.maps.ravel(), atol=1e-3 * np.abs(expected.maps).max()
                )
        picture = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": contents["a.jpg"]}
        page.locator("input[type=file]").first.set_input_files([picture])
        says = regard.Classifier("pets-tiny", device="cpu")(contents["a.jpg"])
        expect(page.locator(".look-says")).to_contain_text(
            says.classes[says.predicted[0]].replace("_", " "), timeout=PATIENCE
        )
        expect(page.locator(".look-verdict")).to_have_text("No audit has judged this method on this model.")


def test_what_is_known_of_maps_is_beside_them():
    source = open_source("pets-tiny")
    methods, first = web._methods(source, ["logits", "attention", "map"])
    assert first == "direct_logit" and [each["verdict"] for each in methods] == [None, None]
    digest = source.provenance["model"]
    settings = json.loads(json.dumps({**methods[0]["settings"], "precision": "float32"}))
    verdict = Verdict(
        "Faithful?", "attention", settings, digest, "d", "supported", "it is above edges", 0.2, 0.1, 0.3, 74
    )
    audited = replace(source, verdicts=(verdict,))
    methods, first = web._methods(audited, ["logits", "attention", "map"])
    assert first == "attention"
    assert methods[0]["verdict"] == {"status": "supported", "text": "measured on 74 pictures: it is above edges"}
    assert web._methods(source, ["logits"]) == ([], None)


def test_what_cannot_be_a_page_is_said(tmp_path, monkeypatch):
    source = open_source("pets-tiny")
    settings = ExportSettings(single=True, runtime=runtime_folder())
    monkeypatch.setattr(web, "MOST", 1e6)
    with pytest.raises(NetworkError, match="has 22 MB of weights, and a page holds up to 1 MB"):
        web.write(source, tmp_path / "a.html", settings)
    source.network.multilabel = True
    with pytest.raises(NetworkError, match="gives a picture any number of labels"):
        web.write(source, tmp_path / "a.html", settings)
    with pytest.raises(NetworkError, match="is a captioner"):
        regard.export("scenes-captioner", tmp_path / "a.html", to="web", single=True)
    with pytest.raises(UsageError, match=r"writes one file; give --out NAME\.html"):
        regard.export("pets-tiny", tmp_path / "a", to="web", single=True)
    with pytest.raises(UsageError, match="no use for --variant"):
        regard.export("pets-tiny", tmp_path / "a", to="web", variant="int8")
    assert not any(tmp_path.iterdir())
