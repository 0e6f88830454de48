"""`dlcv` against a plain script of the same recipe on the original package's network: ten steps, dropout off."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_pretrained_vit import ViT
from pytorch_pretrained_vit import model as original
from tiny_training import draw_pictures, parts_of, tiny_network
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.transforms import functional
from woken import error

from regard.data.images.augment import draw, generator, read_augmented
from regard.data.images.decode import open_picture
from regard.errors import UsageError
from regard.networks.load import load
from regard.training.optimise import dropout
from regard.training.recipe import read_recipe
from regard.training.tasks import finetune

SIZE, WIDTH = 64, 128


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A small one of the package's, with weights large enough for its attention to matter and a new last layer."""
    monkeypatch.setattr(original, "resize_positional_embedding", False, raising=False)
    torch.manual_seed(0)
    module = ViT(
        patches=16, dim=WIDTH, ff_dim=2 * WIDTH, num_heads=2, num_layers=2, image_size=SIZE, num_classes=4,
        dropout_rate=0.0,
    )  # fmt: skip
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.ndim == 2 and "fc." not in name:
                value.copy_(torch.randn_like(value) * 1.5 / value.shape[1] ** 0.5)
    return module


def test_ten_steps_are_those_of_a_plain_script(network: nn.Module, tmp_path: Path) -> None:
    data = draw_pictures(tmp_path / "data")
    training, validation, hashes = parts_of(data)
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    recipe = read_recipe("dlcv").changed({"dropout": 0.0, "epochs": 2, "batch_size": 4, "hue": 0.0})
    picked = training.select(place for place in range(32) if place % 8 < 5)  # five steps an epoch
    ours = load(tmp_path / "vit.pth", classes=training.classes)
    outcome = finetune.run(ours, picked, validation, hashes, recipe, tmp_path / "run")
    losses = plain_script(network, picked, ours.preparation, recipe.settings.augmentation)
    rows = [row for row in outcome.metrics if row["phase"] == "train"]
    assert [row["training_loss"] for row in rows] == pytest.approx([np.mean(losses[:5]), np.mean(losses[5:])], rel=1e-5)
    assert rows[1]["learning_rate"] == pytest.approx(5e-4 * 0.9)
    torch.save(network.state_dict(), tmp_path / "trained.pth")
    last = load(tmp_path / "trained.pth", classes=training.classes)
    assert rows[1]["validation_top1"] >= rows[0]["validation_top1"]  # so the last epoch is the one that was kept
    for (name, came), right in zip(ours.module.state_dict().items(), last.module.state_dict().values(), strict=True):
        size = max(float(right.abs().max()), 1e-4)  # the new head's bias moved by 1e-6: its rounding is no error
        assert float((came - right).abs().max()) <= 1e-5 * size, name
    start = load(tmp_path / "vit.pth", classes=training.classes).module.state_dict()
    assert error(start["head.weight"], ours.module.state_dict()["head.weight"]) > 1e-3  # it has learnt something


