"""Every family of networks: the trace is the attention as written out by other means, and nothing is left behind.

`samples` has a small network of each, awake; what is compared with never comes from regard's own code.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from open_clip.transformer import VisionTransformer
from samples import NAMES, OBLONG, SAMPLES, Sample, awake
from torch import Tensor, nn
from woken import error, is_awake, wake_timm, written_out

from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.families import FAMILIES
from regard.networks.attention.trace import trace
from regard.networks.load import Network, load

TOLERANCE = 1e-5
every_family = pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
BY_NAME = dict(zip(NAMES, SAMPLES, strict=True))


def network_of(sample: Sample) -> tuple[Network, Tensor, list[Tensor]]:
    """The sample's network as regard loads it, its right logits and its right attention."""
    module, logits, rows = awake(sample)
    return load(module), logits, rows


def layer_prefix(sample: Sample, rows: Tensor) -> int:
    """How many tokens of a layer are no patches."""
    return rows.shape[-1] - sample.grid[0] * sample.grid[1]


@every_family
def test_trace_equals_written_out_attention(sample: Sample) -> None:
    network, right_logits, right = network_of(sample)
    assert is_awake(right)
    logits, traced = trace(network, sample.pictures, layers="all", queries="all")
    assert error(logits, right_logits) <= TOLERANCE
    assert list(traced.attention) == list(range(len(right)))
    for layer, rows in enumerate(right):
        assert traced.attention[layer].shape == rows.shape
        assert traced.attention[layer].dtype == torch.float32
        assert error(traced.attention[layer], rows) <= TOLERANCE
        sums = traced.attention[layer].sum(-1)
        assert not sample.plain or torch.allclose(sums, torch.ones_like(sums), atol=1e-5)
        patches = traced.patches(layer)
        assert patches.shape[-2:] == sample.grid
        assert torch.equal(patches.flatten(-2), traced.attention[layer][..., layer_prefix(sample, rows) :])


@every_family
def test_what_is_known_of_it(sample: Sample) -> None:
    network, _, right = network_of(sample)
    anatomy = network.anatomy
    assert (anatomy.prefix, anatomy.reads, anatomy.readers) == (sample.prefix, sample.reads, sample.readers)
    assert anatomy.grid(*sample.size) == sample.grid
    assert len(anatomy.attentions) == len(right)
    assert all(isinstance(network.module.get_submodule(path), nn.Module) for path in anatomy.blocks)


def pooled(sample: Sample, rows: Tensor) -> Tensor:
    """(batch, heads, 1, tokens): the row of a layer that is nearest to what the head reads."""
    if rows.shape[-2] != rows.shape[-1] or (sample.reads == "cls" and layer_prefix(sample, rows)):
        return rows[:, :, :1]
    return rows[:, :, layer_prefix(sample, rows) :].mean(dim=2, keepdim=True)


@every_family
def test_pooled_rows_and_heads_are_those_of_the_full_attention(sample: Sample) -> None:
    network, _, right = network_of(sample)
    _, traced = trace(network, sample.pictures, layers="all", queries="pool", heads=[2, 0])
    assert traced.heads == (2, 0)
    for layer, rows in enumerate(right):
        assert traced.attention[layer].shape == (2, 2, 1, rows.shape[-1])
        assert error(traced.attention[layer], pooled(sample, rows)[:, [2, 0]]) <= TOLERANCE
    _, default = trace(network, sample.pictures, queries="pool")
    assert list(default.attention) == [len(right) - 1 - (sample.readers if sample.reads == "patches" else 0)]


@every_family
def test_rows_of_patches_are_those_of_the_full_attention(sample: Sample) -> None:
    network, _, right = network_of(sample)
    (rows, columns), last = sample.grid, len(right) - 1 - sample.readers
    queries = [(rows - 1, columns - 1), (0, 1), (rows - 1, 0)]
    places = [row * columns + column for row, column in queries]
    _, traced = trace(network, sample.pictures, queries=queries)
    assert list(traced.attention) == [last]
    assert traced.queries == tuple(sample.prefix + place for place in places)
    for layer in range(last + 1):
        _, traced = trace(network, sample.pictures, layers=layer, queries=queries)
        prefix = layer_prefix(sample, right[layer])
        assert error(traced.attention[layer], right[layer][:, :, [prefix + place for place in places]]) <= TOLERANCE
    for layer in range(last + 1, len(right)):
        with pytest.raises(UsageError, match="leave the query out there"):
            trace(network, sample.pictures, layers=layer, queries=queries)


