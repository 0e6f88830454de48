"""ONNX graphs of twelve families at their real widths, awake: parity of all outputs, and what explaining costs.

    python bench/onnx_families.py [--families vit_tiny_patch16_224,...] [--rounds 9] [--threads 1] [--depth N]

For each network, with random weights that were woken (norms and layer scales about one, queries and keys scaled until
every layer's largest weight exceeds 0.3): the largest difference of logits, attention and maps (of the predicted class
and of the least likely) from the run's own, relative to the largest value, on three pictures; then the time of one
picture in onnxruntime, the graph against one of the same network with logits alone, each round timed one right after
the other: the median ratio with its 95 % interval. `--depth` cuts networks to so many blocks, for a quick try.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from woken import queries_keys, wake, written_out

from regard.exports.onnx.explained import Explained, Plan
from regard.exports.onnx.graph import exported, graph_of
from regard.exports.onnx.parity import parities
from regard.networks.load import load
from regard.networks.network import Network

FAMILIES = (
    "vit_tiny_patch16_224",
    "vit_base_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "deit3_small_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "vit_base_patch16_siglip_224",
    "beit_base_patch16_224",
    "cait_xxs24_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
    "vit_relpos_small_patch16_224",
    "vit_base_patch16_clip_224",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--depth", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        "| network | logits | attention | map | least likely | export, s | × logits alone | nodes |\n"
        + "|---" * 8
        + "|"
    )
    for name in options.families.split(","):
        print(row(name, options), flush=True)


def row(name: str, options: argparse.Namespace) -> str:
    network = woken(name, options.depth)
    preparation = network.preparation
    shape = (3, 3, preparation.height, preparation.width)
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    begin = time.perf_counter()
    model = graph_of(network)
    seconds = time.perf_counter() - begin
    found = {each.what: each.value for each in parities(network, model, pixels)}
    cells = [
        f"{found[key]:.1e}" if key in found else "-"
        for key in ("logits", "attention", "map", "map of the least likely")
    ]
    alone = exported(network, Explained(network, Plan()).eval(), pixels[:2], {0: torch.export.Dim("batch")}, 20)
    ratio = price(model, alone, pixels[:1].numpy(), options)
    return f"| {name} | {' | '.join(cells)} | {seconds:.0f} | {ratio} | {len(model.graph.node)} |"


def woken(name: str, depth: int | None) -> Network:
    """A network of a family at its real width, with 1000 classes, awake on noise."""
    torch.manual_seed(0)
    more: dict[str, Any] = {} if depth is None else {"depth": depth}
    module = timm.create_model(name, num_classes=1000, **more).eval()
    x = torch.randn(1, *module.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(0))
    wake(module, queries_keys(module), lambda: written_out(module, x)[1])
    return load(module)


def price(model: Any, alone: Any, pixels: np.ndarray, options: argparse.Namespace) -> str:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    sessions = [onnxruntime.InferenceSession(each.SerializeToString(), settings) for each in (model, alone)]

    def timed(session: Any) -> float:
        begin = time.perf_counter()
        session.run(None, {"pixels": pixels})
        return time.perf_counter() - begin

    for session in sessions:
        timed(session)
    ratios = []
    for turn in range(options.rounds):
        first, second = sessions if turn % 2 else sessions[::-1]
        times = {id(first): timed(first), id(second): timed(second)}
        ratios.append(times[id(sessions[0])] / times[id(sessions[1])])
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return f"{statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
