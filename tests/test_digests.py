"""One bit that a disk flips in what a run stores is noticed, and never used unsaid."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file

from regard.errors import DataError, NetworkError
from regard.networks.captioners.run import load_captioner_run, save_captioner
from regard.networks.run import load_run
from regard.networks.sources.checkpoint import read_checkpoint
from regard.training.checkpoint import STATE, pack, unpack

STORED = Path(__file__).with_name("stored")


def flips(whole: bytes, n: int = 40) -> Iterator[bytes]:
    """The bytes with one bit turned, at the ends of the file and its header, and at random places."""
    header = 8 + int.from_bytes(whole[:8], "little")
    chance = random.Random(7)
    for place in [0, 7, 8, header - 1, header, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(n))]:
        turned = bytearray(whole)
        turned[place] ^= 1 << chance.randrange(8)
        yield bytes(turned)


@pytest.mark.parametrize("name", ["probe", "finetune"])
def test_a_bit_of_a_runs_weights(name: str, tmp_path: Path) -> None:
    run = shutil.copytree(STORED / name, tmp_path / "run")
    path = run / "model.safetensors"
    for content in flips(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(NetworkError, match=r"model\.safetensors"):
            load_run(run)


def test_a_bit_of_a_captioners_weights_and_words(tmp_path: Path) -> None:
    run = save_captioner(load_captioner_run(STORED / "captioner"), tmp_path / "run")
    for name in ("model.safetensors", "vocabulary.txt"):
        path = run / name
        whole = path.read_bytes()
        for content in flips(whole, 20) if name == "model.safetensors" else [whole.replace(b"dog", b"dov", 1)]:
            assert content != whole
            path.write_bytes(content)
            with pytest.raises(NetworkError, match=path.name):
                load_captioner_run(run)
        path.write_bytes(whole)
    assert load_captioner_run(run).vocabulary.pieces == load_captioner_run(STORED / "captioner").vocabulary.pieces


def test_a_bit_of_the_state() -> None:
    path = STORED / "unfinished" / STATE
    facts, tensors = unpack(path.read_bytes(), path)  # an earlier version's, without a digest
    whole = pack(facts, tensors)
    assert whole == pack(facts, tensors)
    again, values = unpack(whole, path)
    assert again == facts and all(values[name].equal(value) for name, value in tensors.items())
    for content in flips(whole, 200):
        with pytest.raises(DataError, match=r"is damaged.*remove it and --resume starts this run from the beginning"):
            unpack(content, path)


def test_weights_of_half_precision_are_known_by_what_they_are_read_as(tmp_path: Path) -> None:
    """Rounded weights of a run may be stored as such: the digest is of their values in float32."""
    from regard.networks.run import save_network

    network = load_run(STORED / "probe")
    network.module.half().float()
    run = save_network(network, tmp_path / "run")
    tensors = read_checkpoint(run / "model.safetensors").tensors
    save_file({name: value.half() for name, value in tensors.items()}, run / "model.safetensors")
    assert load_run(run).weights_hash() == network.weights_hash()
