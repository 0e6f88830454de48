"""`regard.toml` and `regard settings`: who wins over whom, whose line an error names, what a run records."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny_training import draw_pictures

import regard
from regard.app.commands import COMMANDS
from regard.app.declaring import declared_options
from regard.config.file import read_config
from regard.config.report import ENVIRONMENT
from regard.errors import UsageError
from regard.files import write_json
from regard.training.folder import check_recipe
from regard.training.recipe import Recipe
from regard.training.run import Run as TrainedRun
from regard.training.session import Options

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, place: str = "regard.toml") -> Path:
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def settings(run: Run, *words: object) -> dict[str, tuple[object, str]]:
    code, out, err = run("settings", *words, "--json")
    assert code == 0, err
    return {each["name"]: (each["value"], each["source"]) for each in json.loads(out)["settings"]}


def test_the_command_line_wins_over_the_file_and_the_file_over_what_is_built_in(run: Run) -> None:
    write('[common]\ndevice = "cpu"\nseed = 4\n\n[evaluate]\nbatch_size = 8\nskip-bad = true\nseed = 5\n')
    found = settings(run, "evaluate", "--batch-size", "3")
    assert found["--batch-size"] == (3, "command line")
    assert found["--seed"] == (5, "regard.toml, line 8")  # its own section before the common one
    assert found["--device"] == ("cpu", "regard.toml, line 2")
    assert found["--skip-bad"] == (True, "regard.toml, line 7")
    assert found["--workers"] == (2, "built in")
    assert settings(run, "evaluate", "--no-skip-bad")["--skip-bad"] == (False, "command line")
    assert settings(run, "predict")["--seed"] == (4, "regard.toml, line 3")
    assert settings(run, "evaluate", "--config", "none")["--seed"] == (0, "built in")
    code, text, _ = run("settings", "evaluate")
    assert code == 0 and re.search(r"--batch-size +8 +regard.toml, line 6\n", text)


def test_a_command_has_what_the_file_says_and_tells_it(run: Run) -> None:
    write("[scenes]\nn = 3\nout = 'drawn'\nsize = 64\n\n[common]\nseed = 1\n")
    code, out, err = run("scenes", "4", "--json")
    assert code == 0 and json.loads(out) == {"out": "drawn", "n": 4}
    assert "from regard.toml: --out drawn (line 3), --size 64 (line 4), --seed 1 (line 7)" in err
    assert len([*Path("drawn/images").rglob("*.png")]) == 4


@pytest.mark.parametrize("place", ["before", "after", "equals"])
def test_config_stands_before_and_after_the_command(run: Run, place: str) -> None:
    write("[settings]\n", "regard.toml")  # which would be an error
    write("[scenes]\nsize = 96\n", "elsewhere/mine.toml")
    words = {
        "before": ["--config", "elsewhere/mine.toml", "settings", "scenes"],
        "after": ["settings", "scenes", "--config", "elsewhere/mine.toml"],
        "equals": ["settings", "--config=elsewhere/mine.toml", "scenes"],
    }[place]
    code, out, err = run(*words)
    assert code == 0, err
    assert re.search(r"--size +96 +elsewhere/mine.toml, line 2", out)
    assert run("scenes", "4", "--out", "x", "--config", "none", "--size", "32")[0] == 0
    code, _, err = run("--config", "gone.toml", "scenes", "4", "--out", "y")
    assert code == 2 and "there is no file of settings gone.toml" in err


BAD = {
    "section": ("[common]\nseed = 1\n[evalute]\nseed = 2\n", r"line 3: unknown section 'evalute'; did you mean 'eval"),
    "key": ("[evaluate]\n\nbatchsize = 2\n", r"line 3: unknown key in \[evaluate\] 'batchsize'; did you mean 'batch-s"),
    "common key": ("[common]\nmodell = 'a'\n", r"line 2: unknown key in \[common\] 'modell'; did you mean 'model'"),
    "no section": ("seed = 1\n", r"line 1: seed stands above all sections; put it under \[common\]"),
    "type": ("[train]\nepochs = 'three'\n", r'line 2: epochs is "three", which is no epochs: give a whole number'),
    "switch": ("[train]\nskip_bad = 'yes'\n", r'line 2: skip_bad is "yes".*give true or false'),
    "number": ("[predict]\nsize = true\n", r"line 2: size is true.*give a whole number"),
    "list": ("[predict]\nsize = [1, 2]\n", r"line 2: size is \[1, 2\].*give a whole number"),
    "table": ("[predict]\nsize = {height = 3}\n", r"line 2: size is"),
    "range": ("[predict]\nworkers = -1\n", r"line 2: workers is -1, which is out of range: give at least 0"),
    "value": ("[explain]\nmethod = 'atention'\n", r"line 2: unknown method 'atention'; did you mean 'attention'"),
    "toml": ("[train]\nepochs = \n", r"line 2: is no TOML \(Invalid value\)"),
    "open": ("[train]\nslice = ['a',\n'b'\n", r"line 3: is no TOML"),
    "twice": ("[train]\nopen-layers = 1\n#\nopen_layers = 2\n", r"line 4: open_layers stands twice in \[train\]"),
    "the same": ("[train]\nseed = 1\nseed = 1\n", r"line 3: seed stands twice in \[train\], first in line 2"),
    "sections": ("[train]\nseed = 1\n[train]\nfew = 1\n", r"line 3: \[train\] stands twice, first in line 1"),
    "overwrite": ("[common]\noverwrite = true\n", r"line 2: overwrite cannot stand in a file: what is there would"),
    "token": ("[serve]\ntoken = 'a'\n", r"line 2: token cannot stand in a file: it is a secret; set REGARD_TOKEN"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_in_a_file_is_one_line_with_its_line(run: Run, name: str) -> None:
    """Whichever command runs: a file is right as a whole."""
    text, message = BAD[name]
    write(text)
    for words in (("explain", "nothing", "--out", "x"), ("settings",)):
        code, _, err = run(*words)
        assert code == 2
        assert re.search(f"^regard: regard.toml, {message}", err), err
        assert len(err.splitlines()) == 1


def test_a_file_that_is_no_text_and_one_that_is_no_file_of_settings(run: Run) -> None:
    Path("regard.toml").write_bytes(b"[common]\nmodel = '\xff'\n")
    assert "regard.toml, line 2: is not UTF-8" in run("settings")[2]
    Path("regard.toml").write_bytes(b"#" * 200_000)
    assert "which is no file of settings" in run("settings")[2]


def test_help_is_there_whatever_the_file_says(run: Run) -> None:
    write("nonsense")
    assert run("train", "--help")[0] == 0 and run("--version")[0] == 0


def test_lines_are_counted_over_lists_texts_and_comments() -> None:
    text = '#\n[train]\nslices = [\n  "a",  # x = 1\n  "b",\n]\nlabel = """\nseed = 9\n"""\n\nseed = 3\r\nval = 0.1\n'
    config = read_config(write(text))
    assert [(each.key, each.line) for each in config.entries] == [
        ("slices", 3),
        ("label", 7),
        ("seed", 11),
        ("val", 12),
    ]
    assert [each.section for each in read_config(write("train.seed = 3\n[common]\nseed=1\n")).entries] == [
        "train",
        "common",
    ]


def test_paths_are_relative_to_the_file(run: Run) -> None:
    Path("project/runs/first").mkdir(parents=True)
    Path("project/pictures").mkdir()
    common = "[common]\nmodel = 'runs/first'\ndata = 'pictures'\nweights = 'w.pt'\n"
    write(f"{common}[predict]\nmodel = 'pets-tiny'\npictures = ['pictures', 's3://b/k']\n", "project/regard.toml")
    found = {name: value for name, (value, _) in settings(run, "evaluate", "--config", "project/regard.toml").items()}
    assert found["--model"] == "project/runs/first" and found["DATA"] == "project/pictures"
    assert found["--weights"] == "w.pt" or found["--weights"] == "project/w.pt"
    found = {name: value for name, (value, _) in settings(run, "predict", "--config", "project/regard.toml").items()}
    assert found["--model"] == "pets-tiny" and found["PICTURES"] == ["project/pictures", "s3://b/k"]


def test_an_error_of_the_command_names_the_line_of_what_the_file_gave(run: Run) -> None:
    draw_pictures(Path("pictures"), each=3)
    write("[train]\nepochs = 0\n[evaluate]\nmodel = 'pets-tni'\n")
    code, _, err = run("train", "pictures", "--out", "run")
    assert code == 2 and re.search(r"--epochs is 0; .* \(regard.toml, line 2: epochs = 0\)", err)
    code, _, err = run("evaluate", "pictures")
    assert code == 2 and "(regard.toml, line 4: model = 'pets-tni')" in err


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings leave their recipe alone."""

    def train(
        dataset: object, out: Path, recipe: Recipe, options: Options, *more: object, **rest: object
    ) -> TrainedRun:
        if options.resume:
            check_recipe(out, recipe)
        write_json(out / "recipe.json", recipe.as_json())
        if not options.resume:
            write_json(out / "checkpoint" / "run.json", {"recipe": {}, "digests": {}})  # begun
        return TrainedRun(out, "classify", None)

    monkeypatch.setattr("regard.training.run.train", train)


