"""Training on mixed pictures: partners from the epoch's order, soft targets, and the same bytes after a stop."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import draw_pictures, parts_of, run, tiny_network, tiny_recipe
from torch.nn import functional as F

from regard.data.images.augment import Augmentation
from regard.data.images.mixing import Mixing
from regard.errors import UsageError
from regard.training.loader import Loader
from regard.training.objectives import CaptionObjective, LabelObjective, LabelSetObjective
from regard.training.recipe import read_recipe, recipe_for
from regard.training.tasks.mending.recombine import Recombining
from regard.training.tasks.table import finetune

MIXED = {"mixup": 0.8, "cutmix": 1.0, "randaugment": 2, "erase": 0.25}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("mixed") / "data")


def loader_of(data: Path, **more: object) -> Loader:
    training, _, _ = parts_of(data)
    network = tiny_network(training.classes)
    objective = LabelObjective(training.labels, 4, smoothing=0.1)
    return Loader(
        training.pictures, objective, network.preparation, Augmentation(flip=0.5), 8, workers=0, seed=3, **more
    )


def test_the_partner_is_the_next_of_the_epoch_and_its_share_is_in_target_and_pixels(data: Path) -> None:
    plain = loader_of(data)
    mixed = loader_of(data, mixing=Mixing(mixup=1.0))
    pixels = {}
    for step in plain.steps(2):
        for place, index in enumerate(step.indices):
            pixels[step.epoch, int(index)] = step.batches[0].pixels[place].double()
    seen = []
    for step in mixed.steps(2):
        order = mixed.order(step.epoch)
        for place, index in enumerate(step.indices):
            partner = int(order[(np.flatnonzero(order == index)[0] + 1) % len(order)])
            assert mixed.partner(int(index), step.epoch) == partner
            target = step.batches[0].targets[place]
            assert target.dtype == torch.float32 and float(target.sum()) == pytest.approx(1)
            one, other = (mixed.objective.labels[each] for each in (index, partner))
            share = float(target[one]) if one != other else None
            if share is not None:
                assert float(target[other]) == pytest.approx(1 - share, abs=1e-6)
                right = share * pixels[step.epoch, int(index)] + (1 - share) * pixels[step.epoch, partner]
                assert (step.batches[0].pixels[place] - right).abs().max() <= 0.51
                seen.append(share)
    assert len(set(seen)) == len(seen) > 20


def test_soft_targets_go_through_smoothing_and_class_weights() -> None:
    """By hand: the loss of a mixed picture is the mixed loss, by the classes' weights."""
    weights = torch.tensor([1.0, 2.0, 0.5])
    objective = LabelObjective(np.array([0, 2]), 3, weights, smoothing=0.2)
    target = objective.mixed(np.array(0), np.array(2), 0.7)
    assert target.tolist() == pytest.approx([0.7, 0.0, 0.3])
    logits = torch.tensor([[0.5, -1.0, 2.0]])
    losses, right = objective.losses(logits, torch.from_numpy(target)[None])
    each = [
        F.cross_entropy(logits, torch.tensor([label]), weights, label_smoothing=0.2, reduction="none")
        for label in (0, 2)
    ]
    assert float(losses) == pytest.approx(float(0.7 * each[0] + 0.3 * each[1]), rel=1e-6)
    assert float(right) == 0
    assert objective.mixed(np.array(1), np.array(1), 0.4).tolist() == pytest.approx([0, 1, 0])
    several = LabelSetObjective(np.array([[1, 0], [1, 1]], np.float32))
    assert several.mixed(several.truth[0], several.truth[1], 0.75).tolist() == [1.0, 0.25]


def test_a_mixed_training_that_was_stopped_ends_in_the_same_bytes_with_other_workers(
    data: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(epochs=2, **MIXED)
    run(data, tmp_path / "whole", recipe, workers=2)
    counts = []

    def stop(progress: object) -> None:
        counts.append(progress)
        if len(counts) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "parts", recipe, every=1, progress=stop, workers=0)
    run(data, tmp_path / "parts", recipe, resume=True, workers=1)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= row["training_top1"] <= 1 for row in rows if row["phase"] == "train")


def test_with_few_pictures_the_search_trains_on_mixed_pictures_and_not_on_stored_views(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partners = []
    monkeypatch.setattr(
        Loader, "partner", lambda self, index, epoch: partners.append(index) or (index + 1) % len(self.pictures)
    )
    run(data, tmp_path / "run", tiny_recipe(few=1000, folds=2, epochs=1, mixup=0.5), depth=3)
    assert len(partners) > 40
    assert not (tmp_path / "run" / "checkpoint" / "views.sqlite").exists()


def test_where_mixing_means_nothing_it_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--mixup, --cutmix has no use for recombine"):
        Recombining().check(read_recipe("recombine").changed({"mixup": 0.2, "cutmix": 1.0}))
    with pytest.raises(UsageError, match="'probe' does not train the network and takes no --mixup, --erase"):
        read_recipe("probe").changed({"mixup": 0.2, "erase": 0.5})
    for name, value in MIXED.items():
        with pytest.raises(UsageError, match=f"--{name} is for classifiers, not for captions; leave it out"):
            recipe_for("finetune", "caption").changed({name: value})
    with pytest.raises(UsageError, match="no one caption"):
        CaptionObjective([[((1,), (1,))]], 0, 3).mixed(np.array([1]), np.array([1]), 0.5)


def test_off_by_default_and_then_nothing_of_a_recipe_changes() -> None:
    settings = finetune()
    assert settings.mixing is None
    augmentation = settings.augmentation
    assert (augmentation.randaugment, augmentation.erase) == (0, 0.0)
    on = replace(settings, mixup=0.2, randaugment=2, magnitude=5.0, erase=0.1)
    assert on.mixing == Mixing(0.2, 0.0)
    assert (on.augmentation.randaugment, on.augmentation.magnitude, on.augmentation.erase) == (2, 5.0, 0.1)
