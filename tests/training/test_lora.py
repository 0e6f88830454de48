"""Adapters (LoRA): merged is unmerged, a run stores what was learnt beside its base, and opens on that base alone."""

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from samples import SAMPLES, Sample, awake
from tiny_training import draw_pictures, parts_of, tiny_network, tiny_recipe
from torch import nn
from woken import error

import regard
from regard.errors import NetworkError, UsageError
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.run import save_network
from regard.training.folder import finish
from regard.training.layers.lora import learning, mixed, targets
from regard.training.optimise import load_values, on_cpu
from regard.training.recipe import Recipe, read_recipe
from regard.training.tasks import finetune as finetuning
from regard.training.tasks.mending.recombine import Recombining
from regard.training.tasks.table import finetune, with_changes

LORA = with_changes(finetune(), {"adapter": "lora", "rank": 2})
FAMILIES = (
    "timm vit",
    "timm eva",
    "timm beit",
    "timm parallel with MLP",
    "torchvision vit",
    "huggingface ViTForImageClassification",
    "huggingface Data2VecVisionForImageClassification",
    "huggingface CLIPForImageClassification",
)


def network_of(sample: Sample) -> Network:
    return load(copy.deepcopy(awake(sample)[0]), size=sample.size)


@pytest.mark.parametrize("sample", [each for each in SAMPLES if each.name in FAMILIES], ids=lambda each: each.name)
def test_merged_is_unmerged_and_the_network_is_left_as_it_was(sample: Sample) -> None:
    network = network_of(sample)
    before = network.logits(sample.pictures)
    start = on_cpu(network.module.state_dict())
    modules = [(path, type(part)) for path, part in network.module.named_modules()]
    with learning(network, LORA, 0) as learnt:
        assert error(network.logits(sample.pictures), before) < 1e-5  # an adapter begins at nothing
        with torch.no_grad():
            for name, value in network.module.named_parameters():
                if ".lora_B." in name:
                    value.normal_(0, 0.5)
        unmerged = network.logits(sample.pictures)
        network.forward(sample.pictures).square().sum().backward()
        trained = {name: value for name, value in network.module.named_parameters() if value.requires_grad}
        assert all(value.grad is not None and value.grad.abs().max() > 0 for value in trained.values())
        assert all(".lora_" in name or name.startswith(network.head_paths()) for name in trained)
        tuned = learnt()
    assert error(unmerged, before) > 0.1
    assert [(path, type(part)) for path, part in network.module.named_modules()] == modules
    assert all(torch.equal(value, start[name]) for name, value in network.module.state_dict().items())
    assert all(value.requires_grad and value.grad is None for value in network.module.parameters())
    load_values(network.module, mixed(LORA, start, tuned, 1.0))
    assert error(network.logits(sample.pictures), unmerged) < 1e-5
    load_values(network.module, mixed(LORA, start, tuned, 0.0))
    assert error(network.logits(sample.pictures), before) < 1e-6


class Plain(nn.Module):
    """A network of no known family, with a layer that is used but never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(48, 8)
        self.silent = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x[:, :, :4, :4].flatten(1)).relu()
        return self.last(nn.functional.linear(hidden, self.silent.weight))


def test_targets_are_named_where_they_are_not_known_and_one_that_matches_nothing_is_an_error() -> None:
    network = load(Plain(), size=8)
    with pytest.raises(UsageError, match=r"no attention that regard knows.*--targets: first, silent"):
        targets(network, LORA)
    assert [part.path for part in targets(network, replace(LORA, targets="first"))] == ["first"]
    with pytest.raises(UsageError, match=r"--targets names 'qkv', which no linear layer .* is called"):
        targets(network, replace(LORA, targets="first,qkv"))
    silent = learning(network, replace(LORA, targets="silent"), 0)
    with pytest.raises(UsageError, match=r"does not call silent as a layer.* would do nothing"), silent:
        pass
    large = learning(network, replace(LORA, targets="first", rank=9), 0)
    with pytest.raises(UsageError, match=r"--rank is 9, but first has 48 inputs and 8 outputs"), large:
        pass
    vit = tiny_network(("a", "b"), depth=3)
    paths = [part.path for part in targets(vit, replace(LORA, targets="fc*", open_layers=1))]
    assert paths == ["blocks.2.mlp.fc1", "blocks.2.mlp.fc2"]
    assert [part.path for part in targets(vit, replace(LORA, open_layers=1))] == [
        "blocks.2.attn.qkv",
        "blocks.2.attn.proj",
    ]
    with pytest.raises(UsageError, match=r"no layer to stand beside in the last 0 blocks"):
        targets(vit, replace(LORA, open_layers=0))
    with pytest.raises(UsageError, match=r"--open-layers is 4; .* has 3 blocks"):
        targets(vit, replace(LORA, open_layers=4))


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    missing = r"needs peft, which is not installed; install it: pip install 'regard\[lora\]'"
    with pytest.raises(UsageError, match=missing), learning(tiny_network(("a", "b")), LORA, 0):
        pass


def test_the_adapters_own_defaults_give_way_to_what_is_given() -> None:
    assert (LORA.learning_rate, LORA.layer_decay) == (2e-3, 1.0)
    assert with_changes(finetune(), {"adapter": "lora", "learning_rate": 1e-3}).learning_rate == 1e-3
    assert with_changes(LORA, {"adapter": "lora", "rank": 4}).learning_rate == LORA.learning_rate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("lora") / "data")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three blocks, of other classes, that an adapter is trained beside."""
    return save_network(tiny_network(("a", "b", "c"), depth=3), tmp_path_factory.mktemp("lora") / "base")


