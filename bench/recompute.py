"""What gradient checkpointing saves and costs: one process for each way, its largest memory and its time for a step.

    .venv/bin/python bench/recompute.py [--model vit_small_patch16_224] [--batch-size 32] [--steps 3]

Prints the peak of resident memory above that of the network and its gradients, and seconds a step, without and with
`--recompute blocks`; the gradients are compared to the bit.
"""

import argparse
import hashlib
import resource
import subprocess
import sys
import time

import torch

from regard.networks.load import load
from regard.networks.network import logits_of
from regard.training.layers.recompute import recomputed
from regard.training.settings import Settings


def main() -> None:
    options = _options()
    if options.way is not None:
        _measure(options)
        return
    rows = {}
    for way in ("none", "blocks"):
        command = [sys.executable, __file__, "--way", way, "--model", options.model]
        command += ["--batch-size", str(options.batch_size), "--steps", str(options.steps)]
        rows[way] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        print(f"--recompute {way}: {float(rows[way][0]):.0f} MB beyond the network, {float(rows[way][1]):.2f} s a step")
    saved = 1 - float(rows["blocks"][0]) / float(rows["none"][0])
    slower = float(rows["blocks"][1]) / float(rows["none"][1]) - 1
    same = "the same bytes" if rows["none"][2] == rows["blocks"][2] else "OTHER BYTES"
    print(f"{saved:.0%} less memory, {slower:+.0%} time; gradients: {same}")


def _measure(options: argparse.Namespace) -> None:
    """Prints megabytes, seconds, and the digest of the gradients."""
    module = load(f"random:{options.model}", classes=10).module.train()
    network = load(module)
    settings = Settings(recompute=options.way)
    pictures = torch.randn(options.batch_size, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for value in module.parameters():
        value.grad = torch.zeros_like(value)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    with recomputed(network, settings):
        for _ in range(options.steps):
            module.zero_grad(set_to_none=False)
            start = time.perf_counter()
            logits_of(module.train()(pictures)).square().mean().backward()
            times.append(time.perf_counter() - start)
    digest = hashlib.sha256()
    for value in module.parameters():
        digest.update(value.grad.numpy().tobytes())  # type: ignore[union-attr]
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(largest / 1024, min(times), digest.hexdigest())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--way", choices=("none", "blocks"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