@pytest.mark.usefixtures("recorded")
def test_a_run_records_what_came_from_the_file_and_resumes_by_it(run: Run) -> None:
    draw_pictures(Path("pictures"), each=1)
    settings_ = 'folds = 2\nsize = 32\nmodel = "random:vit_tiny_patch16_224"\n'
    write(f'[common]\nseed = 3\n[train]\nrecipe = "dlcv"\nepochs = 7\n{settings_}')
    code, _, err = run("train", "pictures", "--out", "runs/a", "--learning-rate", "0.5")
    assert code == 0, err
    stored = json.loads(Path("runs/a/recipe.json").read_text())
    assert stored["recipe"] == "dlcv" and stored["settings"]["epochs"] == 7
    assert stored["settings"]["learning_rate"] == 0.5 and stored["settings"]["folds"] == 2
    expected = {"size": 32, "seed": 3, "model": "random:vit_tiny_patch16_224"}
    assert {name: stored["arguments"][name] for name in expected} == expected
    again = ("train", "pictures", "--out", "runs/a", "--learning-rate", "0.5", "--resume")
    assert run(*again)[0] == 0
    write(Path("regard.toml").read_text().replace("epochs = 7", "epochs = 8"))
    code, _, err = run(*again)
    assert code == 2 and "begun with another recipe: epochs was 7 and is now 8" in err


