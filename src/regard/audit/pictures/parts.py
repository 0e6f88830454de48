"""The parts of an audit that are measured picture by picture: what each needs, what it costs, and what it adds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from regard.audit import adversary, ceiling, fooled
from regard.audit.pictures.chunk import Chunk, Plan
from regard.audit.pictures.planted import adverse, artifacts, best_possible
from regard.explanation import METHODS
from regard.measurement.faithfulness.curves import removal_curves
from regard.measurement.faithfulness.deletion import single_deletion
from regard.measurement.faithfulness.occluders import OTHER, TOKENS
from regard.measurement.faithfulness.reliability import reliability
from regard.measurement.localisation.lifts import lifts
from regard.measurement.reliance.compositing import background_alone, fillable, pasted
from regard.measurement.reliance.foreground import by_place, under_noise
from regard.measurement.reliance.reveal import reveal
from regard.measurement.reliance.robustness import robustness
from regard.measurement.reliance.swaps import SWAPS, swaps
from regard.measurement.sanity.classes import class_sensitivity, other_classes
from regard.measurement.sanity.randomisation import emprt
from regard.records.audits.verdicts import RANDOMISED


@dataclass(frozen=True)
class Part:
    """A part by its name: `measure` adds to a chunk what it measured; `needs` are of "masks", "labels", "classes",
    and "full"; `cost` is in forwards a picture."""

    name: str
    measure: Callable[[Chunk], None]
    cost: Callable[[Plan], float]
    needs: tuple[str, ...] = ()


def faithfulness(chunk: Chunk) -> None:
    """Removal curves of every method and control, by each occluder."""
    plan = chunk.plan
    names = [method.name for method in plan.methods]
    maps = chunk.stacked(names)
    for place, occluder in enumerate(plan.occluders):
        among = plan.few[chunk.indices] if place else np.ones(len(chunk), bool)
        if not among.any():
            continue
        part = torch.from_numpy(among)
        donors = chunk.others()[part] if occluder == OTHER else None
        curves = removal_curves(
            plan.network,
            chunk.batch.pixels[part],
            maps[:, among],
            chunk.targets[among],
            occluder=occluder,
            steps=plan.settings.steps,
            seed=plan.settings.seed,
            donors=donors,
        )
        condition = occluder if place else ""
        both = np.stack([curves.mif, curves.lif], axis=2)  # (methods, pictures, 2, points)
        for row, name in enumerate(names):
            whole = np.full((len(chunk), *both.shape[2:]), np.nan)
            whole[among] = both[row]
            whole[~chunk.valid(name)] = np.nan
            chunk.curves[name, occluder] = whole
            for measure in ("srg", "insertion", "deletion"):
                values = np.full(len(chunk), np.nan)
                values[among] = getattr(curves, measure)[row]
                chunk.add(measure, values, name, condition)


def single_deletions(chunk: Chunk) -> None:
    """Whether what a map says of coarse cells goes with what each of them does when it alone is gone."""
    plan = chunk.plan
    names = [method.name for method in plan.methods]
    measured = single_deletion(
        plan.network, chunk.batch.pixels, chunk.stacked(names), chunk.targets, occluder=plan.occluders[0]
    )
    for name, values in zip(names, measured, strict=True):
        chunk.add("single_deletion", values, name)


def occluders(chunk: Chunk) -> None:
    """How much of the answer is left when patches go that nobody chose, by each occluder, on the same few pictures."""
    plan = chunk.plan
    among = plan.few[chunk.indices]
    if not among.any():
        return
    part = torch.from_numpy(among)
    for occluder in plan.occluders:
        values = np.full(len(chunk), np.nan)
        values[among] = reliability(
            plan.network,
            chunk.batch.pixels[part],
            chunk.targets[among],
            occluder=occluder,
            steps=plan.settings.steps,
            seed=plan.settings.seed,
            donors=chunk.others()[part] if occluder == OTHER else None,
        )
        chunk.add("reliability", values, condition=occluder)


def sanity(chunk: Chunk) -> None:
    """Whether a map depends on what the network learnt, and on the class."""
    plan = chunk.plan
    others = replace(
        chunk.batch,
        targets=tuple(other_classes(chunk.batch.pixels, chunk.targets, plan.classes, seed=plan.settings.seed)),
    )
    for method in plan.methods:
        blank = f"{RANDOMISED} {method.name}"
        if blank in chunk.maps:
            maps, controls = chunk.stacked([method.name, blank])
            values = np.where(chunk.valid(blank), emprt(maps, controls), np.nan)
            chunk.add("emprt", values, method.name)
        if method.class_specific and not method.control and method.name in METHODS:
            maps, _ = method.maps(others)
            values = np.full(len(chunk), np.nan)
            for place, (first, second) in enumerate(zip(chunk.maps[method.name], maps, strict=True)):
                if first is not None and second is not None:
                    values[place] = class_sensitivity(first, second)
            chunk.add("class_sensitivity", values, method.name)


def localisation(chunk: Chunk) -> None:
    """How much of each map lies on the object, beside maps that looked at nothing."""
    masks = chunk.objects.cpu().numpy()
    for name, maps in chunk.maps.items():
        if name.startswith(RANDOMISED):
            continue
        shape = next((each.shape for each in maps if each is not None), None)
        if shape is None:
            continue
        values = np.stack([np.zeros(shape) if each is None else each for each in maps])
        measured = lifts(values[None], masks)
        for measure, of in measured.values.items():
            chunk.add(measure, of[0], name)
            if ("", measure, "area") not in chunk.numbers:
                for base, baseline in measured.baselines[measure].items():
                    chunk.numbers.setdefault((measure, f"a {base}", ""), baseline)


def background(chunk: Chunk) -> None:
    """What is answered of the object alone, the background alone, and the object on other backgrounds."""
    answers = swaps(
        chunk.plan.network,
        chunk.visible,
        chunk.objects,
        chunk.targets,
        {name: chunk.backgrounds(name) for name in SWAPS},
    )
    correct = answers.correct(chunk.labels)
    for row, variant in enumerate(answers.variants):
        chunk.add("probability", answers.probability[row], condition=variant)
        chunk.add("accuracy", correct[row], condition=variant)
        chunk.changed[variant] = answers.predicted[row]


def reveal_path(chunk: Chunk) -> None:
    """What the object adds to the answer on the way from a blur, and what the background does."""
    masks = chunk.objects
    some = fillable(masks)
    if not bool(some.any()):
        return
    others, present = chunk.backgrounds(SWAPS[0])
    hidden = background_alone(chunk.visible, masks)
    among = some.cpu().numpy()
    pairs = {
        "object": (chunk.visible, hidden, among),
        "background": (pasted(chunk.visible, masks, hidden), pasted(chunk.visible, masks, others), among & present),
    }
    for name, (shows, hides, rows) in pairs.items():
        if not rows.any():
            continue
        part = torch.from_numpy(rows).to(chunk.visible.device)
        measured = reveal(chunk.plan.network, shows[part], hides[part], chunk.targets[rows])
        for measure in ("evidence", "contradiction", "endpoint_null", "total", "endpoint"):
            values = np.full(len(chunk), np.nan)
            values[rows] = getattr(measured, measure)
            chunk.add(measure, values, condition=name)


def noise(chunk: Chunk) -> None:
    """What is answered with noise on the object, and with noise on the background."""
    answers = under_noise(
        chunk.plan.network, chunk.visible, chunk.objects, chunk.targets, seed=chunk.plan.settings.seed
    )
    for place, values in zip(("object", "background"), by_place(answers.correct(chunk.labels)), strict=True):
        chunk.add("noise_accuracy", values, condition=place)


def corruptions(chunk: Chunk) -> None:
    """What is answered to pictures that are blurred, noisy, compressed, and brighter."""
    answers = robustness(chunk.plan.network, chunk.visible, chunk.targets, seed=chunk.plan.settings.seed)
    correct = answers.correct(chunk.labels)
    for row, variant in enumerate(answers.variants):
        chunk.add("probability", answers.probability[row], condition=variant)
        chunk.add("robustness", correct[row], condition=variant)


def _removal_cost(plan: Plan) -> float:
    """Of tokens half are gone on average; pixels cost a whole forward each, on few pictures."""
    whole = len(plan.methods) * 2 * (plan.settings.steps - 1)
    share = float(plan.few.mean())
    first, *more = plan.occluders
    return whole * (0.5 if first == TOKENS else 1.0) + share * whole * len(more)


PARTS = (
    Part("faithfulness", faithfulness, _removal_cost),
    Part("single deletion", single_deletions, lambda plan: 16.0),
    Part("occluders", occluders, lambda plan: float(plan.few.mean()) * (20 + 40 * (len(plan.occluders) - 1))),
    Part("sanity", sanity, lambda plan: sum(each.cost for each in plan.methods if not each.control), ("classes",)),
    Part("localisation", localisation, lambda plan: 0.0, ("masks",)),
    Part("reliance on the background", background, lambda plan: 6.0, ("masks",)),
    Part("reveal path", reveal_path, lambda plan: 32.0, ("masks",)),
    Part("sensitivity to noise", noise, lambda plan: 6.0, ("masks", "labels")),
    Part("robustness", corruptions, lambda plan: 12.0),
    Part("artifacts", artifacts, lambda plan: fooled.COST),
    Part(  # built, and then its curves and those of each method made as coarse, under two occluders
        "the adversary",
        adverse,
        lambda plan: (
            float(plan.planted.mean())
            * (adversary.COST + 3 * (1 + sum(not each.control for each in plan.methods)) * (plan.settings.steps - 1))
        ),
        ("full",),
    ),
    Part("the ceiling", best_possible, lambda plan: ceiling.COST * float(plan.planted.mean()), ("full",)),
)
"""The parts, in their order."""
