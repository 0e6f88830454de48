"""A network and what is known of it: how pictures go in, what its outputs are called, where its parts are."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.data.images.preparation import STEPS, Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.anatomy.description import describe
from regard.networks.guard import borrowed
from regard.networks.precision import computing
from regard.networks.sources.checkpoint import tensors_hash
from regard.networks.tasks import SEVERAL_LABELS

if TYPE_CHECKING:
    from regard.networks.adapters import Adapter

REGRESSION = "regression"
"""What transformers calls heads whose outputs are quantities."""


@dataclass(repr=False)
class Network:
    """A classifier with its preparation and provenance.

        `architecture` (`kind`, `name`, `arguments`) is JSON and builds the module again; `classes` are the names of the
        outputs in their order, or None where they have none; `messages` is what loading had to say to the user.
    `precision`, float32 or bfloat16, is what a forward computes in (its weights stay as they are). `edits` are what was
    changed of the module beside its weights, as JSON: see `regard.networks.edits`. `folder` is that of the run that it
    was read from. `multilabel`: its outputs are no choice of one class, but each a label of its own. With an `adapter`,
    its run stores that in the place of all weights, which have it merged in.
    """

    module: nn.Module
    name: str
    architecture: dict[str, Any]
    preparation: Preparation
    classes: tuple[str, ...] | None = None
    messages: tuple[str, ...] = ()
    anatomy: Anatomy = field(default_factory=Anatomy)
    precision: str = "float32"
    edits: tuple[dict[str, Any], ...] = ()
    folder: Path | None = None
    multilabel: bool = False
    adapter: "Adapter | None" = None

    def __repr__(self) -> str:
        classes = "outputs without names" if self.classes is None else f"{len(self.classes)} classes"
        return f"{self.name}: {classes}, {self.precision} on {self.device}"

    @property
    def has_classes(self) -> bool:
        """Whether its outputs are classes; those of an encoder loaded without a head are features."""
        arguments = self.architecture.get("arguments") or {}
        return not arguments.get("encoder") and arguments.get("num_classes") != 0

    @property
    def device(self) -> torch.device:
        """Where the network computes; pictures are moved there."""
        return next((tensor.device for tensor in self.module.parameters()), torch.device("cpu"))

    @property
    def outputs(self) -> int:
        """How many outputs the network has: the head's, or, without a linear head, those of a blank picture."""
        head = None if self.anatomy.head is None else self.module.get_submodule(self.anatomy.head)
        if isinstance(head, nn.Linear):
            return head.out_features
        return int(self.logits(self.blank()).shape[1])

    @property
    def several_labels(self) -> bool:
        """Whether a picture may have several of its outputs at once: a head trained for that, by regard or as its
        `problem_type` says."""
        return self.multilabel or getattr(getattr(self.module, "config", None), "problem_type", None) == SEVERAL_LABELS

    def check_one_class(self, what: str) -> None:
        """Raise `NetworkError` for a network that gives several labels, which `what` is not made for."""
        if self.several_labels:
            raise NetworkError(
                f"{self.name} gives a picture any number of labels, and {what} is for networks that choose one class; "
                "evaluate, compare, predict and explain take it"
            )

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (batch, classes) → probabilities: of one class among all, or, as transformers' pipeline has it, each
        of its own where the head was trained for several labels at once or has one output alone.

        Raises `NetworkError` for a head that gives quantities.
        """
        problem = getattr(getattr(self.module, "config", None), "problem_type", None)
        if problem == REGRESSION:
            raise NetworkError(
                f"the outputs of {self.name} are quantities (its problem_type is regression), not classes: there are "
                "no probabilities; explain it, or train a head of classes on it"
            )
        if self.several_labels or logits.shape[1] == 1:
            return torch.sigmoid(logits)
        return torch.softmax(logits, dim=1)

    def choose_one_class(self) -> None:
        """From now on the head chooses one class among all, whatever it was trained for before."""
        if getattr(getattr(self.module, "config", None), "problem_type", None) is not None:
            self.module.config.problem_type = None  # type: ignore[union-attr]
        arguments = {key: value for key, value in self.architecture["arguments"].items() if key != "problem_type"}
        self.architecture = {**self.architecture, "arguments": arguments}
        self.multilabel = False

    def choose_labels(self) -> None:
        """From now on each output is a label of its own, and a picture may have several, or none."""
        self.choose_one_class()  # what the head was trained for stands in one place
        self.multilabel = True

    def logits(self, x: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) → logits (B, classes), in evaluation mode and without gradients.

        The network is handed back in the mode it was in. For gradients call `module` yourself.
        Raises `UsageError` for pictures of a shape that the network cannot take.
        """
        with self.borrow(), torch.no_grad():
            return self.forward(x)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pictures (B, 3, H, W) → what the head gets (B, d) and the logits (B, classes), in one forward.

        Raises `NetworkError` for a network that does not end in one linear layer.
        """
        with self.borrow() as hooks, torch.no_grad():
            head = _watch(self._candidates(), hooks)
            logits = self.forward(x)
        return head(logits)[1], logits

    def borrow(self, frozen: bool = False) -> AbstractContextManager[list[Any]]:
        """The module in evaluation mode, to be hooked; handed back as it was found: see `borrowed`."""
        return borrowed(self.module, frozen=frozen, switches=self.anatomy.switches)

    def forward(self, x: Tensor) -> Tensor:
        """One forward of the module as it stands: the logits (B, classes), whatever it wraps them in."""
        self.check(x)
        weight = next(self.module.parameters(), None)
        dtype = x.dtype if weight is None else weight.dtype
        x = x.to(self.device, dtype)
        inputs = self.anatomy.inputs
        with computing(self.module, self.device, self.precision):
            try:
                output = self.module(x) if inputs is None else self.module(**inputs(self.module, x))
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
                raise NetworkError(
                    f"{self.name} ({type(self.module).__name__}) cannot compute pictures {tuple(x.shape)} (batch, "
                    f"channels, height, width): {reason}; give `preparation`, or --size, where it takes others"
                ) from error
        return logits_of(output, self.anatomy.prefix if self.anatomy.reads == "patches" else None)

    def positions(self) -> Tensor:
        """(rows, columns, d): the learned or fixed embedding of each patch position, CLS left out, on the CPU.

        Raises `NetworkError` for a network that has no table of absolute positions.
        """
        anatomy = self.anatomy
        if anatomy.positions is not None and anatomy.size is not None:
            table = self.module.get_parameter(anatomy.positions).detach()
            patches = table.reshape(-1, table.shape[-1])[anatomy.positions_prefix :]
            rows, columns = anatomy.grid(*anatomy.size)
            if rows * columns == len(patches):
                return torch.unflatten(patches, 0, (rows, columns)).cpu().clone()
        raise NetworkError(
            f"{self.name} has no table of positional embeddings that regard knows; "
            "there is one in ViTs of timm, torchvision and Hugging Face with absolute positions"
        )

    def replace_head(self, weight: Tensor, bias: Tensor | None = None, classes: Sequence[str] | None = None) -> None:
        """Put a linear head of `weight` (classes, d) and `bias` (classes,) into the network, in place.

        The result is saved and loaded as any other network. Raises `NetworkError` when `weight` does not fit.
        """
        path = self.head_path()
        width = getattr(self.module.get_submodule(path), "in_features", weight.shape[1])
        if weight.ndim != 2 or weight.shape[1] != width or (classes is not None and len(classes) != len(weight)):
            shape = f"{tuple(weight.shape)} for {'unnamed' if classes is None else len(classes)} classes"
            raise NetworkError(f"a head of {shape} does not fit {self.name}; its weight must be (classes, {width})")
        outputs, inputs = weight.shape
        head = nn.Linear(inputs, outputs, device=self.device, dtype=next(self.module.parameters()).dtype)
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(torch.zeros(outputs) if bias is None else bias)
        set_head(self.module, path, head)
        self.classes = None if classes is None else tuple(classes)
        self.architecture = with_outputs(self.architecture, outputs)
        self.anatomy = replace(self.anatomy, head=describe(self.module).head)

    def head_path(self) -> str:
        """Where the head is, found by one blank picture where the family does not tell. Raises `NetworkError`."""
        if self.anatomy.head is not None:
            return self.anatomy.head
        with self.borrow() as hooks, torch.no_grad():
            head = _watch(self._candidates(), hooks)
            return head(self.forward(self.blank()))[0]

    def head_paths(self) -> tuple[str, ...]:
        """The paths of what is behind the blocks: here the one head."""
        return (self.head_path(),)

    def weights_hash(self, head: bool = True) -> str:
        """SHA-256 over names, shapes, types and values of all weights: equal for equal weights, wherever they lie.

        Without its `head`, networks that give the same features are equal.
        """
        edits = json.dumps(self.edits, sort_keys=True).encode() if self.edits else b""
        skipped = f"{self.anatomy.head}." if self.anatomy.head and not head else None
        weights = self.module.state_dict()
        weights = {name: weights[name] for name in weights if not (skipped and name.startswith(skipped))}
        return tensors_hash(weights, edits)

    def base_hash(self) -> str:
        """`weights_hash` of all but the head, found wherever it is: what an adapter is bound to."""
        edits = json.dumps(self.edits, sort_keys=True).encode() if self.edits else b""
        head = f"{self.head_path()}."
        return tensors_hash(
            {n: value for n, value in self.module.state_dict().items() if not n.startswith(head)}, edits
        )

    def origin(self) -> dict[str, Any]:
        """What a result says of the network that it came from, as JSON."""
        return {
            "network": self.name,
            "architecture": self.architecture["name"],
            "weights_sha256": self.weights_hash(),
            "preparation": self.preparation.as_json(),
            "resizing": STEPS,
            "precision": self.precision,
            **({"multilabel": True} if self.several_labels else {}),
        }

    def _candidates(self) -> dict[str, nn.Module]:
        """The declared head, or every linear layer, of which the one that gives the logits is the head."""
        if self.anatomy.head is not None:
            return {self.anatomy.head: self.module.get_submodule(self.anatomy.head)}
        return {path: part for path, part in self.module.named_modules() if isinstance(part, nn.Linear)}

    def blank(self) -> Tensor:
        """A picture (1, channels, height, width) of zeros, as the preparation makes them."""
        return torch.zeros(1, self.preparation.channels, self.preparation.height, self.preparation.width)

    def check(self, x: Tensor) -> None:
        """Raise `UsageError` for pictures of a shape that the network cannot take."""
        channels = self.preparation.channels
        if x.ndim != 4 or x.shape[1] != channels:
            raise UsageError(f"{self.name} takes pictures (batch, {channels}, height, width); came {tuple(x.shape)}")
        size = self.anatomy.size
        if size is not None and not self.anatomy.flexible and tuple(x.shape[2:]) != size:
            raise UsageError(
                f"{self.name} takes pictures of {size[0]} × {size[1]} pixels (height × width); came {x.shape[2]} × "
                f"{x.shape[3]}; prepare them with its preparation, or load it with size=({x.shape[2]}, {x.shape[3]})"
            )
        down, across = self.anatomy.patch or (1, 1)
        strict = self.anatomy.flexible and self.anatomy.edge == "refused"
        whole = not strict or not (x.shape[2] % down or x.shape[3] % across)
        if not whole or 0 in self.anatomy.grid(x.shape[2], x.shape[3]):
            raise UsageError(
                f"{self.name} cuts patches of {down} × {across} pixels (height × width), of which pictures of "
                f"{x.shape[2]} × {x.shape[3]} do not hold a whole number; give sides that are multiples"
            )


def _watch(parts: dict[str, nn.Module], hooks: list[Any]) -> Callable[[Tensor], tuple[str, Tensor]]:
    """Record what goes into each part and out of it; the function returned finds the one that gave the logits."""
    calls: dict[str, tuple[Tensor, Tensor]] = {}

    def record(path: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 2:
                calls[path] = (inputs[0], output)

        return hook

    hooks.extend(part.register_forward_hook(record(path)) for path, part in parts.items())

    def head(logits: Tensor) -> tuple[str, Tensor]:
        for path, (features, output) in calls.items():
            if output is logits:
                return path, features
        raise NetworkError("this network does not end in one linear layer, so it has no features that a head sees")

    return head


def logits_of(output: Any, averaged_from: int | None = None) -> Tensor:
    """The logits (B, classes) in what a module returned: a tensor, an object or dict with `logits`, or a tuple.

    Of an encoder without a head it is what a head would read: transformers' pooled output, else the first token, or
    the average of the tokens from `averaged_from` on, where it is given.
    """
    if hasattr(output, "logits"):
        output = output.logits
    elif hasattr(output, "image_embeds"):
        output = output.image_embeds
    elif hasattr(output, "last_hidden_state"):
        pooled = getattr(output, "pooler_output", None)
        tokens = output.last_hidden_state
        unpooled = tokens[:, 0] if averaged_from is None else tokens[:, averaged_from:].mean(dim=1)
        output = unpooled if pooled is None else pooled
    elif isinstance(output, dict):
        output = output.get("logits")
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise NetworkError(f"the network gave {shape} where a classifier gives logits (batch, classes)")
    return output


def set_head(module: Any, path: str, head: nn.Linear) -> None:
    """Put `head` where the old one is, and update the counts that timm and transformers hold beside it."""
    parent, _, name = path.rpartition(".")
    old = module.get_submodule(path)
    head.train(old.training)
    setattr(module.get_submodule(parent), name, head)
    if hasattr(module, "num_classes"):
        module.num_classes = head.out_features
    if hasattr(module, "config") and hasattr(module, "num_labels"):
        module.num_labels = module.config.num_labels = head.out_features
        module.config.problem_type = None  # of the old head


def with_outputs(architecture: dict[str, Any], outputs: int) -> dict[str, Any]:
    """The architecture with another number of outputs, in the words of its kind."""
    arguments = dict(architecture["arguments"])
    if architecture["kind"] == "huggingface":
        arguments.pop("label2id", None)
        arguments.pop("problem_type", None)
        arguments["id2label"] = {str(index): f"LABEL_{index}" for index in range(outputs)}
    elif architecture["kind"] != "module":
        arguments["num_classes"] = outputs
    return {**architecture, "arguments": arguments}