@every_family
def test_rows_of_the_class_token_where_there_is_one(sample: Sample) -> None:
    network, _, right = network_of(sample)
    if not network.anatomy.cls:
        with pytest.raises(UsageError, match=rf"no class token.*\({sample.grid[0] - 1}, {sample.grid[1] - 1}\)"):
            trace(network, sample.pictures)
        return
    layers = [layer for layer, rows in enumerate(right) if layer_prefix(sample, rows)]  # CaiT's comes in at the end
    _, traced = trace(network, sample.pictures, layers=layers)
    for layer in layers:
        assert error(traced.attention[layer], right[layer][:, :, :1]) <= TOLERANCE
    for layer in set(range(len(right))) - set(layers):
        with pytest.raises(UsageError, match=f"layer {layer} of .* no class token"):
            trace(network, sample.pictures, layers=layer)


@every_family
def test_streams_are_what_enters_and_leaves_the_blocks(sample: Sample) -> None:
    network, _, right = network_of(sample)
    anatomy, recorded = network.anatomy, {}

    def note(path: str) -> Any:
        def hook(part: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            value = args[0] if args else kwargs["hidden_states"]
            result = output[0] if isinstance(output, tuple) else output
            recorded[path] = value.reshape(2, -1, value.shape[-1]), result.reshape(2, -1, result.shape[-1]).norm(dim=-1)

        return hook

    parts = [(path, network.module.get_submodule(path)) for path in anatomy.blocks]
    hooks = [part.register_forward_hook(note(path), with_kwargs=True) for path, part in parts]
    _, traced = trace(network, sample.pictures, layers="all", queries="pool", also=["norms", "inputs"])
    for hook in hooks:
        hook.remove()
    count = len(right) - (1 if sample.readers == 1 else 0)  # a pooling is in no block
    assert list(traced.norms) == list(traced.inputs) == list(range(count))
    for layer in range(count):
        block = next(path for path in anatomy.blocks if f"{anatomy.attentions[layer]}.".startswith(f"{path}."))
        assert torch.equal(traced.inputs[layer], recorded[block][0])
        assert error(traced.norms[layer], recorded[block][1]) <= TOLERANCE


UNBIASED = ["timm vit", "timm vit q/k norm", "timm dinov3", "torchvision vit", "open_clip vit", "huggingface DeiTModel"]


@pytest.mark.parametrize("name", UNBIASED)
def test_queries_and_keys_make_the_attention(name: str) -> None:
    sample = BY_NAME[name]
    network, _, right = network_of(sample)
    names = ("queries", "keys", "values")
    _, traced = trace(network, sample.pictures, layers="all", queries="all", also=names)
    assert set(traced.parts) == set(names)
    for layer, rows in enumerate(right):
        q, k, v = (traced.parts[part][layer] for part in names)
        assert q.shape == k.shape == v.shape == (2, 3, rows.shape[-1], 16)
        assert error((q @ k.transpose(-2, -1) / 4).softmax(-1), rows) <= TOLERANCE


def test_values_are_what_attention_adds_up() -> None:
    sample = BY_NAME["timm vit"]
    network, _, right = network_of(sample)
    recorded: list[Tensor] = []
    hook = network.module.blocks[1].attn.proj.register_forward_pre_hook(lambda part, args: recorded.append(args[0]))
    _, traced = trace(network, sample.pictures, layers=1, queries="all", also=["values"])
    hook.remove()
    assert error((right[1] @ traced.parts["values"][1]).transpose(1, 2).flatten(2), recorded[0]) <= TOLERANCE


def test_every_row_of_the_table_has_a_sample() -> None:
    """A row without one would be a promise nobody has looked at."""
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for sample in SAMPLES for kind in type(awake(sample)[0]).__mro__}
    assert [row.kind for row in FAMILIES if row.kind not in kinds] == []


# pictures of other sizes

_WORDS = ("dinov3", "sapiens", "sam", "naflex", "Dinov2", "DINO", "Siglip2")
FLEXIBLE = [name for name in NAMES if any(word in name for word in _WORDS)]


@pytest.mark.parametrize("name", FLEXIBLE)
def test_a_network_that_takes_any_size_has_the_grid_of_the_picture(name: str) -> None:
    sample = BY_NAME[name]
    network, _, _ = network_of(sample)
    assert network.anatomy.flexible
    x = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    right_logits, right = sample.truth(network.module, x)
    logits, traced = trace(network, x, layers="all", queries="all")
    assert (traced.rows, traced.columns) == (4, 2)
    assert error(logits, right_logits) <= TOLERANCE
    assert all(error(traced.attention[layer], rows) <= TOLERANCE for layer, rows in enumerate(right))
    odd = torch.randn(1, 3, 50, 83, generator=torch.Generator().manual_seed(1))
    if network.anatomy.edge == "refused":
        with pytest.raises(UsageError, match=r"patches of 16 × 16 pixels.*50 × 83 do not hold a whole number"):
            trace(network, odd)
        with pytest.raises((AssertionError, RuntimeError)):  # as the network itself does
            sample.truth(network.module, odd)
    else:
        right_logits, right = sample.truth(network.module, odd)
        logits, traced = trace(network, odd, layers="all", queries="all")
        assert (traced.rows, traced.columns) == (3, 5)
        assert error(logits, right_logits) <= TOLERANCE
        assert all(error(traced.attention[layer], rows) <= TOLERANCE for layer, rows in enumerate(right))
    with pytest.raises(UsageError, match="patches of 16 × 16"):
        trace(network, torch.zeros(1, 3, 8, 64))


