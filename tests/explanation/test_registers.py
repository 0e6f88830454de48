"""Artifact tokens and their repair: a network into which they were planted, the edit by hand, runs, the test."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from outliers import PLANTED, SIZE, pictures, planted
from PIL import Image
from torchvision.models.vision_transformer import VisionTransformer

from regard.app.commands.registers import as_text, registers
from regard.errors import DataError, NetworkError, UsageError
from regard.explanation.artifacts import artifacts, find_repair, repaired
from regard.measurement.classification.noninferiority import not_worse
from regard.measurement.intervals import mean
from regard.measurement.localisation.measures import Cover, auc, on_object, pointing
from regard.networks.attention.trace import trace
from regard.networks.edits import applied, mlp_output
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.run import load_run, save_network


def test_outliers_are_found_where_they_were_planted() -> None:
    network = planted()
    found = artifacts(network, [pictures()])
    assert found.first == PLANTED[0]
    assert found.blocks[1].per_picture == pytest.approx(1, abs=0.4)
    assert found.blocks[1].largest > 10 * found.blocks[1].median
    assert found.corners == 1.0
    assert [block.share for block in found.blocks[:1]] == [0]
    assert found.places.shape == (6, 15)
    assert found.places[:, 0].all()


def test_the_search_finds_the_planted_neuron_and_nothing_is_changed() -> None:
    network, x = planted(), pictures()
    before = network.logits(x)
    repair = find_repair(network, [x[:4], x[4:]])
    assert repair.neurons[0] == PLANTED
    assert repair.trials[-1].left <= 0.2
    assert torch.equal(network.logits(x), before)
    assert network.edits == ()
    after = artifacts(repaired(network, repair.edit), [x])
    assert after.first is None


def test_a_network_without_outliers_has_none_and_needs_no_repair() -> None:
    network = planted(answers=False)
    x = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    repair = find_repair(network, [x])
    assert (repair.before.first, repair.neurons, repair.trials) == (None, (), ())
    assert repair.before.even == 0


def test_the_edit_is_what_it_says_for_every_item_of_a_batch() -> None:
    """By hand: one more token behind CLS; each neuron's largest value, sign kept, there; 0 at the patches."""
    network, x = planted(), pictures(3)
    neurons = [(1, 7), (1, 2), (2, 5)]
    mended = repaired(network, {"kind": "registers", "neurons": neurons})
    seen: dict[int, torch.Tensor] = {}
    for block in (1, 2):
        part = mlp_output(mended.module.blocks[block])
        part.register_forward_hook(lambda module, inputs, output, block=block: seen.update({block: inputs[0]}))
    mended.logits(x)
    plain: dict[int, torch.Tensor] = {}
    part = mended.module.blocks[1].mlp.act
    part.register_forward_hook(lambda module, inputs, output: plain.update({1: output}))
    mended.logits(x)
    hidden = plain[1]
    for item in range(3):
        for neuron in (7, 2):
            patches = hidden[item, 2:, neuron]
            largest = patches[patches.abs().argmax()]
            assert seen[1][item, 1, neuron] == largest
            assert (seen[1][item, 2:, neuron] == 0).all()
            assert seen[1][item, 0, neuron] == hidden[item, 0, neuron]  # CLS is left alone
        others = [neuron for neuron in range(hidden.shape[2]) if neuron not in (7, 2)]
        assert torch.equal(seen[1][item][:, others], hidden[item][:, others])
    one_by_one = torch.cat([mended.logits(x[item : item + 1]) for item in range(3)])
    assert torch.allclose(mended.logits(x), one_by_one, atol=1e-4)


def test_tokens_of_a_repaired_network_keep_their_places() -> None:
    mended = repaired(planted(), {"kind": "registers", "neurons": [list(PLANTED)]})
    _, traced = trace(mended, pictures(2), layers="all", also=("norms",))
    assert (traced.prefix, traced.rows, traced.columns) == (2, 3, 5)
    assert traced.attention[3].shape[-1] == 17
    assert traced.norms[1].shape == (2, 17)
    assert traced.norms[3].shape == (2, 16)  # behind the last block the register is gone
    _, patch = trace(mended, pictures(2), layers=0, queries=[(0, 0)])
    _, token = trace(mended, pictures(2), layers=0, queries=[2])
    assert torch.equal(patch.attention[0], token.attention[0])


