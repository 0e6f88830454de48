"""Every vision transformer of timm that regard says it can trace, one after the other: does it, and is it right?

    OMP_NUM_THREADS=1 nice -n 10 .venv/bin/python bench/sweep.py [--names PATTERN] [--blocks 2] [--out docs/sweep.md]

Each network is built with random values at its own width, grid and picture, cut to `--blocks` blocks, its layer scales
set to one and its queries and keys enlarged, so that attention counts. On one picture its logits and its attention are
written out with fused attention switched off (tests/support/woken.py), and compared with what `trace` gives
with it on: all rows of all layers, or the mean row a head reads where there are more than `MANY` tokens. What is done
is kept in `--out` with the ending .jsonl, and a second call goes on from there.
"""

import argparse
import gc
import json
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from regard.networks.attention.trace import trace
from regard.networks.load import Network, load

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from woken import error, queries_keys, written_out

MODULES = (
    "vision_transformer",
    "eva",
    "beit",
    "deit",
    "cait",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "vision_transformer_sam",
    "naflexvit",
)
MANY = 1600
TOLERANCE = 1e-4
"""Of logits and rows, relative: single precision over sums as long as these networks are wide."""
COLUMNS = (
    "name",
    "blocks",
    "million weights",
    "layers",
    "heads",
    "prefix",
    "grid",
    "head reads",
    "rows",
    "logits",
    "result",
)


def main() -> None:
    options = _options()
    kept = options.out.with_suffix(".jsonl")
    done = {row["name"]: row for row in map(json.loads, kept.read_text().splitlines())} if kept.is_file() else {}
    names = [(module, name) for module in MODULES for name in timm.list_models(module=module)]
    wanted = [(module, name) for module, name in names if fnmatch(name, options.names)]
    for module, name in wanted:
        if name in done:
            continue
        start = time.perf_counter()
        done[name] = {"module": module, "name": name, **_one(name, options.blocks)}
        with kept.open("a") as file:
            file.write(json.dumps(done[name]) + "\n")
        print(f"{name}: {done[name]['result']} ({time.perf_counter() - start:.1f} s)", flush=True)
        gc.collect()
    options.out.write_text(_page([done[name] for _, name in wanted], options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", default="*")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/sweep.md"))
    return parser.parse_args()


def _one(name: str, blocks: int) -> dict[str, Any]:
    """A row of the table; an error is a row too."""
    try:
        whole, arguments = _cut(name, blocks)
        return {**whole, **_compared(_stirred(load(timm.create_model(name, **arguments).eval())))}
    except Exception as problem:  # whatever it is, the sweep goes on and says so
        return {"result": f"{type(problem).__name__}: {str(problem).splitlines()[0][:200]}"}


