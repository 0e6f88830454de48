"""From an architecture in words (`kind`, `name`, `arguments`: plain JSON) to a module, and the names there are.

Used for a name the user gives and for a run folder, whose `model.json` may come from a stranger: names must be in
the lists below, arguments must be plain numbers among the known ones, and nothing is fetched or run.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from typing import Any

import timm
import timm.models.deit
import timm.models.vision_transformer
import torch
import torchvision
from timm.models._factory import create_model
from timm.models._registry import list_models
from torch import nn
from torch.overrides import TorchFunctionMode

from regard.errors import NetworkError, unknown

Architecture = dict[str, Any]

TIMM_ARGUMENTS = frozenset(
    (
        *("attn_drop_rate", "drop_path_rate", "drop_rate", "patch_drop_rate", "pos_drop_rate", "proj_drop_rate"),
        *(
            "depth",
            "depths",
            "embed_dim",
            "img_size",
            "in_chans",
            "mlp_ratio",
            "num_classes",
            "num_heads",
            "patch_size",
        ),
        *("class_token", "no_embed_class", "pos_embed", "reg_tokens", "dynamic_img_size", "dynamic_img_pad"),
        *("fc_norm", "final_norm", "pre_norm", "qk_norm", "scale_attn_norm", "scale_mlp_norm", "init_values"),
        *("global_pool", "pool_include_prefix", "proj_bias", "qkv_bias", "window_size"),
    )
)
"""What may be set of a timm architecture: sizes, switches and dropout rates, never a path, address or class."""

TORCHVISION_CLASS = "VisionTransformer"
"""The name of a torchvision ViT whose sizes are all given as arguments."""


FILLING = ("uniform_", "normal_", "erfinv_", "mul_", "add_", "div_", "clamp_", "fill_", "zero_")
"""What fills weights with their first values."""


class _Undrawn(TorchFunctionMode):
    """Inside, new weights are left as their memory is: drawing those of a ViT-B takes two seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        weight = args[0] if args else (kwargs or {}).get("tensor")  # torch.nn.init's come by name
        if getattr(func, "__name__", "") in FILLING and isinstance(weight, nn.Parameter):
            return weight
        return func(*args, **(kwargs or {}))


def build(architecture: Mapping[str, Any], seed: int = 0, drawn: bool = True) -> nn.Module:
    """The module of an architecture, initialised at random from `seed`; the process's own random state is kept.

    Where every weight is read next, none needs to be `drawn`. Raises `UsageError` for an unknown name and
    `NetworkError` for arguments that do not fit.
    """
    builder = BUILDERS.get(str(architecture.get("kind")))
    if builder is None:
        raise NetworkError(
            f"cannot build a network of kind {architecture.get('kind')!r}; there are: {', '.join(BUILDERS)}"
        )
    name = str(architecture.get("name"))
    arguments = dict(architecture.get("arguments") or {})
    with torch.random.fork_rng(devices=[]), nullcontext() if drawn else _Undrawn():
        torch.random.default_generator.manual_seed(seed)
        try:
            return builder(name, arguments).eval()
        except (
            TypeError,
            ValueError,
            AssertionError,
            RuntimeError,
            KeyError,
            AttributeError,
            ZeroDivisionError,
        ) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise NetworkError(
                f"{name} cannot be built with {arguments}: {reason[:200]}; change or omit them"
            ) from error


def fresh_head(inputs: int, outputs: int, like: torch.Tensor, seed: int) -> nn.Linear:
    """A new last layer as `nn.Linear` initialises it, from `seed`, on the device and of the type of `like`."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return nn.Linear(inputs, outputs).to(like.device, like.dtype)


def is_timm(name: str) -> bool:
    """Whether timm has this architecture (a tag after a dot is not looked at)."""
    architecture = name.partition(".")[0]
    return architecture in _plain_names() or architecture in _timm_names()


def is_torchvision(name: str) -> bool:
    """Whether torchvision has this vision transformer."""
    return name in torchvision_names()


def check_tag(name: str) -> None:
    """Raise `UsageError`, offering the nearest, when timm has the architecture but not this tag of it."""
    architecture, _, tag = name.partition(".")
    if tag and name not in (tags := timm.list_pretrained(f"{architecture}.*")):
        raise unknown("weights", name, tags or [architecture])


def offered() -> list[str]:
    """Every name that can be given without a prefix."""
    return sorted([*_timm_names(), *torchvision_names()])


@cache
def _plain_names() -> frozenset[str]:
    """timm's plain ViTs, which are known without its other architectures; see `networks.deferred`."""
    return frozenset(list_models(module=["vision_transformer", "deit"]))


@cache
def _timm_names() -> frozenset[str]:
    return frozenset(timm.list_models())


@cache
def torchvision_names() -> tuple[str, ...]:
    """torchvision's vision transformers."""
    return tuple(torchvision.models.list_models(include="vit_*"))


def timm_arguments_fit(arguments: Mapping[str, Any]) -> bool:
    """Whether all arguments are known and plain: a number, a switch, one of timm's words, or a pair of numbers."""
    if not arguments.keys() <= TIMM_ARGUMENTS:
        return False
    values = [value for value in arguments.values() if not isinstance(value, list | tuple)]
    items = [item for value in arguments.values() if isinstance(value, list | tuple) for item in value]
    plain = all(value is None or isinstance(value, int | float | str) for value in values)
    return plain and all(isinstance(item, int | float) for item in items)


def _build_timm(name: str, arguments: dict[str, Any]) -> nn.Module:
    if not is_timm(name):
        raise unknown("timm network", name, _timm_names())
    check_tag(name)
    if not timm_arguments_fit(arguments):
        raise ValueError(f"the arguments may be {', '.join(sorted(TIMM_ARGUMENTS))}, each a number or a pair of them")
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    module: nn.Module = create_model(name, pretrained=False, **arguments)
    return module


def _build_torchvision(name: str, arguments: dict[str, Any]) -> nn.Module:
    if name == TORCHVISION_CLASS:
        return torchvision.models.VisionTransformer(**arguments)
    if not is_torchvision(name):
        raise unknown("torchvision network", name, torchvision_names())
    allowed = {"image_size", "num_classes", "dropout", "attention_dropout"}
    if set(arguments) - allowed:
        raise ValueError(f"the arguments may be {', '.join(sorted(allowed))}")
    module: nn.Module = torchvision.models.get_model(name, weights=None, **arguments)
    return module


def _build_huggingface(name: str, arguments: dict[str, Any]) -> nn.Module:
    """From a whole configuration, as it stands in a run; code from elsewhere is never loaded."""
    from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

    stored = {key: value for key, value in arguments.items() if key not in ("model_type", "auto_map", "encoder")}
    config = AutoConfig.for_model(arguments["model_type"], **stored)
    kind = AutoModel if arguments.get("encoder") else AutoModelForImageClassification
    module: nn.Module = kind.from_config(config, trust_remote_code=False)
    return module


BUILDERS: dict[str, Callable[[str, dict[str, Any]], nn.Module]] = {
    "timm": _build_timm,
    "torchvision": _build_torchvision,
    "huggingface": _build_huggingface,
}