def _small(name: str) -> Network:
    if name == "torchvision":
        return load(VisionTransformer(48, 16, 2, 3, 48, 96, num_classes=5), classes=4)  # as built, its head is zero
    arguments = {"depth": 2, "embed_dim": 48, "num_heads": 3}
    return load(f"random:{name}", size=SIZE, classes=4, arguments=arguments)


@pytest.mark.parametrize(
    "name", ["vit_base_patch16_gap_224", "deit3_small_patch16_224", "vit_base_patch16_siglip_224", "torchvision"]
)
def test_any_kind_of_head_and_mlp_can_carry_registers(name: str) -> None:
    network = _small(name)
    x = torch.randn(2, 3, network.preparation.height, network.preparation.width)
    mended = repaired(network, {"kind": "registers", "neurons": [[0, 3], [1, 4]]})
    assert mended.logits(x).shape == network.logits(x).shape
    assert not torch.allclose(mended.logits(x), network.logits(x))


def test_a_repaired_network_is_a_run_like_any_other(tmp_path: Path) -> None:
    mended = repaired(planted(), {"kind": "registers", "neurons": [list(PLANTED)]})
    x = pictures(2)
    again = load_run(save_network(mended, tmp_path / "run"))
    assert torch.equal(again.logits(x), mended.logits(x))
    assert again.edits == mended.edits
    assert again.anatomy.prefix == 2
    assert again.weights_hash() == mended.weights_hash() != planted().weights_hash()
    new = load(tmp_path / "run", classes=["a", "b"])
    assert new.anatomy.prefix == 2
    assert new.logits(x).shape == (2, 2)
    with pytest.raises(NetworkError, match="carries registers"):
        load(tmp_path / "run", size=(64, 64))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"kind": "shrink"}, "kind 'shrink'; known are registers"),
        ({"kind": "registers", "neurons": [[9, 0]]}, "block 9.*0 to 3"),
        ({"kind": "registers", "neurons": [[0, 9999]]}, "neurons 0 to 191; the edit names 9999"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit: dict, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        applied(planted(answers=False), [edit])


def test_a_damaged_edit_in_a_run_is_named(tmp_path: Path) -> None:
    folder = save_network(planted(answers=False), tmp_path / "run")
    stored = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**stored, "edits": [{"kind": "registers", "neurons": "x"}]}))
    with pytest.raises(NetworkError, match=r"edits in .*model\.json are damaged"):
        load_run(folder)


def test_networks_that_cannot_be_joined_say_so() -> None:
    with pytest.raises(NetworkError, match="no attention"):
        artifacts(load("random:resnet18"), [torch.zeros(1, 3, 224, 224)])
    with pytest.raises(NetworkError, match="no blocks"):
        repaired(load("random:resnet18"), {"kind": "registers", "neurons": [[0, 0]]})
    with pytest.raises(NetworkError, match="at least one"):
        artifacts(planted(), [])


def folder_of(path: Path, network: Network, count: int = 24) -> Path:
    """Labelled pictures with masks whose object is the bright corner."""
    random = np.random.default_rng(0)
    (path / "images").mkdir(parents=True)
    (path / "masks").mkdir()
    rows = ["name,label,split"]
    for index in range(count):
        values = random.integers(96, 160, (*SIZE, 3)).astype(np.uint8)
        values[:16, :16] = 255
        Image.fromarray(values).save(path / "images" / f"p{index}.png")
        mask = np.zeros(SIZE, np.uint8)
        mask[:16, :32] = 255
        Image.fromarray(mask).save(path / "masks" / f"p{index}.png")
        rows.append(f"p{index},{'abcde'[index % 5]},{'train' if index % 2 else 'val'}")
    (path / "index.csv").write_text("\n".join(rows))
    return path


def test_the_command_finds_tests_and_writes(tmp_path: Path) -> None:
    network = planted()
    network.classes = tuple("abcde")
    save_network(network, tmp_path / "run")
    data = folder_of(tmp_path / "data", network)
    how = {"model": tmp_path / "run", "masks": data / "masks", "workers": 0}
    result = registers(data, tmp_path / "mended", anyway=True, **how)
    assert result.repair.neurons[0] == PLANTED
    assert result.accuracy is not None and result.accuracy.difference.n == 12
    assert "not decidable with 12 pictures" in result.verdict or "worse" in result.verdict
    stored = json.loads((tmp_path / "mended" / "registers.json").read_text())
    assert stored["neurons"][0] == list(PLANTED)
    assert stored["outliers_left"] <= 0.2
    assert set(stored["localisation"]) >= {"before, block 3", "after, block 3", "centre", "random"}
    with Image.open(tmp_path / "mended" / "before_after.png") as figure:
        assert figure.width > 500
    assert load_run(tmp_path / "mended").edits == (result.repair.edit,)
    assert "block  outliers a picture" in as_text(result)
    kept = registers(data, tmp_path / "none", **how)  # not accepted: nothing is written
    assert kept.out is None and not (tmp_path / "none").exists()
    wide = registers(data, tmp_path / "wide", margin=0.9, **how)
    assert wide.verdict.startswith("accepted")
    assert (tmp_path / "wide" / "model.json").is_file()


