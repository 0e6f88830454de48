"""Test-time augmentation: the views are torchvision's, the answer is the mean of their probabilities, and says so."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_training import SMALL, draw_pictures
from torchvision.transforms.v2 import functional as tv
from woken import wake_timm

from regard.data.images.preparation import Preparation, open_picture, read_pixels
from regard.data.images.views import FiveCrops
from regard.data.layouts import read
from regard.data.openers import opener_of
from regard.errors import UsageError
from regard.networks.arguments import VIEWS
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.predict import probabilities
from regard.networks.run import save_network
from regard.predictors.classifier import Classifier

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("views") / "data", each=3)


@pytest.fixture(scope="module")
def network() -> Network:
    """Awake, so that a view that is another picture has another answer."""
    network = load("random:vit_tiny_patch16_224", classes=("blue", "green", "grey", "red"), arguments=SMALL)
    wake_timm(network.module, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    return network


@pytest.fixture(scope="module")
def stored(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views") / "run"
    save_network(network, folder)
    return folder


def twin(network: Network, path: Path, tta: str) -> np.ndarray:
    """The mean of the softmax over torchvision's views of the picture resized by Pillow, in float64."""
    preparation = network.preparation
    picture = open_picture(opener_of(path))
    tall, wide = preparation._resized(picture.height, picture.width)
    whole = tv.pil_to_tensor(picture.resize((wide, tall), Image.Resampling.BICUBIC, reducing_gap=3.0))
    size = (preparation.height, preparation.width)
    views = {
        "flip": lambda: [tv.center_crop(whole, size), tv.hflip(tv.center_crop(whole, size))],
        "five-crop": lambda: tv.five_crop(whole, size),
        "ten-crop": lambda: tv.ten_crop(whole, size),
    }[tta]()
    pixels = (torch.stack(list(views)) / 255 - 0.5) / 0.5
    return network.logits(pixels).double().softmax(1).mean(0).numpy()


