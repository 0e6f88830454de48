"""`regard positions`: how a network tells its patches apart, as figures, arrays and numbers beside their controls."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regard.app.console import progress
from regard.data.dataset import skipper
from regard.data.layouts import read_pictures
from regard.errors import NetworkError, RegardError, UsageError, unknown
from regard.explanation.positions.analysis import Subject, measure, subject, subject_of_logits, subject_of_tokens
from regard.explanation.positions.controls import Control, pretraining_grid, resized_embeddings, resized_table
from regard.explanation.positions.readout import block_means
from regard.files import check_free, new_folder, write_file, write_json
from regard.networks.anatomy.encoding_families import encodings
from regard.networks.anatomy.encodings import Encoding
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.networks.provenance import provenance
from regard.networks.run import is_run
from regard.records import Positions, write_manifest
from regard.rendering.colour import table
from regard.rendering.figures.canvas import png
from regard.rendering.figures.position_grids import draw

log = logging.getLogger("regard")

SCALES = ("shared", "each")


@dataclass(frozen=True)
class Result:
    """All that was found, what the network was told of places first, and the folder it was written to."""

    found: tuple[Positions, ...]
    out: Path

    @property
    def positions(self) -> Positions:
        return self.found[0]


@dataclass(frozen=True)
class _Asked:
    """What the user wants to know, beyond the network; `before` is the one to compare with."""

    before: Network | None
    from_grid: str | None
    interpolation: str
    permutations: int | None
    seed: int


def positions(
    out: str | Path,
    model: str | Path = "pets-tiny",
    weights: str | Path | None = None,
    pictures: str | Path | Sequence[str | Path] | None = None,
    layer: int | None = None,
    before: str | Path | None = None,
    from_grid: str | None = None,
    interpolation: str = "bicubic",
    permutations: int | None = None,
    scale: str = "shared",
    colours: str | None = None,
    size: int | None = None,
    device: str | None = None,
    batch_size: int = 8,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Result:
    """How a network tells its patches apart, CLS left out: embeddings, rotation, relative bias, and what comes of it.

    Writes `positions.png` (a grid of grids, or a kernel over offsets), `similarity.npy` (rows, columns, rows, columns)
    or `kernel.npy` (layers, heads, 2·rows - 1, 2·columns - 1) and `numbers.json`; where there is more than one way, the
    others' files have their kind in their names. `pictures` adds the mean token at each place and, for rotation and
    bias, the mean attention logit by offset, at block `layer`, by default the last. Controls: random positions grown
    from the grid `from_grid` ("ROWS,COLUMNS", or "none"; by default that of 224 pixels for networks of larger
    pictures) by `interpolation`, and the network `before`, by default the one that a run records, where it can be
    loaded. `permutations` is by default 999, or 99 for more than 1600 patches. `scale` is one colour scale "shared" by
    all tiles, or "each" its own. Raises `NetworkError` for a network that was told nothing of places and no `pictures`.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    if permutations is not None and permutations < 1:
        raise UsageError(f"--permutations is {permutations}; give 1 or more")
    if colours is not None:
        table(colours)  # an unknown colour map is told before the work
    check_free(out, overwrite)
    network = load(model, weights=weights, size=size, device=device if pictures else "cpu", seed=seed)
    asked = _Asked(_before(model, before), from_grid, interpolation, permutations, seed)
    found = _told(network, asked, bool(pictures))
    if pictures:
        found += _seen(network, pictures, asked, layer, [each.kind for each in found], batch_size, workers, skip_bad)
    _write(found, Path(out), scale, colours, overwrite)
    return Result(tuple(found), Path(out))


def _told(network: Network, asked: _Asked, has_pictures: bool) -> list[Positions]:
    """What the network was told of places, measured; nothing where that is nothing and pictures say more.

    One way that cannot be measured (embeddings that are zero, as they are before training) is named and left out where
    there is another.
    """
    told, found, problems = encodings(network.module, _size(network)), list[Positions](), list[NetworkError]()
    for encoding in told:
        try:
            found.append(_measured(network, encoding, told, asked))
        except NetworkError as error:
            problems.append(error)
    if problems and not found and not has_pictures:
        raise problems[0]
    for problem in problems:
        log.info(str(problem))
    return found