def test_wrong_input_is_said_in_one_line(tmp_path: Path) -> None:
    network = planted()
    save_network(network, tmp_path / "run")
    data = folder_of(tmp_path / "data", network, 4)
    with pytest.raises(UsageError, match="margin is 2"):
        registers(data, model=tmp_path / "run", margin=2)
    with pytest.raises(DataError, match="has no mask"):
        registers(data, model=tmp_path / "run", masks=tmp_path, workers=0)


def test_not_worse_by_hand() -> None:
    right = np.ones(1000, bool)
    same = not_worse(right, right, 0.01)
    assert same.answer == "yes" and same.difference.value == 0
    few = not_worse(right[:40], right[:40], 0.01)
    assert few.answer == "not decidable" and 0.05 < few.smallest < 0.1
    lost = right.copy()
    lost[:100] = False
    worse = not_worse(right, lost, 0.01)
    assert worse.answer == "no" and worse.difference.value == pytest.approx(-0.1)


def test_localisation_by_hand() -> None:
    def over(*rows: list[int]) -> Cover:
        return Cover(np.ones((2, 2), np.int64), np.array(rows))

    values = np.array([[4.0, 3.0], [2.0, 1.0]])
    assert auc(values, over([1, 0], [0, 0])) == 1
    assert auc(values, over([0, 1], [0, 1])) == pytest.approx(0.25)
    assert auc(np.ones((2, 2)), over([1, 0], [0, 0])) == 0.5
    assert np.isnan(auc(values, over([1, 1], [1, 1])))
    assert pointing(values, over([1, 0], [0, 0])) == 1
    assert pointing(np.ones((2, 2)), over([1, 0], [0, 0])) == 0.25
    half = np.zeros((8, 8), bool)
    half[:2, :4] = half[4:, :1] = True  # a half of the first patch, a quarter of the third
    assert on_object(half, (0, 0, 8, 8), 2, 2).inside.tolist() == [[1, 0], [0, 0]]
    assert on_object(half, (0, 4, 2, 8), 2, 2).inside.tolist() == [[1, 0], [1, 0]]  # of what the network sees alone
    padded = on_object(
        half[:4], (-2, -6, 10, 6), 3, 3
    )  # 4 × 8 pixels of a picture, in a square of 12 with black around
    assert padded.area.tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert padded.inside.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert on_object(np.ones((4, 8), bool), (-2, -6, 10, 6), 3, 3).inside.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    score = mean(np.array([0.0, 1.0, np.nan, 1.0]))
    assert score.n == 3 and score.value == pytest.approx(2 / 3) and 0 <= score.low <= score.value <= score.high <= 1
    assert mean(np.array([np.nan])).n == 0
    settled = mean(np.full(9, -1.0), least=-1.0)  # resamples say nothing here: as many trials as there are pictures
    assert (settled.value, settled.low) == (-1, -1) and -0.5 < settled.high < -0.2


@pytest.mark.shared
def test_pets_tiny_is_repaired_from_pictures_without_labels(shared: Path) -> None:
    """A small version of the figures in docs/registers.md: few pictures, all of the network."""
    from regard.data.layouts import read
    from regard.networks.predict import prepared

    part = read(shared / "data" / "pets").part("train")
    network = load("pets-tiny")
    batches = [pixels for _, pixels in prepared(network, part.pictures[::12], batch_size=16)]
    repair = find_repair(network, batches)
    assert repair.before.first == 7
    assert repair.before.blocks[8].attention > 0.1
    assert (7, 417) in repair.neurons and 2 <= len(repair.neurons) <= 4
    after = artifacts(repaired(network, repair.edit), batches, repair.before.places)
    assert after.first is None
    assert max(block.largest for block in after.blocks[7:]) < 60
    assert max(block.attention for block in after.blocks[8:]) < 0.05
