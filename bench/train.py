"""Pictures per second in training: our loop, a bare PyTorch loop, and transformers' Trainer, in one run on one machine.

    python bench/train.py DATA --weights FILE [--pictures 512] [--batch-size 32] [--workers 2] [--rounds 3]

DATA is a folder with `train/` (class folders). ViT-Tiny at 224, the same random changes (crop, flip, colours),
optimiser, batch size and precision in all rows but the last, which is the Trainer as it comes: float32, no workers,
batches of 8. The rows take turns, `--rounds` times, and the median round counts; the time of start-up is in none.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from regard.data.dataset import Dataset
from regard.data.hashes import picture_hashes
from regard.data.images.decode import open_picture
from regard.data.layouts import read
from regard.networks.load import load
from regard.networks.precision import best_precision
from regard.training.recipe import Recipe, read_recipe
from regard.training.tasks import finetune

MEAN = STD = (0.5, 0.5, 0.5)


class Pictures(TorchDataset):
    """The same pictures and changes by torchvision, as scripts of the field have them."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.labels = data.labels
        self.change = transforms.Compose(
            [
                transforms.RandomResizedCrop(224, (0.5, 1.0), interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.2, 0.2, 0.2),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, object]:
        image = open_picture(self.data.pictures[index].opener)
        return {"pixel_values": self.change(image), "labels": int(self.labels[index])}


def network(data: Dataset, weights: Path | None):
    name = "vit_tiny_patch16_224" if weights else "random:vit_tiny_patch16_224"
    return load(name, weights=weights, classes=data.classes)


def ours(data: Dataset, weights: Path | None, given: argparse.Namespace, precision: str) -> float:
    """The loop with its checkpoints and metrics; the seconds are those of timing.jsonl, checkpoints in."""
    changes = {"epochs": 1, "batch_size": given.batch_size, "precision": precision, "head": "new", "search": "never"}
    recipe: Recipe = read_recipe("finetune").changed({**changes, "average": "none"})
    with tempfile.TemporaryDirectory() as folder:
        out, few, hashes = Path(folder) / "run", data.select(range(1)), picture_hashes(data.pictures)
        finetune.run(network(data, weights), data, few, hashes, recipe, out, workers=given.workers)
        rows = [json.loads(line) for line in (out / "timing.jsonl").read_text().splitlines()]
    spent[0] += next(row["seconds"] for row in rows if row["phase"] == "checkpoints")
    return float(next(row["seconds"] for row in rows if row["phase"] == "train"))


spent = [0.0]


def bare(data: Dataset, weights: Path | None, given: argparse.Namespace, precision: str) -> float:
    """What one writes by hand: DataLoader, autocast, AdamW, nothing else."""
    module = network(data, weights).module.train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-4, weight_decay=0.05)
    loader = DataLoader(Pictures(data), given.batch_size, shuffle=True, num_workers=given.workers)
    start = time.perf_counter()
    for batch in loader:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = module(batch["pixel_values"]).float()
        torch.nn.functional.cross_entropy(logits, batch["labels"], label_smoothing=0.1).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return time.perf_counter() - start


class Wrapped(torch.nn.Module):
    """The network as the Trainer wants it: a loss and logits."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.module(pixel_values)
        return {"loss": torch.nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


def trainer(data: Dataset, weights: Path | None, given: argparse.Namespace, **arguments: object) -> float:
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = TrainingArguments(
            folder,
            num_train_epochs=1,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            **arguments,
        )
        train = Trainer(Wrapped(network(data, weights).module), settings, train_dataset=Pictures(data))
        return float(train.train().metrics["train_runtime"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    data = read(given.data).part("train")
    data = data.select(range(0, len(data), max(1, len(data) // given.pictures))).select(range(given.pictures))
    precision = best_precision(given.precision, torch.device("cpu"))
    same = {"bf16": precision == "bfloat16", "dataloader_num_workers": given.workers}
    same |= {"per_device_train_batch_size": given.batch_size, "save_strategy": "no"}
    kinds: dict[str, Callable[[], float]] = {
        "regard": lambda: ours(data, given.weights, given, precision),
        "bare PyTorch loop": lambda: bare(data, given.weights, given, precision),
        "Trainer, same precision, batch and workers": lambda: trainer(data, given.weights, given, **same),
        "Trainer, its defaults": lambda: trainer(data, given.weights, given),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(given.rounds):
        for name, measure in kinds.items():
            times[name].append(measure())
    print(f"{given.pictures} pictures, {precision}, {given.workers} workers, {torch.get_num_threads()} threads\n")
    print("| loop | pictures per second | regard is … times as fast |\n|---|---|---|")
    own = statistics.median(times["regard"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {given.pictures / middle:.1f} | {middle / own:.2f} |")
    print(f"\ncheckpointing: {spent[0] / sum(times['regard']):.2%} of the time of regard's loop")


if __name__ == "__main__":
    main()