def recipe_of(base: Path, **overrides: object) -> Recipe:
    recipe = tiny_recipe(adapter="lora", rank=2, **overrides)
    return replace(recipe, arguments={"model": str(base), "seed": 0})


def train(data: Path, base: Path, folder: Path, recipe: Recipe, **options: object) -> Network:
    training, validation, hashes = parts_of(data)
    network = load(base, classes=training.classes)
    finetuning.run(network, training, validation, hashes, recipe, folder, **options)
    save_network(network, folder)
    finish(folder)
    return network


@pytest.fixture(scope="module")
def trained(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Network]:
    folder = tmp_path_factory.mktemp("lora") / "run"
    return folder, train(data, base, folder, recipe_of(base, adapter_dropout=0.2))


@pytest.fixture
def run(trained: tuple[Path, Network]) -> Path:
    return trained[0]


def test_a_run_stores_the_adapter_alone_and_opens_to_the_network_that_was_trained(
    base: Path, run: Path, trained: tuple[Path, Network], tmp_path: Path
) -> None:
    network = trained[1]
    opened = load(run)
    assert opened.weights_hash() == network.weights_hash() != load(base).weights_hash()
    assert (run / "model.safetensors").stat().st_size < 0.3 * (base / "model.safetensors").stat().st_size
    description = json.loads((run / "model.json").read_text())
    assert description["adapter"]["base"]["model"] == str(base)
    assert description["adapter"]["base"]["sha256"] == load(base).base_hash()
    assert opened.classes == network.classes and opened.messages == ()
    # What is saved anew is whole: it needs no base, and holds the very same network.
    whole = regard.save(opened, tmp_path / "whole")
    assert "adapter" not in json.loads((whole / "model.json").read_text())
    assert load(whole).weights_hash() == network.weights_hash()


def test_an_adapter_run_is_a_network_like_any_other(data: Path, run: Path) -> None:
    picture = data / "red" / "0.png"
    classifier = regard.Classifier(run)
    assert classifier(picture).classes == ("blue", "green", "grey", "red")
    maps = regard.Explainer(run)(picture, method="rollout")
    assert maps.maps.shape[-2:] == (4, 4)


def test_another_base_is_refused_and_one_that_moved_is_named(data: Path, base: Path, run: Path, tmp_path: Path) -> None:
    other = save_network(tiny_network(("a", "b", "c"), depth=3, seed=1), tmp_path / "other")
    with pytest.raises(
        NetworkError, match=r"is an adapter of other weights than those of .*other.*--weights"
    ) as caught:
        load(run, weights=other)
    assert "\n" not in str(caught.value)
    moved = tmp_path / "moved"
    base.rename(moved)
    try:
        with pytest.raises(NetworkError, match=r"is an adapter, and its base .* cannot be loaded: .*--weights"):
            load(run)
        assert load(run, weights=moved).weights_hash() == json.loads((run / "model.json").read_text())["weights_sha256"]
    finally:
        moved.rename(base)


def test_a_damaged_adapter_is_one_line(base: Path, run: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(run, tmp_path / "run")
    description = json.loads((folder / "model.json").read_text())
    for change in ({"adapter": {}}, {"adapter": {**description["adapter"], "scale": 9.0}}, {"adapter": [1]}):
        (folder / "model.json").write_text(json.dumps({**description, **change}))
        with pytest.raises(NetworkError, match=r"damaged"):
            load(folder)
    itself = {**description["adapter"], "base": {**description["adapter"]["base"], "model": str(folder)}}
    (folder / "model.json").write_text(json.dumps({**description, "adapter": itself}))
    with pytest.raises(NetworkError, match=r"cannot be loaded"):
        load(folder)


def test_recipes_that_mend_a_run_take_no_adapter() -> None:
    with pytest.raises(UsageError, match=r"--adapter has no use for recombine"):
        Recombining().check(read_recipe("recombine").changed({"adapter": "lora"}))


def stop_and_go_on(data: Path, base: Path, folder: Path, recipe: Recipe, steps: int) -> None:
    counts = []

    def stop(progress: object) -> None:
        counts.append(progress)
        if len(counts) == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, base, folder, recipe, every=1, progress=stop)
    train(data, base, folder, recipe, resume=True)


def test_a_training_that_was_stopped_ends_in_the_same_bytes(data: Path, base: Path, run: Path, tmp_path: Path) -> None:
    stop_and_go_on(data, base, tmp_path / "parts", recipe_of(base, adapter_dropout=0.2), steps=6)
    for name in ("model.safetensors", "model.json", "metrics.jsonl"):
        assert (run / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_with_few_pictures_the_search_trains_adapters_in_the_last_blocks(
    data: Path, base: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(base, few=1000, folds=2, epochs=1)
    stop_and_go_on(data, base, tmp_path / "run", recipe, steps=10)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    searched = [row["settings"] for row in rows if row["phase"] == "search"]
    assert {(each.get("open_layers"), each["learning_rate"]) for each in searched} == {(None, 2e-3), (2, 3e-3)}
    assert load(tmp_path / "run").has_classes