def _measured(network: Network, encoding: Encoding, told: Sequence[Encoding], asked: _Asked) -> Positions:
    return measure(
        subject(encoding, provenance(network)),
        permutations=asked.permutations,
        seed=asked.seed,
        control=_control(network, encoding, asked),
        before=None if asked.before is None else _earlier(asked.before, encoding, told, _size(network)),
    )


def _seen(
    network: Network,
    pictures: str | Path | Sequence[str | Path],
    asked: _Asked,
    layer: int | None,
    kinds: Sequence[str],
    batch_size: int,
    workers: int,
    skip_bad: bool,
) -> list[Positions]:
    """What the pictures show: the mean tokens and, where attention itself knows of places, its logits."""
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    attends = "rotary" in kinds or "relative" in kinds
    with progress("looking at pictures", len(dataset)) as advance:

        def batches() -> Iterator[Any]:
            for batch, pixels in prepared(
                network, dataset.pictures, batch_size=batch_size, workers=workers, on_bad=skipper(skip_bad)
            ):
                yield pixels
                advance(len(batch.indices))

        means = block_means(network, batches(), layer, logits=attends)
    known = provenance(network, pictures=means.n)
    subjects = [subject_of_tokens(means, known), *([subject_of_logits(means, known)] if attends else [])]
    return [measure(each, permutations=asked.permutations, seed=asked.seed) for each in subjects]


def _size(network: Network) -> tuple[int, int]:
    return network.preparation.height, network.preparation.width


def _control(network: Network, encoding: Encoding, asked: _Asked) -> Control | None:
    """Random positions for embeddings and tables; a rotation is made, not learned, and has none."""
    if encoding.kind not in ("embeddings", "relative"):
        return None
    patch = network.anatomy.patch or (16, 16)
    if asked.from_grid is None:
        source = pretraining_grid(encoding.rows, encoding.columns, patch)
    else:
        source = parse_grid(asked.from_grid)
    return Control(encoding, source, asked.interpolation, asked.seed)


def parse_grid(text: str) -> tuple[int, int] | None:
    """ "none" → None, "14,14" → (14, 14): rows and columns of patches."""
    if text.strip().lower() == "none":
        return None
    try:
        rows, columns = (int(part) for part in text.split(","))
        if min(rows, columns) < 1:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--from-grid is {text!r}; it must be none or ROWS,COLUMNS of patches, such as 14,14"
        ) from None
    return rows, columns


def _before(model: str | Path, before: str | Path | None) -> Network | None:
    """The network given, or the one that a run records to have begun with, where that can be had."""
    if before is not None:
        return load(before, device="cpu")
    start = _recorded(model)
    if start is None:
        return None
    try:
        network = load(**start, device="cpu")
    except RegardError as error:
        log.info(f"the network that this run began with cannot be compared: {error}")
        return None
    log.info(f"compared with the network that this run began with: {network.name}")
    return network


def _recorded(model: str | Path) -> dict[str, Any] | None:
    """The arguments of `load` in a run's recipe; None where there are none, or their weights are not there any more."""
    path = Path(str(model)) / "recipe.json"
    if not is_run(str(model)) or not path.is_file():
        return None
    try:
        arguments = dict(json.loads(path.read_text(encoding="utf-8"))["arguments"])
    except (ValueError, KeyError, TypeError):
        return None
    weights = arguments.get("weights")
    if not arguments.get("model") or (weights is not None and not Path(weights).is_file()):
        return None
    return {
        "model": arguments["model"],
        "weights": weights,
        "size": arguments.get("size"),
        "seed": arguments.get("seed") or 0,
    }