@pytest.mark.parametrize("tta", VIEWS)
def test_the_answer_is_the_mean_over_torchvisions_views(network: Network, data: Path, tta: str) -> None:
    pictures = read(data).pictures
    expected = np.stack([twin(network, data / picture.name, tta) for picture in pictures])
    found = np.concatenate([rows.numpy() for _, rows in probabilities(network, pictures, batch_size=5, tta=tta)])
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    plain = np.concatenate([rows.numpy() for _, rows in probabilities(network, pictures, batch_size=5)])
    assert np.abs(found - plain).max() > 0.01  # the network tells views apart
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert len({tuple(row) for row in found.round(6).tolist()}) == len(pictures)


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (50, 50)])
@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(32, 32),
        Preparation(24, 32, crop=0.8),
        Preparation(32, 32, mode="squash", resized=(36, 40)),
        Preparation(20, 24, mode="centre"),
    ],
    ids=["crop", "oblong", "squash", "centre"],
)
def test_crops_are_torchvisions_to_the_pixel(preparation: Preparation, size: tuple[int, int], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    found, shape = read_pixels(opener_of(tmp_path / "a.png"), FiveCrops.of(preparation))
    tall, wide = preparation._resized(*size)
    whole = Image.fromarray(values).resize((wide, tall), Image.Resampling.BICUBIC, reducing_gap=3.0)
    expected = [tv.pil_to_tensor(each) for each in tv.five_crop(whole, (preparation.height, preparation.width))]
    assert shape == size
    for view, crop in zip(found[:4], expected[:4], strict=True):
        assert (view == crop.permute(1, 2, 0).numpy()).all()
    assert (found[4] == read_pixels(opener_of(tmp_path / "a.png"), preparation)[0]).all()  # the centre is as ever


def test_a_network_that_is_shown_the_whole_picture_has_no_crops() -> None:
    with pytest.raises(UsageError, match=r"shown the whole picture; give the views `flip`"):
        FiveCrops.of(Preparation(32, 32, mode="squash"))


def test_evaluate_says_and_records_the_views_and_is_scored_on_their_mean(
    data: Path, stored: Path, network: Network, tmp_path: Path, run: Run
) -> None:
    words = ("evaluate", data, "--model", stored, "--tta", "ten-crop", "--workers", 0)
    code, text, err = run(*words, "--out", tmp_path / "out", "--no-pictures")
    assert code == 0, err
    assert text.startswith("12 pictures, values with 95 % intervals, by 10 views of each picture (ten-crop), the mean")
    facts = {"name": "ten-crop", "views": 10, "mean": "probabilities"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["provenance"]["tta"] == facts
    assert "by 10 views of each picture (ten-crop)" in (tmp_path / "out" / "report.html").read_text()
    code, text, _ = run(*words, "--json")
    scores = json.loads(text)
    assert scores["tta"] == facts
    pictures = read(data).pictures
    expected = np.stack([twin(network, data / picture.name, "ten-crop") for picture in pictures])
    table = pd.read_parquet(tmp_path / "out" / "predictions.parquet").set_index("filename")
    columns = [name for name in table.columns if name.startswith("p:")]
    values = table.loc[[picture.name for picture in pictures], columns].to_numpy()
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=2e-5)
    truth = [network.classes.index(str(picture.label)) for picture in pictures]  # type: ignore[union-attr]
    assert scores["nll"]["value"] == pytest.approx(-np.log(expected[np.arange(12), truth]).mean(), rel=1e-4)
    code, text, _ = run("evaluate", data, "--model", stored, "--json", "--workers", 0)
    assert "tta" not in json.loads(text) and json.loads(text)["nll"] != scores["nll"]


def test_predict_and_bulk_work_give_the_same_means(data: Path, stored: Path, tmp_path: Path, run: Run) -> None:
    words = ("--model", stored, "--tta", "five-crop", "--workers", 0, "--batch-size", 4)
    out = tmp_path / "p.csv"
    bulk = ("--jobs", "local", "--columns", "label,probs")
    code, text, err = run("predict", data, "--out", out, "--probs", *words)
    assert code == 0, err
    assert text.startswith("12 pictures predicted by 5 views of each picture (five-crop), the mean of their")
    table = pd.read_csv(out).set_index("filename")
    pictures = read(data).pictures
    expected = np.concatenate([rows for _, rows in Classifier(stored).batches(pictures, batch_size=4, tta="five-crop")])
    np.testing.assert_allclose(table.loc[[each.name for each in pictures]].iloc[:, 1:].to_numpy(), expected, rtol=1e-5)
    code, text, err = run("predict", data, "--out", tmp_path / "bulk", *bulk, *words)
    assert code == 0, err
    files = sorted((tmp_path / "bulk" / "pictures").glob("*.parquet"))
    rows = pd.concat([pd.read_parquet(each) for each in files]).set_index("name")
    for picture, row in zip(pictures, expected, strict=True):
        np.testing.assert_allclose(rows.loc[picture.name, "probs"], row, rtol=1e-5)
    job = json.loads((tmp_path / "bulk" / "job.json").read_text())
    assert job["settings"] == {"tta": "five-crop"}
    code, _, err = run("predict", data, "--out", tmp_path / "bulk", *bulk, *words[:2])
    assert code != 0  # another job


def test_what_has_no_views_is_refused_in_one_line(data: Path, stored: Path, tmp_path: Path, run: Run) -> None:
    pd.DataFrame({"filename": ["a"], "label": ["b"]}).to_csv(tmp_path / "p.csv", index=False)
    captions = tmp_path / "captions.csv"
    pd.DataFrame({"filename": [data / "red" / "0.png"], "caption": ["a red picture"]}).to_csv(captions, index=False)
    for words, line in (
        (("evaluate", data, "--tta", "flips"), "unknown value for --tta 'flips'; did you mean 'flip'?"),
        (("evaluate", data, "--tta", "flip", "--predictions", tmp_path / "p.csv"), "these answers are predictions"),
        (("evaluate", captions, "--tta", "flip", "--task", "caption"), "--tta cannot be used with captions; leave"),
        (("predict", data, "--tta", "flip", "--page", tmp_path / "a.html"), "leave --tta out, or --page"),
        (("predict", data, "--tta", "flip", "--jobs", "local", "--out", tmp_path / "b", "--columns", "artifacts"),
         "--columns artifacts reads the picture as it is"),
        (("explain", data, "--out", tmp_path / "e", "--tta", "flip"), "No such option: --tta"),
    ):  # fmt: skip
        code, _, err = run(*words)
        assert code != 0 and line in err, (words, err)
    with pytest.raises(UsageError, match="prepared tensors are one view each"):
        classifier = Classifier(stored)
        tensors = torch.zeros(1, 3, 32, 32)
        from regard.predictors.inputs import pictures_of

        list(classifier.batches(pictures_of(tensors, classifier.network, True), tta="flip"))


def test_answers_of_cross_validation_are_stored_and_refused(data: Path, stored: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run(
        "train", data, "--out", tmp_path / "run", "--model", stored, "--recipe", "probe", "--folds", 2, "--workers", 0,
        "--no-pictures",
    )  # fmt: skip
    assert code == 0, err
    words = ("evaluate", data, "--model", tmp_path / "run", "--tta", "flip", "--workers", 0)
    code, _, err = run(*words)
    assert code == 2 and "these answers are those of cross-validation; leave it out, or" in err
    code, text, err = run(*words, "--keep-seen")
    assert code == 0 and "by 2 views of each picture (flip)" in text and "(seen in training)" in text