def plain_script(network: nn.Module, pictures, preparation, augmentation) -> list[float]:
    """The recipe as a script has it: SGD, ExponentialLR, cross-entropy, in the order that the seed gives."""
    optimiser = torch.optim.SGD(network.parameters(), lr=5e-4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma=0.9)
    criterion, losses = nn.CrossEntropyLoss(), []
    network.train()
    for epoch in range(2):
        order = np.random.default_rng((0, epoch, 0x0DE5)).permutation(len(pictures))
        for start in range(0, len(order), 4):
            chosen = order[start : start + 4]
            random = [draw(augmentation, generator(0, epoch, int(index))) for index in chosen]
            paths = [pictures.pictures[index].path for index in chosen]
            x = torch.stack(
                [changed(path, preparation, augmentation, drawn) for path, drawn in zip(paths, random, strict=True)]
            )
            loss = criterion(network(x), torch.from_numpy(pictures.labels[chosen]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        schedule.step()
    return losses


def changed(path: Path, preparation, augmentation, drawn) -> torch.Tensor:
    """One picture through torchvision's own functions, with the random numbers that belong to it: values in [-1, 1]."""
    image = functional.resize(open_picture(path), [SIZE, SIZE])
    if drawn.flip:
        image = functional.hflip(image)
    shift = [round(value * SIZE) for value in drawn.shift]
    image = functional.affine(image, angle=drawn.angle, translate=shift, scale=drawn.zoom, shear=[0.0, 0.0])
    for name in drawn.order:
        if name != "hue":
            image = getattr(functional, f"adjust_{name}")(image, drawn.factors[name])
    assert np.array_equal(np.asarray(image), read_augmented(path, preparation, augmentation, drawn))
    return functional.normalize(functional.to_tensor(image), [0.5] * 3, [0.5] * 3)


def test_the_recipe_to_the_letter() -> None:
    settings = read_recipe("dlcv").settings
    assert settings is not None
    assert (settings.optimiser, settings.learning_rate, settings.momentum, settings.weight_decay) == ("sgd", 5e-4, 0, 0)
    assert (settings.schedule, settings.decay, settings.batch_size, settings.epochs) == ("exponential", 0.9, 4, 30)
    assert (settings.keep, settings.average, settings.mix, settings.dropout, settings.drop_path) == (
        "best",
        "none",
        1,
        0.1,
        0,
    )
    assert (settings.smoothing, settings.class_weights, settings.clip, settings.head) == (0, "none", 0, "new")
    assert (settings.fit, settings.values, settings.precision, settings.layer_decay) == ("squash", "half", "float32", 1)
    a = settings.augmentation
    assert (a.crop, a.flip, a.rotate, a.translate, a.scale) == (1, 0.5, 10, 0.1, (0.9, 1.1))
    assert (a.brightness, a.contrast, a.saturation, a.hue) == (0.15, 0.15, 0.15, 0.15)


def test_dropout_is_where_the_package_has_it_and_taken_out_again() -> None:
    """On attention weights, after the projection, after the MLP, but not inside it."""
    network = tiny_network(("a", "b"))
    settings = read_recipe("dlcv").settings
    rates = lambda: [  # noqa: E731
        (block.attn.attn_drop.p, block.attn.proj_drop.p, block.mlp.drop1.p, block.mlp.drop2.p)
        for block in network.module.blocks
    ]
    before = rates()
    with dropout(network, settings):
        assert rates() == [(0.1, 0.1, 0.0, 0.1)] * 2
        assert network.module.pos_drop.p == 0
    assert rates() == before == [(0.0, 0.0, 0.0, 0.0)] * 2


def test_dropout_in_torchvisions_vit() -> None:
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
    network = load(VisionTransformer(**sizes, num_classes=2))
    block = network.module.encoder.layers[1]
    with dropout(network, read_recipe("dlcv").settings):
        assert block.self_attention.dropout == block.dropout.p == block.mlp[4].p == 0.1
        assert block.mlp[2].p == 0
    assert block.self_attention.dropout == block.dropout.p == block.mlp[4].p == 0


def test_dropout_where_its_places_are_not_known_is_refused() -> None:
    network = load("random:resnet10t", classes=["a", "b"])
    with (
        pytest.raises(UsageError, match="where resnet10t drops out is not known; give --dropout 0"),
        dropout(network, read_recipe("dlcv").settings),
    ):
        pass


def test_both_accuracies_are_reported_and_the_best_epoch_is_selected_on_validation(tmp_path: Path) -> None:
    """The running training accuracy counts whole pictures; of equally good epochs the later one is kept."""
    training, validation, hashes = parts_of(draw_pictures(tmp_path / "data"))
    network = tiny_network(training.classes)
    recipe = read_recipe("dlcv").changed({"epochs": 6, "learning_rate": 0.02})
    outcome = finetune.run(network, training, validation, hashes, recipe, tmp_path / "run")
    rows = [row for row in outcome.metrics if row["phase"] == "train"]
    for row in rows:
        assert row["training_top1"] == row["training_right"] / len(training)
    best = max(row["validation_top1"] for row in rows)
    kept = max(row["epoch"] for row in rows if row["validation_top1"] == best)
    assert outcome.selected
    assert outcome.facts["best"] == best
    assert outcome.facts["best_epoch"] == kept
    right = (outcome.logits.argmax(1) == validation.labels).mean()
    assert right == best
    assert rows[kept]["validation_loss"] == outcome.metrics[-1]["validation_loss"]
