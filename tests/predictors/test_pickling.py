"""Predictors in other processes: small pickles, one load a process, never another network than the one pickled."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_vits import CLS, awake

from regard import Captioner, Classifier, Explainer, Inspector
from regard.errors import NetworkError
from regard.networks.load import load
from regard.networks.run import save_network
from regard.predictors import pickling

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture(autouse=True)
def _nothing_held() -> None:
    pickling._held.clear()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of a small network, by a relative path that another process would not find."""
    return save_network(
        load("random:vit_tiny_patch16_224", classes=("cat", "dog"), arguments={"depth": 1}), tmp_path / "run"
    )


@pytest.mark.parametrize("kind", [Classifier, Explainer, Inspector])
def test_a_named_predictor_is_pickled_as_its_name(
    kind: type, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_folder.parent)
    predictor = kind("run", size=64)
    text = pickle.dumps(predictor)
    monkeypatch.chdir("/")
    assert len(text) < 2000
    first, second = pickle.loads(text), pickle.loads(text)
    assert type(first) is kind and first.network is second.network is not predictor.network
    assert first.network.weights_hash() == predictor.network.weights_hash()
    assert first.network.preparation == predictor.network.preparation


def test_a_captioner_is_pickled_too() -> None:
    captioner = Captioner("scenes-captioner", device="cpu")
    text = pickle.dumps(captioner)
    assert len(text) < 2000
    assert pickle.loads(text)(PICTURE).text == captioner(PICTURE).text


def test_a_given_network_goes_with_its_weights() -> None:
    classifier = Classifier(copy.deepcopy(awake(CLS)), classes=("ant", "bee", "cat", "dog", "eel"))
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again(PICTURE).probabilities, classifier(PICTURE).probabilities)
    assert again.classes == classifier.classes


@pytest.mark.parametrize("change", ["weights", "network"])
def test_a_named_network_that_was_changed_goes_with_its_weights(change: str, run_folder: Path) -> None:
    classifier = Classifier(run_folder)
    if change == "weights":
        with torch.no_grad():
            classifier.network.module.head.weight.mul_(2)
    else:
        classifier.network = load("random:vit_tiny_patch16_224", classes=("a", "b", "c"), arguments={"depth": 1})
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again(PICTURE).probabilities, classifier(PICTURE).probabilities)


def test_a_name_that_stands_for_other_weights_is_refused(run_folder: Path) -> None:
    text = pickle.dumps(Classifier(run_folder))
    other = load("random:vit_tiny_patch16_224", classes=("cat", "dog"), arguments={"depth": 1}, seed=1)
    save_network(other, run_folder, overwrite=True)
    with pytest.raises(
        NetworkError, match=r"another network here .* give all machines the same files, or give regard.C"
    ):
        pickle.loads(text)


def test_a_name_that_is_not_there_says_what_to_do(run_folder: Path) -> None:
    text = pickle.dumps(Classifier(run_folder))
    run_folder.rename(run_folder.with_name("gone"))
    with pytest.raises(NetworkError, match=r"could not be loaded in this process: .*; or give regard.Classifier what"):
        pickle.loads(text)


def test_what_was_loaded_once_and_written_to_is_loaded_anew(run_folder: Path) -> None:
    text = pickle.dumps(Classifier(run_folder))
    first = pickle.loads(text)
    with torch.no_grad():
        first.network.module.head.weight.mul_(2)
    assert pickle.loads(text).network is not first.network


def test_a_process_holds_two_networks_at_most(run_folder: Path) -> None:
    for size in (32, 48, 64):
        pickle.loads(pickle.dumps(Classifier(run_folder, size=size)))
    assert len(pickling._held) == 2


def test_copies_stay_copies(run_folder: Path) -> None:
    classifier = Classifier(run_folder)
    deep = copy.deepcopy(classifier)
    assert copy.copy(classifier).network is classifier.network
    assert deep.network is not classifier.network
    assert np.array_equal(deep(PICTURE).probabilities, classifier(PICTURE).probabilities)