def _earlier(before: Network, encoding: Encoding, told: Sequence[Encoding], size: tuple[int, int]) -> Subject | None:
    """The same kind of encoding in the network before, brought to this grid; None, and said so, where it has none."""
    same = [each for each in encodings(before.module, size) if each.kind == encoding.kind]
    place = [each for each in told if each.kind == encoding.kind].index(encoding)
    try:
        if place >= len(same):
            raise NetworkError(f"it has no {encoding.kind} positions")
        return subject(_resized(same[place], (encoding.rows, encoding.columns)))
    except RegardError as error:
        log.info(f"{before.name}, the network before, cannot be compared: {error}")
        return None


def _resized(encoding: Encoding, grid: tuple[int, int]) -> Encoding:
    """Embeddings and tables interpolated to another grid, as timm does it."""
    if (encoding.rows, encoding.columns) == grid:
        return encoding
    if encoding.kind == "embeddings":
        return replace(encoding, rows=grid[0], columns=grid[1], values=resized_embeddings(encoding.values, grid))
    if encoding.kind == "relative":
        layers = np.stack([resized_table(layer, grid) for layer in encoding.values])
        return replace(encoding, rows=grid[0], columns=grid[1], values=layers)
    raise NetworkError(
        f"its rotation is for {encoding.rows} × {encoding.columns} patches, this network's for {grid[0]} × {grid[1]}"
    )


def _write(found: Sequence[Positions], out: Path, scale: str, colours: str | None, overwrite: bool) -> None:
    numbers = [numbers_of(each) for each in found]
    with new_folder(out, overwrite) as folder:
        for place, (each, ending) in enumerate(zip(found, _endings(found), strict=True)):
            array = each.similarity if each.kernel is None else each.kernel
            np.save(folder / f"{'similarity' if each.kernel is None else 'kernel'}{ending}.npy", array)
            numbers[place]["figure"] = f"positions{ending}.png"
            write_file(folder / f"positions{ending}.png", png(draw(each, scale=scale, colours=colours)))  # type: ignore[arg-type]
        write_json(folder / "numbers.json", {"found": numbers})
        write_manifest(folder, "positions", scale=scale, found=numbers, provenance=dict(found[0].provenance))


def _endings(found: Sequence[Positions]) -> list[str]:
    """What sets the files of each apart: nothing for the first, their kind for others, and their grid where need be."""
    kinds = [each.kind for each in found]
    repeated = [
        f"-{each.kind}" if kinds.count(each.kind) == 1 else f"-{each.kind}-{each.rows}x{each.columns}" for each in found
    ]
    return ["", *repeated[1:]]


def numbers_of(found: Positions) -> dict[str, Any]:
    """Kind, source, grid, mean similarities and tested numbers, with null where a number is not defined or known."""
    return {
        "kind": found.kind,
        "source": found.source,
        "rows": found.rows,
        "columns": found.columns,
        "means": _known(found.numbers),
        "numbers": {name: _known(row) for name, row in found.tested.items()},
        "control": found.note or None,
    }


def _known(numbers: Any) -> dict[str, float | None]:
    return {name: float(value) if np.isfinite(value) else None for name, value in numbers.items()}


def as_json(result: Result) -> dict[str, Any]:
    first = result.positions
    return {
        "out": str(result.out),
        "rows": first.rows,
        "columns": first.columns,
        "found": [numbers_of(each) for each in result.found],
    }


def as_text(result: Result) -> str:
    return "\n".join([*(_table(each) for each in result.found), f"written to {result.out}"])


COLUMNS = ("value", "p", "control", "before")


def _table(found: Positions) -> str:
    """Number, value, p, control and before; a column that is empty is left out."""
    shown = [name for name in COLUMNS if any(np.isfinite(row[name]) for row in found.tested.values())]
    head = f"{found.rows} × {found.columns} positions, {found.kind}: {found.source}"
    lines = [head, f"{'number':>20}" + "".join(f"{name:>9}" for name in shown)]
    for name, row in found.tested.items():
        lines.append(f"{name.replace('_', ' '):>20}" + "".join(f"{_cell(row[column]):>9}" for column in shown))
    return "\n".join([*lines, *([f"{'control':>20}  {found.note}"] if found.note else []), ""])


def _cell(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"