def _cut(name: str, blocks: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the whole network has, and the arguments that cut it: as many blocks, of every kind that it has."""
    with torch.device("meta"):
        module: Any = timm.create_model(name)
    depth, weights = len(module.blocks), sum(weight.numel() for weight in module.parameters())
    arguments: dict[str, Any] = {"depth": min(blocks, depth), "num_classes": 10}
    if "samvit" in name:
        arguments["global_attn_indexes"] = (blocks - 1,)
    if "sapiens2" in name:  # keys and values shared by heads in the middle blocks only
        heads = [block.attn.num_kv_heads for block in module.blocks]
        arguments["num_kv_heads"] = (*heads[: blocks - 1], min(heads))
    return {"depth": depth, "weights": round(weights / 1e6, 1)}, arguments


def _stirred(network: Network) -> Network:
    """Values under which all of a network counts: as timm makes it, attention is even and its share nearly none."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path, weight in network.module.named_parameters():
            if "gamma" in path or (".ls" in path and weight.ndim == 1):
                weight.fill_(1.0)
            elif path.startswith("head.") or "latent" in path or "rel_pos" in path or "relative_position" in path:
                weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
        for weight in queries_keys(network.module):
            weight *= 3.0
    return network


def _compared(network: Network) -> dict[str, Any]:
    anatomy, prepared = network.anatomy, network.preparation
    x = torch.randn(1, 3, prepared.height, prepared.width, generator=torch.Generator().manual_seed(0))
    rows, columns = anatomy.grid(*x.shape[-2:])
    many = rows * columns > MANY
    right_logits, right = (_plain(network.module, x), []) if many else written_out(network.module, x)
    logits, found = trace(network, x, layers="all", queries="pool" if many else "all")
    sums = max(float((layer.sum(-1) - 1).abs().max()) for layer in found.attention.values())
    known = {
        "layers": len(found.attention),
        "heads": next(iter(found.attention.values())).shape[1],
        "prefix": anatomy.prefix,
        "grid": [rows, columns],
        "reads": anatomy.reads,
        "rows": max((error(found.attention[i], layer) for i, layer in enumerate(right)), default=None),
        "logits": error(logits, right_logits),
        "sums": None if _sums_elsewhere(network) else sums,
    }
    return {**known, "result": _verdict(known, len(right) if right else known["layers"], logits)}


def _plain(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = module(x)
    return logits


def _sums_elsewhere(network: Network) -> bool:
    """Differences, mixed heads, and windows with padding: their rows do not sum to one."""
    kinds = {type(part).__name__ for part in network.module.modules()}
    return bool(kinds & {"DiffAttention", "DiffParallelScalingBlock", "TalkingHeadAttn", "VisionTransformerSAM"})


def _verdict(known: dict[str, Any], layers: int, logits: Tensor) -> str:
    checks = {
        "layers are missing": known["layers"] != layers,
        "rows differ": (known["rows"] or 0.0) > TOLERANCE,
        "logits differ": not known["logits"] <= TOLERANCE or not logits.isfinite().all(),
        "rows do not sum to one": (known["sums"] or 0.0) > 1e-4,
    }
    return "; ".join(what for what, wrong in checks.items() if wrong) or "ok"


def _page(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    right = sum(row["result"] == "ok" for row in rows)
    lines = [f"# {right} of {len(rows)} vision transformers of timm, traced", *_ABOUT]
    lines[4] += f" --blocks {options.blocks} --out {options.out}"
    for module in MODULES:
        own = [row for row in rows if row["module"] == module]
        if own:
            lines += ["", f"## {module}: {len(own)}", "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
            lines += [_line(_cells(row)) for row in own]
    return "\n".join(lines) + "\n"


_ABOUT = f"""
Made by a script, not by hand:

    OMP_NUM_THREADS=1 nice -n 10 .venv/bin/python bench/sweep.py

Every architecture of timm {timm.__version__} in nine of its modules, with random values, at its own width, grid and
size of picture, but cut to a few blocks (`blocks` says how many it has, `million weights` is that of the whole; a block
may have two layers, and class attention and pooling by attention are layers too).

`rows` is the largest difference of the attention that `trace` gives, with fused attention on, from that which the
network writes out with it off, relative to the largest; – where there are more than {MANY} tokens, of which only the
row that the head reads is traced. `logits` is the same of the logits; where rows are – they are those of a plain
forward. That rows sum to one is checked too, but for differential attention, talking heads and SAM's padded windows.
""".rstrip().split("\n")


def _cells(row: dict[str, Any]) -> list[str]:
    if "grid" not in row:
        return [row["name"], *[""] * (len(COLUMNS) - 2), row["result"]]
    grid = f"{row['grid'][0]} × {row['grid'][1]}"
    numbers = [str(row[key]) for key in ("depth", "weights", "layers", "heads", "prefix")]
    errors = ["–" if row[key] is None else f"{row[key]:.0e}" for key in ("rows", "logits")]
    return [row["name"], *numbers, grid, row["reads"], *errors, row["result"]]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
