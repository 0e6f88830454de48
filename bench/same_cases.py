"""What same.py runs: command lines, calls from Python, and what they are run on."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("train", "evaluate", "predict", "compare", "explain", "caption", "registers", "positions", "scenes", "demo")
LISTS = ("models", "methods", "metrics")


@dataclass(frozen=True)
class Case:
    """A command line or a call from Python, with what is prepared for it."""

    name: str
    words: tuple[str, ...] = ()
    call: Callable[[], object] | None = None
    prepare: Callable[[], object] | None = None
    stop_at: str | None = None
    """A file at whose first line Ctrl-C is pressed. How far the work came is chance, so only the exit code is kept."""
    messages: bool = True
    """Whether its messages are kept: what goes on after a stop says how far it had come."""


def line(name: str, text: str, **how: Any) -> Case:
    return Case(name, tuple(text.split()), **how)


def classifier_cases(slow: bool) -> Iterator[Case]:
    yield from listed()
    yield line("scenes", "scenes 24 --out scenes --size 64 --seed 1 --json")
    yield line("scenes again", "scenes 24 --out scenes --size 64 --seed 1 --overwrite")
    yield line("scenes elsewhere", "scenes 3 --out scenes_more --size 96 --val 0.5 --seed 7 --json")
    yield Case("inputs", call=make_inputs)
    yield from training()
    yield from scoring()
    yield from explaining()
    yield from inspecting()
    yield from from_python()
    yield from wrong()
    if slow:
        yield line("demo", "demo --out demo --json")


def listed() -> Iterator[Case]:
    """What there is, and what each command takes."""
    yield line("help", "--help")
    for command in (*COMMANDS, *LISTS):
        yield line(f"help of {command}", f"{command} --help")
    yield line("version", "--version")
    yield Case("no command")
    for command in LISTS:
        yield line(command, command)
        yield line(f"{command} json", f"{command} --json")
    yield line("models by pattern", "models *tiny*224")


TINY = "--model in/tiny --workers 0 --precision float32"
SHORT = f"{TINY} --recipe finetune --search never --epochs 2 --batch-size 8 --learning-rate 1e-3 --json"


def training() -> Iterator[Case]:
    yield line("train probe", f"train scenes --recipe probe --out runs/probe {TINY} --json")
    yield line("train probe in text", f"train in/classes --recipe probe --out runs/folders {TINY} --no-pictures")
    yield line("train probe of pets-tiny", "train scenes --recipe probe --out runs/pets --size 64 --anonymise --json")
    yield line("train probe by another label", f"train scenes --recipe probe --out runs/sky --label sky {TINY} --json")
    yield line("train probe with groups", f"train in/index.csv --recipe probe --out runs/groups --group site {TINY}")
    yield line("train finetune", f"train scenes --out runs/tuned {SHORT} --slice pattern")
    more = "--average swa --optimiser sgd --momentum 0.9 --rotate 10 --translate 0.1 --zoom 0.1 --hue 0.1 --dropout 0.1"
    yield line("train finetune otherwise", f"train in/classes --out runs/other {SHORT} {more} --class-weights balanced")
    more = "--open-layers 1 --mix 0.5 --patience 1 --keep best --head new --accumulate 2 --fit squash --values half"
    yield line("train finetune with little open", f"train scenes --out runs/open {SHORT} {more}")
    more = "--folds 2 --epochs 1 --workers 2 --batch-size 8 --seed 3"
    yield line("train finetune with a search", f"train scenes --out runs/search --model in/tiny {more}")
    yield line("train dlcv", f"train scenes --recipe dlcv --out runs/dlcv {TINY} --epochs 2 --size 48 --json")
    yield line(
        "train a run's recipe again", "train scenes --recipe runs/tuned/recipe.json --out runs/again --workers 0"
    )
    yield line("train over a run", f"train scenes --recipe probe --out runs/again {TINY} --overwrite")
    yield line("train what is finished", f"train scenes --out runs/tuned {SHORT} --slice pattern --resume")
    long = f"train scenes --out runs/long {SHORT} --epochs 40 --workers 1"
    yield line("train, stopped", long, stop_at="runs/long/metrics.jsonl")
    yield line("train, gone on with", f"{long} --resume", messages=False)
    yield line("train from a run", f"train scenes --out runs/second {SHORT} --model runs/probe --size 96")
    yield line("train over a bad picture", f"train in/broken --recipe probe --out runs/skipped {TINY} --skip-bad")


def scoring() -> Iterator[Case]:
    quick = "--workers 0 --json"
    yield line("evaluate", f"evaluate scenes --model runs/tuned {quick}")
    yield line("evaluate in text", "evaluate scenes --model runs/probe")
    more = "--slice pattern --slice size --threshold 0.4 --out scores/tuned"
    yield line("evaluate with slices", f"evaluate scenes --model runs/tuned {more} {quick}")
    more = "--split train --keep-seen --out scores/training --no-pictures"
    yield line("evaluate what was seen", f"evaluate scenes --model runs/tuned {more} {quick}")
    yield line("evaluate all but what was seen", f"evaluate scenes --model runs/tuned --split all {quick}")
    yield line("evaluate again", f"evaluate scenes --model runs/probe --out scores/training --overwrite {quick}")
    more = "--predictions in/predictions.csv --slice ground --out scores/csv --anonymise"
    yield line("evaluate predictions", f"evaluate scenes {more} {quick}")
    yield line("evaluate groups", f"evaluate in/index.csv --model runs/groups --group site --split all {quick}")
    yield line("evaluate in bfloat16", f"evaluate scenes --model runs/tuned --precision bfloat16 --size 48 {quick}")
    yield line("predict", f"predict scenes/images --model runs/tuned --out predicted.csv {quick}")
    yield line("predict probabilities", "predict scenes in/odd --model runs/probe --probs --out probabilities.csv")
    yield line("predict what is there", f"predict scenes/images --model runs/tuned --out predicted.csv {quick}")
    yield line("predict a table", f"predict in/index.csv --model pets-tiny --size 64 --out pets.csv {quick}")
    stopped = "predict in/halting --model runs/tuned --batch-size 2 --out halting.csv --workers 0"
    yield line("predict, stopped", stopped, prepare=break_one)
    yield line("predict, gone on with", stopped, prepare=mend_one)
    yield line("predict over a bad picture", "predict in/broken --model runs/tuned --out skipped.csv --skip-bad")
    yield line("compare", "compare runs/tuned runs/probe runs/open --json")
    yield line("compare on data", f"compare runs/tuned runs/probe --data scenes --out compared {quick}")
    yield line("compare on what was seen", "compare runs/tuned runs/dlcv --data scenes --split all --keep-seen")
    yield line("compare different pictures", "compare runs/tuned runs/folders runs/sky")


PICTURE_METHODS = (
    *("attention", "rollout", "grad_attention", "transition", "legrad", "libra_fullgrad", "libra_fullgrad_plus"),
    *("gradcam", "input_x_gradient", "integrated_gradients", "occlusion", "activation_patching", "shapley"),
    *("random", "centre", "edges"),
)
SETTINGS = {
    "attention": "--layer 1 --head 2 --query 3,4",
    "rollout": "--start 1 --query 0,0",
    "grad_attention": "--target dog --against cat --start 1",
    "transition": "--target 2 --steps 5 --start 1",
    "legrad": "--target fish --start 1",
    "libra_fullgrad": "--target 1 --against 0",
    "gradcam": "--layer 0 --target horse",
    "input_x_gradient": "--target bird --against turtle",
    "integrated_gradients": "--steps 7 --target cat",
    "occlusion": "--target cat --against dog",
    "activation_patching": "--start 1 --target cat",
    "shapley": "--samples 3 --target cat --seed 5",
    "random": "--seed 4",
}
"""The settings that a method takes, with other values than those that it has by itself."""
ARCHITECTURES = {
    "test_vit": "--size 64",
    "deit_tiny_distilled_patch16_224": "--size 64",
    "eva02_tiny_patch14_224": "--size 56",
    "cait_xxs24_224": "--size 64",
    "vit_relpos_small_patch16_224": "--size 64",
    "vit_wee_patch16_reg1_gap_256": "--size 64",
    "swin_tiny_patch4_window7_224": "",
    "xcit_nano_12_p16_224": "--size 64",
    "beit_base_patch16_224": "--size 64",
}
FAMILY_METHODS = ("attention", "rollout", "legrad", "libra_fullgrad", "gradcam", "activation_patching")
WITHOUT_TOKENS = dict.fromkeys(
    ("swin_tiny_patch4_window7_224", "xcit_nano_12_p16_224"), ("attention", "input_x_gradient")
)
"""Of those whose attention cannot be read the refusal, and a method that needs none."""
TWO = "scenes/images/cat_00001.png scenes/images/dog_00002.png"


def explaining() -> Iterator[Case]:
    run = "--model runs/tuned --workers 0"
    for method in PICTURE_METHODS:
        yield line(f"explain {method}", f"explain {TWO} --method {method} --out maps/{method} {run} --json")
        table = f"--out maps/{method}.parquet --size 64 --json"
        yield line(f"explain {method} of pets-tiny", f"explain {TWO} in/odd --method {method} {table}")
        if method in SETTINGS:
            words = f"--method {method} {SETTINGS[method]} --out maps/{method}_set.parquet {run}"
            yield line(f"explain {method} with settings", f"explain {TWO} {words}")
    for name, size in ARCHITECTURES.items():
        for method in WITHOUT_TOKENS.get(name, FAMILY_METHODS):
            words = f"--model random:{name} {size} --method {method} --out maps/{name}/{method}.parquet --json"
            yield line(f"explain {method} of {name}", f"explain scenes/images/cat_00001.png {words}")
    odd = f"explain {TWO} in/odd {run}"
    yield line("explain a folder of odd pictures", f"explain in/odd --out maps/odd {run} --method legrad")
    yield line("explain with methods side by side", f"explain {TWO} --out maps/methods --sheet methods {run} --seed 2")
    yield line("explain with layers side by side", f"{odd} --out maps/layers --sheet layers --method attention")
    yield line("explain with heads side by side", f"{odd} --out maps/heads --sheet heads --layer 0 --colours viridis")
    yield line(
        "explain with some side by side", f"{odd} --out maps/some --sheet legrad,occlusion,edges --method rollout"
    )
    yield line("explain as svg", f"{odd} --out maps/svg --figure svg --method occlusion --json")
    yield line("explain as pdf", f"{odd} --out maps/pdf --figure pdf --colours jet")
    yield line("explain as a table by its format", f"{odd} --out maps/table --format parquet --batch-size 1")
    yield line("explain over maps", f"{odd} --out maps/table --overwrite --method shapley --samples 2")
    yield line("explain what is there", f"{odd} --out maps/table")
    yield line("explain in bfloat16", f"{odd} --out maps/bfloat16.parquet --precision bfloat16 --method legrad")
    for name, end in (("panels", ""), ("a table", ".parquet")):
        stopped = f"explain in/halting --method shapley --samples 2 --batch-size 2 --out maps/halting{end} {run}"
        yield line(f"explain into {name}, stopped", stopped, prepare=break_one)
        yield line(f"explain into {name}, gone on with", stopped, prepare=mend_one)
    yield line("explain over a bad picture", f"explain in/broken --out maps/skipped --skip-bad {run}")


def inspecting() -> Iterator[Case]:
    quick = "--workers 0 --json"
    repair = "registers scenes --model in/planted --masks scenes/objects --search 12"
    yield line("registers", f"registers scenes --model runs/tuned {quick}")
    yield line("registers repaired", f"{repair} --anyway --out repaired {quick}")
    yield line("registers in text", f"{repair} --margin 0.5 --seed 1 --split val")
    yield line("registers of pets-tiny", f"registers scenes --size 96 --masks scenes/objects --search 6 {quick}")
    yield line("explain what was repaired", f"explain {TWO} --model repaired --out maps/repaired --json")
    yield line("positions", "positions --model runs/tuned --out places/tuned --json")
    yield line("positions in text", "positions --model in/tiny --out places/tiny")
    more = "--pictures scenes/images --layer 1 --permutations 19 --scale each --colours viridis"
    yield line("positions with pictures", f"positions --model runs/tuned --out places/pictures {more} {quick}")
    more = "--from-grid 4,4 --interpolation bilinear --before in/tiny --seed 2"
    yield line("positions with controls", f"positions --model runs/second --out places/controls {more} {quick}")
    for name, size in ARCHITECTURES.items():
        words = f"--model random:{name} {size} --permutations 19 --pictures {TWO.split()[0]} --out places/{name}"
        yield line(f"positions of {name}", f"positions {words} {quick}")


def from_python() -> Iterator[Case]:
    yield Case("explain a module of timm", call=explain_timm)
    yield Case("explain a module of torchvision", call=explain_torchvision)
    yield Case("explain a module of one's own", call=explain_own)
    yield Case("explain without a folder", call=explain_nowhere)
    yield Case("load", call=load_networks)


def wrong() -> Iterator[Case]:
    out = "--out wrong"
    for words in (
        "tran scenes",
        "train scenes",
        f"train absent {out}",
        f"train in/empty {out}",
        f"train in/one_class {out}",
        f"train in/broken {out} {TINY} --recipe probe",
        f"train scenes {out} --recipe prob",
        f"train scenes {out} --precision float23",
        f"train scenes {out} --epochs 0",
        f"train scenes {out} --longest 3",
        f"train scenes {out} --task caption --folds 5",
        f"train scenes {out} --group anmal",
        f"train scenes --out runs/tuned {SHORT}",
        f"train scenes --out in/classes {SHORT} --overwrite",
        f"train scenes --out runs/tuned {SHORT} --overwrite --resume",
        f"train scenes {out} --model vit_tiny_patch16_224",
        "evaluate scenes --model random:test_vit --size 64",
        "evaluate in/index.csv --model runs/sky",
        "evaluate scenes --model runs/tuned --split trian",
        "evaluate scenes --model runs/tuned --slice sise",
        "evaluate scenes --model absent.safetensors",
        "evaluate scenes --model in/damaged",
        "evaluate scenes --model in/newer",
        "evaluate scenes --task caption --model runs/tuned",
        f"predict in/notes.jpg {out}.csv",
        "predict scenes/images --out runs/tuned",
        f"explain {TWO} {out} --method atention",
        f"explain {TWO} {out} --method tam",
        f"explain {TWO} {out} --model runs/tuned --layer 9",
        f"explain {TWO} {out} --model runs/tuned --query 99,0",
        f"explain {TWO} {out} --model runs/tuned --method legrad --target dgo",
        f"explain {TWO} {out} --model runs/tuned --method edges --head 1",
        f"explain {TWO} {out} --model runs/tuned --figure gif",
        f"explain {TWO} {out} --model runs/tuned --sheet legrad,oclusion",
        f"explain {TWO} {out} --model runs/tuned --colours virids",
        f"explain {TWO} {out} --model random:resnet18",
        f"explain {TWO} {out} --model scenes-captioner",
        f"explain {TWO} {out} --device cuda:99",
        f"caption {TWO} {out} --model runs/tuned",
        f"positions {out} --model vit_tiny_patch16_242",
        f"positions {out} --scale share",
        f"registers scenes --model in/planted {out} --masks in/classes",
        "compare runs/tuned",
        "compare runs/tuned absent",
        "scenes 0 --out wrong",
        "scenes 3 --out wrong --size 5",
    ):
        yield line(f"wrong: {words}", words)


FAMILIES = (
    *("encoder_decoder", "blip", "tiled", "smolvlm", "merged", "qwen2_vl", "qwen3_vl", "llava", "llava_next"),
    *("paligemma", "paligemma2", "git", "blip2", "blip2_t5", "florence2"),
)
WORD_METHODS = ("cross_attention", "grad_cross_attention", "tam")


def captioner_cases(slow: bool) -> Iterator[Case]:
    small = "--decoder-layers 2 --decoder-width 32 --decoder-heads 2 --longest 24 --batch-size 8 --precision float32"
    learn = f"train scenes --task caption --model in/tiny {small} --learning-rate 3e-3"
    yield line("train captions", f"{learn} --epochs 3 --out runs/captions --workers 0 --json")
    yield line(
        "train captions otherwise", f"{learn} --epochs 1 --encoder-layers 1 --least 2 --out runs/less --workers 1"
    )
    yield line("train captions that are finished", f"{learn} --epochs 3 --out runs/captions --resume")
    stopped = f"{learn} --epochs 30 --out runs/captions_long"
    yield line("train captions, stopped", stopped, stop_at="runs/captions_long/metrics.jsonl")
    yield line("train captions, gone on with", f"{stopped} --resume --json", messages=False)
    yield line("evaluate captions", "evaluate scenes --model runs/captions --out scores/captions --json")
    yield line("evaluate captions in text", "evaluate scenes --model runs/less --split all --keep-seen")
    yield line("evaluate captions of what ships", "evaluate in/captions.csv --task caption --split all --json")
    yield line("caption", f"caption {TWO} --out captions/shipped --json")
    yield line("caption in text", f"caption {TWO} in/odd --model runs/captions --out captions/own")
    more = "--depends --truth scenes --out captions/truth --json"
    yield line("caption with truth", f"caption {TWO} scenes/images/fish_00004.png {more}")
    for method in WORD_METHODS:
        words = f"--method {method} --out captions/{method}.parquet --json"
        yield line(f"caption by {method}", f"caption {TWO} {words}")
    words = "--method grad_cross_attention --start 1 --depends --out captions/start.parquet --json"
    yield line("caption by gradients from a layer on", f"caption {TWO} in/odd {words}")
    yield line("caption with the row that reads", f"caption {TWO} --row reading --layer 1 --head 2 --out captions/row")
    yield line("caption by beams", f"caption {TWO} --beams 2 --limit 9 --out captions/beams --colours viridis --json")
    yield line("caption in one picture's batches", f"caption {TWO} in/odd --batch-size 1 --out captions/ones.parquet")
    given = f"caption {TWO} --captions in/captions.csv"
    yield line("caption what is given", f"{given} --out captions/given --json")
    yield line("caption all that is given", f"{given} --which all --depends --truth scenes --out captions/all --json")
    yield line("caption the second given", f"{given} --which 1 --out captions/second.parquet")
    yield line("caption scenes' own", f"caption {TWO} --captions scenes --style source --out captions/source")
    for name, end in (("panels", ""), ("a table", ".parquet")):
        stopped = f"caption in/halting --batch-size 2 --model runs/captions --out captions/halting{end}"
        yield line(f"caption into {name}, stopped", stopped, prepare=break_one)
        yield line(f"caption into {name}, gone on with", stopped, prepare=mend_one)
    yield line(
        "caption over a bad picture", "caption in/broken --model runs/captions --skip-bad --out captions/skipped"
    )
    for family in FAMILIES:
        base = f"caption {TWO} --model in/{family} --limit 8"
        yield line(f"caption by {family}", f"{base} --out captions/{family} --json")
        yield line(f"caption by {family} and beams", f"{base} --beams 2 --depends --out captions/{family}_b.parquet")
        words = f"--captions in/captions.csv --row reading --layer 0 --head 1 --out captions/{family}_g.parquet"
        yield line(f"caption by {family} what is given", f"caption {TWO} --model in/{family} {words}")
        for method in WORD_METHODS[1:]:
            words = f"--method {method} --out captions/{family}_{method}.parquet --json"
            yield line(f"caption by {family} with {method}", f"{base} {words}")
        yield line(f"evaluate {family}", f"evaluate in/captions.csv --task caption --model in/{family} --split all")
    yield line("caption after a prompt", f"caption {TWO} --model in/blip --prompt cat --out captions/prompt --json")
    yield line("caption an answer", f"caption {TWO} --model in/llava --prompt cat --limit 5 --out captions/answer")
    out = "--out wrong"
    for words in (
        f"caption {TWO} {out} --method legrad",
        f"caption {TWO} {out} --which 3 --captions in/captions.csv",
        f"caption {TWO} {out} --captions in/index.csv",
        f"caption {TWO} {out} --layer 9",
        f"caption {TWO} {out} --row red",
        f"caption {TWO} {out} --style sauce",
        f"caption {TWO} {out} --prompt cat",
        f"caption {TWO} {out} --truth in/classes",
        f"caption {TWO} {out} --model nowhere.pth",
        f"caption in/empty {out}",
        f"train in/classes {out} --task caption",
        f"train scenes {out} --task captoin",
        "evaluate scenes --model runs/captions --threshold 0.5",
        "predict scenes/images --model runs/captions --out wrong.csv",
    ):
        yield line(f"wrong: {words}", words)


CASES = {"classifiers": classifier_cases, "captioners": captioner_cases}
"""What each has a process of its own: a crash costs the rest of one of them, not of all."""


# What it is run on, beside the scenes that the first case draws.


def make_inputs() -> None:
    """Tables, broken pictures and networks under in/: as drawn, but with attention that looks somewhere."""
    import numpy as np
    from PIL import Image

    home = Path("in")
    with Path("scenes/index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        put(home / "classes" / row["label"] / Path(row["filename"]).name, row["filename"])
        if row["label"] in ("bird", "cat"):
            put(home / "broken" / Path(row["filename"]).name, row["filename"])
        if row["label"] == "cat":
            put(home / "one_class" / "cat" / Path(row["filename"]).name, row["filename"])
    for row in rows[:6]:
        put(home / "halting" / Path(row["filename"]).name, row["filename"])
    spoil(Path(shutil.copy(home / "halting" / "cat_00001.png", home / "broken" / "cat_bad.png")))
    (home / "empty").mkdir()
    (home / "notes.jpg").write_text("not a picture at all", encoding="utf-8")
    random, odd = np.random.default_rng(0), home / "odd"
    odd.mkdir()
    for name, mode, size in (
        ("grey.png", "L", (40, 70)),
        ("wide.jpg", "RGB", (150, 30)),
        ("clear.png", "RGBA", (64, 64)),
    ):
        pixels = random.integers(0, 255, (5, 6, len(Image.new(mode, (1, 1)).getbands())), np.uint8).squeeze()
        Image.fromarray(pixels, mode).resize(size, Image.Resampling.BICUBIC).save(odd / name)
    table: list[tuple[str, ...]] = [("filename", "label", "site")]
    table += [(f"../{row['filename']}", row["label"], f"site {place % 6}") for place, row in enumerate(rows)]
    table = [(name.replace("../images", "../scenes/images"), *rest) for name, *rest in table]
    write_csv(home / "index.csv", table)
    labels = sorted({row["label"] for row in rows})
    held_out = [row for row in rows if row["split"] == "val"]
    guesses = [(row["filename"], labels[place] if place % 3 else row["label"]) for place, row in enumerate(held_out)]
    write_csv(home / "predictions.csv", [("filename", "label"), *guesses])
    captions = []
    for row in rows[:3]:
        name = f"../scenes/{row['filename']}"
        captions += [
            (name, f"a {row['colour']} {row['label']} on a red ball."),
            (name, f"The {row['label']} unbelievably"),
        ]
    write_csv(home / "captions.csv", [("filename", "caption"), *captions])
    make_networks(home)
    for name, change in (("damaged", {}), ("newer", {"schema": 99})):
        shutil.copytree(home / "tiny", home / name)
        stored = json.loads((home / name / "model.json").read_text(encoding="utf-8"))
        (home / name / "model.json").write_text(json.dumps({**stored, **change}), encoding="utf-8")
    (home / "damaged" / "model.safetensors").write_bytes((home / "tiny" / "model.safetensors").read_bytes()[:1000])


def put(path: Path, picture: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path("scenes") / picture, path)


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def break_one() -> None:
    """The fifth picture of in/halting cannot be read: a command stops there, the same way every time."""
    spoil(sorted(Path("in/halting").iterdir())[4])


def mend_one() -> None:
    broken = sorted(Path("in/halting").iterdir())[4]
    shutil.copyfile(Path("scenes/images") / broken.name, broken)


SHAPE = {"img_size": [64, 64], "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 8}
NAMES = ["bird", "cat", "dog", "elephant", "fish", "horse", "rabbit", "turtle"]


def make_networks(home: Path) -> None:
    """in/tiny, a run of three blocks; in/planted, whose one neuron makes outliers; one of each family of captioners."""
    import torch

    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import captioners

    module = tiny_vit()
    save_run(module, home / "tiny")
    plant(module)
    save_run(module, home / "planted")
    for family in FAMILIES:
        getattr(captioners, family)(home / family)
    torch.manual_seed(0)


def tiny_vit(**more: Any) -> Any:
    import torch
    from timm.models.vision_transformer import VisionTransformer

    module = VisionTransformer(**{**SHAPE, **more}).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim == 1:
                value.copy_(0.1 * noise + name.endswith("weight"))
            elif "pos_embed" in name or "token" in name:
                value.copy_(0.4 * noise)
            else:
                value.copy_(noise * (2.5 if "qkv" in name else 1) / value[0].numel() ** 0.5)
    return module


def plant(module: Any) -> None:
    """One neuron of the second block answers at few patches of the scenes, and writes a huge norm there."""
    import numpy as np
    import torch
    from PIL import Image

    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(Path("scenes/images").iterdir())]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    inputs_of: list[torch.Tensor] = []
    hook = module.blocks[1].mlp.fc1.register_forward_pre_hook(lambda _, inputs: inputs_of.append(inputs[0]))
    with torch.no_grad():
        module(x)
        hook.remove()
        tokens = inputs_of[0][:, 1:].flatten(0, 1)
        direction = tokens[0] - tokens.mean(0)
        along = tokens @ direction
        high, low = float(along.max()), float(along.quantile(0.95))
        part = module.blocks[1].mlp
        part.fc1.weight[7] = direction * 60 / (high - low)
        part.fc1.bias[7] = -low * 60 / (high - low)
        part.fc2.weight[:, 7] = 8 * torch.sign(part.fc2.weight[:, 7])


def save_run(module: Any, folder: Path, shape: Mapping[str, Any] = SHAPE, side: int = 64) -> None:
    """A run's folder, written here: what is in it is what runs of every version have."""
    from safetensors.torch import save_file

    folder.mkdir()
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / "model.safetensors")
    half = [0.5, 0.5, 0.5]
    size = {
        "height": side,
        "width": side,
        "mode": "crop",
        "crop": 0.9,
        "mean": half,
        "std": half,
        "interpolation": "bicubic",
    }
    architecture = {"kind": "timm", "name": "vit_tiny_patch16_224", "arguments": {**shape}}
    description = {"schema": 1, "task": "classification", "architecture": architecture, "preparation": size}
    known = {**description, "classes": NAMES, "edits": [], "weights_sha256": "0" * 64}
    (folder / "model.json").write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


