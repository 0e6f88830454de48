"""Recipes: every setting explained and checked, presets frozen, and a stored recipe is the same again."""

import dataclasses
import json
from pathlib import Path

import pytest

from regard.errors import DataError, UsageError
from regard.training.recipe import Recipe, read_recipe
from regard.training.settings import Settings
from regard.training.tasks.table import TASKS, CaptionSettings, all_settings, dlcv, finetune, recipes, with_changes

PRESETS = {name: row.preset for name, (_, row) in recipes().items() if row.preset is not None}


def test_every_setting_is_explained_and_every_word_is_allowed() -> None:
    assert set(all_settings()) == {each.name for task in TASKS for each in dataclasses.fields(task.settings)}
    assert list(all_settings())[: len(dataclasses.fields(Settings))] == [
        each.name for each in dataclasses.fields(Settings)
    ]
    for each in all_settings().values():
        text = each.metadata["help"]
        assert len(text) > 8 and text.endswith("."), each.name
    for task in TASKS:
        settings = task.settings()
        for each in dataclasses.fields(settings):
            words = each.metadata["choices"]
            assert bool(words) == isinstance(each.default, str), each.name
            assert not words or getattr(settings, each.name) in words
            for word in words:
                assert getattr(with_changes(settings, {each.name: word}), each.name) == word


def test_a_setting_of_another_task_says_whose_it_is() -> None:
    with pytest.raises(UsageError, match="--decoder-width is for captioners; give --task caption with it, or leave"):
        with_changes(finetune(), {"decoder_width": 96})
    with pytest.raises(UsageError, match="--search is for classifiers, not for captions; leave it out"):
        with_changes(CaptionSettings(), {"search": "always"})


def test_a_stored_recipe_of_a_captioner_may_hold_what_only_classifiers_have(tmp_path: Path) -> None:
    """Runs of an earlier version list six settings of classifiers at their defaults."""
    stored = read_recipe("caption").as_json()
    stored["settings"] |= {
        "class_weights": "none",
        "search": "few",
        "few": 1000,
        "folds": 3,
        "mix": 1.0,
        "head": "probe",
    }
    (tmp_path / "recipe.json").write_text(json.dumps(stored), encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.json") == read_recipe("caption")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_begin_with_their_command_and_are_stored_whole(name: str, tmp_path: Path) -> None:
    task = recipes()[name][0].name  # a task's own recipe goes by the task's name
    assert (PRESETS[name].__doc__ or "").startswith(
        (
            f"regard train DATA --recipe {name} ",
            f"regard train DATA --model RUN --recipe {name} ",
            f"regard train DATA --task {task} ",
        )
    )
    recipe = Recipe(name, {"seed": 3}, with_changes(PRESETS[name](), {"epochs": 2}))
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe.as_json()), encoding="utf-8")
    assert read_recipe(file) == recipe
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.settings.epochs = 3  # type: ignore[misc, union-attr]


def test_names_and_files() -> None:
    assert read_recipe("dlcv") == Recipe("dlcv", {}, dlcv())
    assert read_recipe("finetune").settings == finetune()
    assert read_recipe("probe").settings is None
    assert set(PRESETS) | {"probe", "reweigh", "multilabel-probe"} == set(recipes())
    with pytest.raises(UsageError, match="did you mean 'finetune'"):
        read_recipe("fine-tune")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, r"--epochs is 0; it must be at least 1. How often"),
        ({"epochs": 2.5}, "--epochs is 2.5, which is not a whole number"),
        ({"epochs": True}, "not a whole number"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; it must be at least 0"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan"),
        ({"learning_rate": float("inf")}, "--learning-rate is inf"),
        ({"smoothing": 1.0}, "from 0 to 0.99"),
        ({"mix": 1.2}, "from 0 to 1"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"open_layers": -1}, "--open-layers is -1"),
        ({"optimiser": "adam"}, "unknown value for --optimiser 'adam'; did you mean 'adamw'"),
        ({"schedule": "steps"}, "there are: constant, cosine, exponential"),
        ({"schedule": 3}, "not a word"),
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'"),
        ({"lr": 3}, "unknown setting 'lr'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(settings: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        with_changes(finetune(), settings)
    assert "\n" not in str(caught.value)


def test_none_leaves_a_setting_as_it_is() -> None:
    assert with_changes(dlcv(), {"epochs": None, "hue": 0.0}) == dataclasses.replace(dlcv(), hue=0.0)


def test_the_probe_takes_no_settings() -> None:
    assert read_recipe("probe").changed({"epochs": None}) == read_recipe("probe")
    with pytest.raises(UsageError, match="takes no --epochs"):
        read_recipe("probe").changed({"epochs": 3})


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ("{", DataError, "is not a run's recipe"),
        ('{"schema": 1}', DataError, "is not a run's recipe"),
        ('{"schema": 1, "recipe": "magic", "arguments": {}}', UsageError, "unknown recipe 'magic'"),
        ('{"schema": 1, "recipe": "dlcv", "arguments": {}, "settings": {"epochs": 0}}', UsageError, "--epochs is 0"),
        ('{"schema": 1, "recipe": "dlcv", "arguments": {}, "settings": {"speed": 9}}', UsageError, "unknown setting"),
        ('{"schema": 1, "recipe": "dlcv", "arguments": {}, "settings": [1]}', DataError, "is not a run's recipe"),
    ],
)
def test_a_stored_recipe_that_is_wrong(content: str, error: type, says: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(content, encoding="utf-8")
    with pytest.raises(error, match=says):
        read_recipe(tmp_path / "recipe.json")
