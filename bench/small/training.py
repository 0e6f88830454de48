"""A decoder learns to caption: its tower's patches are computed once, all wordings of a picture are one sequence.

A packed sequence is what stands before a caption (a start, or a prompt with the picture's places), then for each
wording the last of these tokens again and the wording's own; a wording sees what stands before and itself, not the
others.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.load import load_caption_network
from regard.scenes import Scene, judge
from small.drawn import Drawn, mirrored
from small.families import FAMILIES, Family

IGNORED = -100
WORDINGS = 5


@dataclass(frozen=True)
class Plan:
    """How many scenes, how long and how fast: after `early` steps a checkpoint is kept for its errors."""

    scenes: int
    steps: int
    rate: float
    early: int
    batch: int = 16
    seed: int = 0


PLANS = {
    "vit-gpt2": Plan(5200, 950, 1.2e-3, 70),
    "blip": Plan(5200, 950, 1.2e-3, 70),
    "git": Plan(5200, 450, 1.5e-3, 100),
    "llava": Plan(3200, 400, 1.5e-3, 100),
    "smolvlm": Plan(3200, 500, 1.5e-3, 100),
}
"""Where the picture is among the tokens a step takes two or three times as long, so there are fewer of them."""


def train(name: str, drawn: Drawn, patches: NDArray[np.uint16], folder: Path, plan: Plan) -> None:
    """Learn on all but the last 200 pictures, a fifth of them at most; writes `folder` and, of early values,
    `folder-early`. `folder` holds the captioner as it begins, with its tower.
    """
    torch.manual_seed(plan.seed)
    family = FAMILIES[name]
    captioner = load_caption_network(folder)
    module: Any = captioner.module
    _lean(module)
    packed = Packed.of(captioner, drawn, family)
    learning = _freeze(family, module)
    print(f"{name}: {_millions(module.parameters())} million weights, {_millions(learning)} learn", flush=True)
    count = len(drawn) - min(200, len(drawn) // 5)
    optimiser = torch.optim.AdamW(learning, plan.rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps, pct_start=0.06)
    random = np.random.default_rng(plan.seed)
    rounds = math.ceil(plan.steps * plan.batch / (2 * count))
    order = np.concatenate([random.permutation(2 * count) for _ in range(rounds)])
    start = time.time()
    losses: list[float] = []
    for step in range(plan.steps):
        chosen = order[step * plan.batch : (step + 1) * plan.batch]
        loss = packed.loss(family, module, patches, chosen % count, chosen // count)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step + 1 == plan.early:
            _keep(captioner, folder, folder.with_name(f"{folder.name}-early"))
        if step % 50 == 49:
            late = np.mean(losses[-50:])
            print(f"{name} step {step + 1}/{plan.steps}, loss {late:.3f}, {time.time() - start:.0f} s", flush=True)
    last = np.arange(count, len(drawn))
    with torch.no_grad():
        aside = [float(packed.loss(family, module, patches, some, 0 * some)) for some in np.array_split(last, 4)]
    print(f"{name}: loss of the pictures set aside {np.mean(aside):.4f}, {time.time() - start:.0f} s", flush=True)
    _keep(captioner, folder, folder)


def _freeze(family: Family, module: Any) -> list[nn.Parameter]:
    """The tower keeps its values; gives what learns. Nothing is dropped out, so the mode of training is not needed."""
    frozen = {id(each) for each in family.tower(module).parameters()}
    learning = []
    for each in module.parameters():
        each.requires_grad_(id(each) not in frozen)
        learning += [each] if each.requires_grad else []
    return learning


def _millions(parameters: Iterable[nn.Parameter]) -> str:
    return f"{sum(map(torch.numel, parameters)) / 1e6:.2f}"


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """Attention written out in bfloat16, which is faster on two cores than the fused one's gradients; as transformers
    calls it: (n, heads, places, size) each, the mask added to the scores → (n, places, heads, size)."""
    scale = more.get("scaling") or query.shape[-1] ** -0.5
    with torch.autocast("cpu", enabled=False):
        query, key, value = ((query * scale).bfloat16(), key.bfloat16(), value.bfloat16())
        scores = query @ key.transpose(-1, -2)
        scores = scores if mask is None else scores + mask
        return (scores.softmax(-1) @ value).transpose(1, 2), None


def _lean(module: Any) -> None:
    """`attend` in all decoders that let their attention be chosen; BLIP and GIT keep their own."""
    transformers.AttentionInterface.register("lean", attend)
    transformers.AttentionMaskInterface.register("lean", transformers.masking_utils.eager_mask)
    for part in module.modules():
        if isinstance(part, transformers.LlamaModel | transformers.GPT2LMHeadModel):
            part.set_attn_implementation("lean")


def _keep(captioner: CaptionNetwork, source: Path, target: Path) -> None:
    """The captioner's present values as a folder; vocabulary and preparation are those of `source`."""
    module: Any = captioner.module
    module.save_pretrained(target)
    for file in source.iterdir():
        if not (target / file.name).exists():
            (target / file.name).write_bytes(file.read_bytes())


