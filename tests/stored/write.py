"""Writes the runs and results beside this file, which later versions have to open as they are.

    PYTHONPATH=PATH/src python tests/stored/write.py

They were written by the version before the first move of the rebuilding (0.1.0 at fc52bee), on one thread of a CPU,
and are not to be written again: `known.json` has what that version said of them. Pages, panels and the runs' figures,
which nothing reads, are left out.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from same import ENVIRONMENT, run_one
from same_cases import Case, save_run, tiny_vit

HERE = Path(__file__).resolve().parent
SHAPE = {"img_size": [32, 32], "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0}
PLAIN = ("--workers", "0", "--precision", "float32", "--no-pictures", "--json")
SHAPLEY = "--model finetune --method shapley --samples 2 --workers 0"
COMMANDS: dict[str, str] = {
    "probe": "train scenes --recipe probe --model start --out probe",
    "finetune": "train scenes --model probe --search never --epochs 6 --batch-size 8 --learning-rate 1e-3 "
    "--out finetune",
    "captioner": "train scenes --task caption --model probe --epochs 12 --batch-size 8 --learning-rate 5e-3 "
    "--decoder-layers 2 --decoder-width 24 --decoder-heads 2 --longest 24 --out captioner",
    "evaluation": "evaluate scenes --model finetune --slice pattern --out evaluation --no-pictures --workers 0 --json",
    "captions scored": "evaluate scenes --model captioner --json",
    "compared": "compare finetune probe --json",
    "predictions": "predict scenes/images --model finetune --probs --out predictions.csv --workers 0 --json",
    "explanation": f"explain PICTURES {SHAPLEY} --out explanation --json",
    "table": f"explain PICTURES {SHAPLEY} --out explanation.parquet --json",
    "captions": "caption PICTURES --model captioner --depends --out captions --json",
    "caption table": "caption PICTURES --model captioner --depends --out captions.parquet --json",
}
UNFINISHED = {
    "going.parquet": f"explain MANY {SHAPLEY} --batch-size 2 --out going.parquet --json",
    "speaking.parquet": "caption MANY --model captioner --batch-size 2 --out speaking.parquet --json",
    "rows.csv": "predict MANY --model finetune --batch-size 2 --out rows.csv --workers 0 --json",
}
"""What was stopped after four of six pictures."""
PICTURES = ("scenes/images/cat_00001.png", "scenes/images/dog_00002.png")
LEFT_OUT = {"scenes": (), "evaluation": ("report.html",)}
"""What is left out of folders; of others all pictures."""


def words(command: str, pictures: list[str]) -> tuple[str, ...]:
    """A command line with its pictures in their places."""
    places = {"PICTURES": list(PICTURES), "MANY": pictures}
    more = PLAIN if command.startswith("train") else ()
    return (*(word for text in command.split() for word in places.get(text, [text])), *more)


def do(name: str, line: tuple[str, ...], right: int = 0, **how: Any) -> Any:
    found = run_one(Case(name, line, **how))
    if found["exit"] != right:
        sys.exit(f"{name} ended with {found['exit']}: {found.get('err', '')}")
    return json.loads(found["out"]) if right == 0 and found["out"].startswith("{") else None


def main() -> None:
    import numpy as np
    import torch

    import regard

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["REGARD_CACHE"] = f"{place}/cache"
        do("scenes", ("scenes", "24", "--out", "scenes", "--size", "48", "--seed", "11"))
        save_run(tiny_vit(**SHAPE), Path("start"), {**SHAPE, "num_classes": 8}, 32)
        many = [path.as_posix() for path in sorted(Path("scenes/images").iterdir())[:6]]
        known: dict[str, Any] = {name: do(name, words(command, many)) for name, command in COMMANDS.items()}
        long = words(COMMANDS["finetune"].replace("--out finetune", "--out unfinished"), many)
        do("unfinished", long, 130, stop_at="unfinished/metrics.jsonl")
        broken = Path(many[4])
        whole = broken.read_bytes()
        broken.write_bytes(whole[:200])
        for name, command in UNFINISHED.items():
            do(name, words(command, many), 1)
        broken.write_bytes(whole)
        x = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
        with torch.no_grad():
            known["logits"] = {
                name: np.asarray(regard.load(name).module(x))[0].tolist() for name in ("probe", "finetune")
            }
        known["commands"] = {name: words(command, many) for name, command in {**COMMANDS, **UNFINISHED}.items()}
        known["versions"] = json.loads(Path("explanation/manifest.json").read_text(encoding="utf-8"))["provenance"]
        for name in sorted({path.name for path in Path().iterdir()} - {"start", "cache"}):
            copy(Path(name), HERE / name)
        (HERE / "known.json").write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def copy(path: Path, to: Path) -> None:
    """Put a file or a folder in its place, without what nothing reads."""
    if path.is_dir():
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(path, to, ignore=shutil.ignore_patterns(*LEFT_OUT.get(path.name, ("report.html", "*.png"))))
    else:
        shutil.copyfile(path, to)


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    main()