@pytest.mark.usefixtures("recorded")
def test_a_recipe_json_on_the_command_line_is_the_very_same_run(run: Run) -> None:
    draw_pictures(Path("pictures"), each=1)
    write("[common]\nseed = 3\n[train]\nrecipe = 'dlcv'\nepochs = 7\nworkers = 0\n")
    assert run("train", "pictures", "--out", "runs/a")[0] == 0
    write("[common]\nseed = 8\nmodel = 'scratch'\n[train]\nepochs = 9\nworkers = 0\n")
    found = settings(run, "train", "--recipe", "runs/a/recipe.json")
    assert found["--seed"] == (3, "recipe runs/a/recipe.json") and found["--epochs"][0] == 7
    assert found["--workers"] == (0, "regard.toml, line 6")  # which no recipe says
    code, _, err = run("train", "pictures", "--out", "runs/b", "--recipe", "runs/a/recipe.json")
    assert code == 0, err
    line = "--seed 8 (line 2), --model scratch (line 3), --epochs 9 (line 5)"
    assert f"set aside, as a recipe on the command line is whole: regard.toml: {line}\n" in err
    assert Path("runs/b/recipe.json").read_bytes() == Path("runs/a/recipe.json").read_bytes()


def test_a_named_recipe_keeps_its_settings_and_not_those_of_the_file(run: Run) -> None:
    write("[common]\nprecision = 'float32'\n[train]\nepochs = 3\nrecipe = 'dlcv'\n")
    assert settings(run, "train")["--epochs"] == (3, "regard.toml, line 4")
    assert settings(run, "train")["--batch-size"] == (4, "recipe dlcv")
    found = settings(run, "train", "--recipe", "finetune")
    assert found["--epochs"] == (5, "recipe finetune")
    assert found["--precision"] == ("float32", "regard.toml, line 2")  # of the machine, not of the recipe
    assert settings(run, "train", "--recipe", "finetune", "--epochs", "9")["--epochs"] == (9, "command line")


def sides(scenes: str) -> tuple[int, int]:
    with Image.open(next(Path(scenes, "images").rglob("*.png"))) as image:
        return image.size


def test_python_reads_no_file_unless_it_is_named() -> None:
    write("[scenes]\nsize = 64\nval = 0.5\n")
    regard.scenes(4, "drawn")
    assert sides("drawn") == (224, 224)
    values = regard.settings("scenes", config="regard.toml").values
    assert values == {"size": 64, "val": 0.5}
    regard.scenes(4, "small", **values)
    assert sides("small") == (64, 64)
    with pytest.raises(UsageError, match="unknown command 'scene'; did you mean 'scenes'"):
        regard.settings("scene")


def test_every_option_of_every_command_can_stand_in_a_file() -> None:
    """Its kinds are known, whatever it is annotated with."""
    assert set(declared_options()) == {command.name for command in COMMANDS} - {"settings"}
    for command, options in declared_options().items():
        for option in options:
            assert option.types and option.types <= {bool, int, float, str}, (command, option)
            assert option.parsed in (bool, int, float, str, list)


def test_every_variable_of_the_environment_that_is_read_is_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Path(regard.__file__).parent
    found = {name for path in sources.rglob("*.py") for name in re.findall(r"\bREGARD_[A-Z_]+", path.read_text())}
    assert found == set(ENVIRONMENT)
    monkeypatch.setenv("REGARD_TOKEN", "secret-word")
    code, out, _ = run("settings", "serve")
    assert code == 0 and "secret-word" not in out and re.search(r"--token +\*\*\* +environment", out)