# What is given from Python alone.


def explain_timm() -> None:
    import regard

    for method in ("attention", "legrad", "occlusion"):
        how: dict[str, Any] = {} if method == "attention" else {"target": 2, "against": 0}
        out = Path("python") / f"timm_{method}"
        regard.explain([Path(name) for name in TWO.split()], out, method, model=tiny_vit(), workers=0, **how)


def explain_torchvision() -> None:
    import torch
    from torchvision.models.vision_transformer import VisionTransformer

    import regard

    torch.manual_seed(2)
    module = VisionTransformer(64, 16, 3, 3, 48, 96, num_classes=5)
    torch.nn.init.normal_(module.heads[0].weight)
    for method in ("attention", "grad_attention", "gradcam"):
        regard.explain(TWO.split(), f"python/vision_{method}.parquet", method, model=module.eval(), workers=0)


def explain_own() -> None:
    """A module that no library has, whose attention is found by the grid."""
    import torch
    from torch import nn

    import regard

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.places = nn.Conv2d(3, 24, 16, 16), nn.Parameter(torch.randn(1, 197, 24))
            self.first = nn.Parameter(torch.randn(1, 1, 24))
            self.layers = nn.ModuleList(nn.MultiheadAttention(24, 3, batch_first=True) for _ in range(2))
            self.head = nn.Linear(24, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.places
            for layer in self.layers:
                x = x + layer(x, x, x)[0]
            return self.head(x[:, 0])

    torch.manual_seed(4)
    module = Own().eval()
    for method in ("attention", "rollout", "input_x_gradient", "occlusion"):
        regard.explain(TWO.split(), f"python/own_{method}.parquet", method, model=module, grid=(14, 14), workers=0)


def explain_nowhere() -> None:
    """Without `out` nothing is written."""
    import regard

    regard.explain(TWO.split(), model="runs/tuned", workers=0)
    regard.explain(TWO.split()[0], Path("python/one"), model=Path("runs/tuned"), method="gradcam", target="cat")


def load_networks() -> None:
    """What a network says of pictures."""
    import numpy as np
    import torch

    import regard

    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name in ("runs/tuned", "random:test_vit", tiny_vit()):
        network = regard.load(name, size=64, classes=8) if isinstance(name, str) else regard.load(name)
        with torch.no_grad():
            print(np.asarray(network.module(x)).tolist())