def test_a_network_that_pads_its_pictures_has_the_grid_of_the_padded_one() -> None:
    sizes = {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": OBLONG}
    module = timm.create_model("vit_tiny_patch16_224", **sizes, dynamic_img_size=True, dynamic_img_pad=True)
    x = torch.randn(1, 3, 50, 83, generator=torch.Generator().manual_seed(1))  # 4 × 6 patches: with CLS a square number
    wake_timm(module, x)
    _, right = written_out(module, x)
    _, traced = trace(load(module), x, layers="all", queries="all")
    assert (traced.rows, traced.columns) == (4, 6)
    assert all(error(traced.attention[layer], rows) <= TOLERANCE for layer, rows in enumerate(right))


# left as found


def state(module: nn.Module) -> list[tuple]:
    """All that a guest could leave behind: each attribute of each part, what its dictionaries hold, configurations."""
    traced: list[tuple] = []
    for path, part in module.named_modules():
        for key, value in vars(part).items():
            plain = isinstance(value, bool | int | float | str | None)
            identity = tuple((name, id(item)) for name, item in value.items()) if isinstance(value, dict) else id(value)
            traced.append((path, key, value if plain else identity))
        if hasattr(part, "config"):
            traced.append((path, "configuration", str(part.config.to_dict()), part.config._attn_implementation))
    weights = [(name, p.requires_grad, p.grad, p.dtype, p.device) for name, p in module.named_parameters()]
    return [*traced, *weights]


def disturbed(module: nn.Module) -> nn.Module:
    """A copy in every state a user may have it in: in training but for parts, partly frozen, compiled, unfused, ..."""
    module = copy.deepcopy(module)
    parts = list(module.modules())
    module.train()
    for part in parts[1::3]:
        part.training = False
    for index, weight in enumerate(module.parameters()):
        weight.requires_grad_(index % 2 == 0)
    if hasattr(module, "set_attn_implementation"):
        module.set_attn_implementation("eager")
    for part in parts:
        if hasattr(part, "fused_attn"):
            part.fused_attn = False
        if hasattr(part, "grad_checkpointing"):
            part.grad_checkpointing = True
    module.compile()
    parts[-1].compile()
    parts[-1].register_forward_hook(lambda *_: None)
    return module


@every_family
def test_a_network_in_any_state_is_traced_and_left_as_found(sample: Sample) -> None:
    original, right_logits, right = awake(sample)
    module = disturbed(original)
    network, x = load(module), sample.pictures
    before = state(module)
    logits, traced = trace(network, x, layers="all", queries="all", also=["norms", "inputs", "queries"])
    assert state(module) == before
    assert error(logits, right_logits) <= TOLERANCE
    assert all(error(traced.attention[layer], rows) <= TOLERANCE for layer, rows in enumerate(right))
    assert error(network.logits(x), right_logits) <= TOLERANCE
    assert state(module) == before
    if network.anatomy.head:
        features, logits = network.features(x)
        assert error(logits, right_logits) <= TOLERANCE
        again = original.get_submodule(network.anatomy.head)(features).detach()
        assert error(again, right_logits) <= TOLERANCE
        assert state(module) == before
    assert all(torch.equal(value, original.state_dict()[name]) for name, value in module.state_dict().items())


@every_family
def test_an_exception_in_the_middle_leaves_nothing_behind(sample: Sample) -> None:
    module = disturbed(awake(sample)[0])
    network, x = load(module), sample.pictures

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    module.get_submodule(network.anatomy.attentions[1]).register_forward_hook(fail)
    before = state(module)
    guests = [lambda: trace(network, x, layers="all", also=["norms"], queries="pool"), lambda: network.logits(x)]
    for guest in [*guests, lambda: network.features(x)]:
        with pytest.raises(NetworkError, match="in the middle"):
            guest()
        assert state(module) == before
    assert torch.is_grad_enabled()
    with pytest.raises(UsageError):
        trace(network, x, layers=99)
    with pytest.raises(UsageError):  # found out while the network runs
        trace(network, x, layers=[0], heads=[99], queries="pool")
    assert state(module) == before


@every_family
def test_frozen_weights_ask_for_no_gradient_and_get_it_back(sample: Sample) -> None:
    module = disturbed(awake(sample)[0])
    before = state(module)
    with load(module).borrow(frozen=True):
        assert not any(weight.requires_grad for weight in module.parameters())
        assert not any(part.training or getattr(part, "grad_checkpointing", False) for part in module.modules())
    assert state(module) == before


@pytest.mark.parametrize("name", ["timm vit", "huggingface ViTForImageClassification", "open_clip vit"])
def test_a_compiled_wrapper_is_looked_into(name: str) -> None:
    sample = BY_NAME[name]
    module, right_logits, right = awake(sample)
    wrapper = torch.compile(module)
    before, inside = state(wrapper), state(module)
    network = load(wrapper)
    logits, traced = trace(network, sample.pictures, layers="all", queries="all")
    assert error(logits, right_logits) <= TOLERANCE
    assert all(error(traced.attention[layer], rows) <= TOLERANCE for layer, rows in enumerate(right))
    assert (state(wrapper), state(module)) == (before, inside)


@pytest.mark.parametrize(
    "wrap", [torch.compile, nn.DataParallel, lambda module: nn.DataParallel(torch.compile(module))]
)
def test_wrappers_are_looked_into(wrap: Callable[[nn.Module], nn.Module]) -> None:
    sample = BY_NAME["timm vit"]
    module, _, right = awake(sample)
    wrapper = wrap(module)
    before = state(wrapper)
    network = load(wrapper)
    assert network.module is module
    _, traced = trace(network, sample.pictures)
    assert error(traced.attention[1], right[1][:, :, :1]) <= TOLERANCE
    assert state(wrapper) == before


@pytest.mark.parametrize(("path", "index"), [("blocks", 0), ("blocks.1", "attn"), ("blocks.0", "mlp"), ("", "head")])
def test_compiled_parts_keep_their_place_and_run_as_they_are(path: str, index: Any) -> None:
    """A block that is compiled on its own is still layer 0, and nothing is compiled for looking at it."""
    sample = BY_NAME["timm vit"]
    module, right_logits, right = awake(sample)
    module = copy.deepcopy(module)
    owner = module.get_submodule(path)
    part = owner[index] if isinstance(index, int) else getattr(owner, index)
    compiled = torch.compile(part, backend=fails)
    owner.__setattr__(str(index), compiled)
    before, network = state(module), load(module)
    logits, traced = trace(network, sample.pictures, layers="all", queries="all", also=["norms"])
    assert state(module) == before
    assert list(traced.norms) == [0, 1]
    assert error(logits, right_logits) <= TOLERANCE
    assert all(error(traced.attention[layer], rows) <= TOLERANCE for layer, rows in enumerate(right))
    with torch.no_grad(), pytest.raises(Exception, match="compiled after all"):
        module(sample.pictures)


def fails(graph: Any, examples: Any) -> Any:
    """A compiler that says so when it is asked."""
    raise RuntimeError("compiled after all")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name", ["timm vit", "timm eva02", "timm cait", "torchvision vit", "huggingface DINOv3ViTModel", "open_clip coca"]
)
def test_half_precision_gives_rows_in_float32(name: str, dtype: torch.dtype) -> None:
    sample = BY_NAME[name]
    module, _, right = awake(sample)
    half = copy.deepcopy(module).to(dtype)
    before = state(half)
    logits, traced = trace(load(half), sample.pictures, layers="all", queries="all")
    assert state(half) == before
    assert logits.dtype == dtype
    first = traced.attention[0]  # later layers of a peaked network differ by what rounding did to the first
    assert first.dtype == torch.float32
    assert float((first - right[0]).abs().max()) < 8 * torch.finfo(dtype).eps  # logits of about 8, rounded once
    assert not sample.plain or torch.allclose(first.sum(-1), torch.ones(first.shape[:-1]), atol=1e-5)


# where no map could be right


class Cascade(VisionTransformer):
    """open_clip's pooling of a pooling, which it calls untested: one token comes out, not squeezed."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, 0]


def test_a_pooling_of_other_tokens_than_patches_is_refused() -> None:
    sizes = {"width": 48, "layers": 2, "heads": 3, "mlp_ratio": 2.0, "output_dim": 48, "attn_pooler_heads": 4}
    module = Cascade(OBLONG, 16, **sizes, attn_pooler_queries=20, attentional_pool="cascade").eval()
    network, x = load(module), torch.randn(1, 3, *OBLONG)
    assert len(network.anatomy.attentions) == 4
    _, traced = trace(network, x, layers=[0, 1, 2], queries="all")
    assert [rows.shape[-2:] for rows in traced.attention.values()] == [(16, 16), (16, 16), (20, 16)]
    with pytest.raises(NetworkError, match=r"layer 3 attends to 1 × 20 tokens, where 1 pictures of 15 patches"):
        trace(network, x, layers="all", queries="pool")