@dataclass(frozen=True)
class Packed:
    """The wordings of every picture as tokens (2, n, wordings, length) with their targets, as they are and mirrored;
    `start` is what stands before each."""

    start: tuple[int, ...]
    tokens: Tensor
    targets: Tensor

    @classmethod
    def of(cls, captioner: CaptionNetwork, drawn: Drawn, family: Family) -> "Packed":
        start = captioner.prepare(Image.fromarray(drawn.pictures[0])).start
        sides = [[[captioner.tokenize(side(t)) for t in texts] for texts in drawn.texts] for side in (str, mirrored)]
        longest = max(len(each) for side in sides for texts in side for each in texts)
        tokens = torch.zeros(2, len(drawn), WORDINGS, longest, dtype=torch.long)
        targets = torch.full_like(tokens, IGNORED)
        tokens[..., 0] = start[-1]
        for one, side in enumerate(sides):
            for two, texts in enumerate(side):
                for three, each in enumerate(texts[:WORDINGS]):
                    tokens[one, two, three, 1 : len(each)] = torch.tensor(each[:-1])
                    targets[one, two, three, : len(each)] = torch.tensor(each)
        return cls(tuple(start[:-1]), tokens, targets)

    def loss(
        self,
        family: Family,
        module: Any,
        patches: NDArray[np.uint16],
        pictures: NDArray[np.int64],
        sides: NDArray[np.int64],
    ) -> Tensor:
        """Mean cross-entropy of the wordings' tokens of some pictures, each as it is (0) or mirrored (1)."""
        targets = self.targets[sides, pictures]
        length = int((targets != IGNORED).sum(-1).max())  # (n, wordings, length)
        targets = targets[..., :length]
        own = self.tokens[sides, pictures][..., :length].flatten(1)
        before = torch.tensor(self.start, dtype=torch.long).expand(len(own), -1)
        tokens = torch.cat([before, own], 1)
        positions = torch.cat([torch.arange(len(self.start)), len(self.start) + torch.arange(length).repeat(WORDINGS)])
        mask = _mask(family.patches, len(self.start), length)
        added = torch.zeros(mask.shape, dtype=torch.bfloat16).masked_fill(~mask, -1e4)
        seen = torch.from_numpy(np.ascontiguousarray(patches[sides, pictures])).view(torch.bfloat16)
        where = positions[None].expand(len(own), -1)
        with torch.autocast("cpu", torch.bfloat16):
            logits = family.logits(module, seen, tokens, added[None, None], where)
        logits = logits[:, len(self.start) :]
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def _mask(patches: int, before: int, length: int) -> Tensor:
    """(places, places) bool, true where a query (row) sees a key: patches see each other, all see what stands before
    and, of the wordings, their own."""
    first = patches + before
    size = first + WORDINGS * length
    mask = torch.ones(size, size, dtype=torch.bool).tril()
    wording = torch.cat([torch.full((first,), -1), torch.arange(WORDINGS).repeat_interleave(length)])
    mask &= (wording[:, None] == wording) | (wording == -1)
    mask[:patches, :patches] = True
    return mask


def precision(folder: Path, pictures: NDArray[np.uint8], scenes: Sequence[Scene]) -> str:
    """The share of the content words that a captioner says of scenes which are true, by part of speech."""
    captioner = load_caption_network(folder)
    right: dict[str, list[bool]] = {}
    examples = []
    for picture, scene in zip(pictures, scenes, strict=True):
        (decoding,) = captioner.generate([captioner.prepare(Image.fromarray(picture))])
        text = captioner.text(decoding.tokens)
        examples.append(text)
        for word in judge(text, scene):
            if word.true is not None:
                right.setdefault(word.part, []).append(word.true)
    parts = ", ".join(f"{part} {np.mean(each):.3f} of {len(each)}" for part, each in sorted(right.items()))
    whole = [each for part in right.values() for each in part]
    return f"{folder.name}: {np.mean(whole):.3f} of {len(whole)} content words true; {parts}\n  " + "\n  ".join(
        examples[:3]
    )
