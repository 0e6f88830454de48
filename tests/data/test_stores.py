"""Stores: the same objects from a disk, memory and a server; what a server answers amiss is one line with advice."""

import os
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_server import Objects, object_server
from tars import png, write_shards

from regard.data.shards import open_source
from regard.data.stores import Store, is_address, remote, split_address
from regard.errors import DataError, OutputError, RegardError, UsageError

SECRET = "wJalrXUtnFEMI-never-to-be-seen"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Retries and time limits of a test's size, no credentials of who runs it, an index cache of its own."""
    monkeypatch.setattr(remote, "TIMEOUT", 0.4)
    monkeypatch.setattr(remote, "RETRIES", 2)
    monkeypatch.setattr(remote, "RETRY_SECONDS", 3)
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def server() -> Iterator[Objects]:
    with object_server(Objects()) as objects:
        yield objects


@pytest.fixture
def bucket(server: Objects, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """The server as s3://bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "here")
    return server


def message(work) -> str:
    """The one line of an error, in which no secret and no text of obstore's may stand."""
    with pytest.raises(RegardError) as caught:
        work()
    text = str(caught.value)
    assert "\n" not in text and "Debug" not in text and SECRET not in text
    assert caught.value.__cause__ is None and caught.value.__suppress_context__, "its cause would be printed by --debug"
    return text


@pytest.mark.parametrize("place", ["disk", "file", "memory"])
def test_objects_are_the_same_wherever_they_lie(place: str, tmp_path: Path) -> None:
    root = {"disk": str(tmp_path / "a"), "file": f"file://{tmp_path}/a", "memory": f"memory://{tmp_path.name}/a"}[place]
    store = pickle.loads(pickle.dumps(Store.of(root)))
    store.put("b/two.bin", b"0123456789")
    assert store.put_new("b/one.bin", b"1") and store.put_new("b/one.bin", b"1")  # an equal one is one's own
    assert not store.put_new("b/one.bin", b"2") and store.read("b/one.bin") == b"1"
    store.put("b.bin", b"3")
    assert [entry.key for entry in store.entries()] == ["b.bin", "b/one.bin", "b/two.bin"]
    assert [entry.key for entry in Store.of(f"{root}/b").entries()] == ["one.bin", "two.bin"]
    assert [entry.key for entry in store.entries("b")] == ["b/one.bin", "b/two.bin"]
    entry = store.head("b/two.bin")
    assert entry.size == 10 and store.read("b/two.bin", 3, 4, entry.tag) == b"3456"
    assert store.read("b/two.bin", 3) == b"3456789" and b"".join(store.stream("b/two.bin")) == b"0123456789"
    with pytest.raises(DataError, match="ends at byte 10, where 12 are needed"):
        store.read("b/two.bin", 8, 4)
    store.put("b/two.bin", b"0123456780")
    with pytest.raises(DataError, match="changed since it was first looked at"):
        store.read("b/two.bin", 3, 4, entry.tag)
    store.delete("b/two.bin")
    store.delete("b/two.bin")
    with pytest.raises(DataError, match=r"there is no .*two\.bin; check the"):
        store.head("b/two.bin")


def test_addresses() -> None:
    assert split_address("s3://bucket/a/b.tar") == ("s3://bucket/a", "b.tar")
    assert split_address("s3://bucket") == ("s3://bucket", "") and split_address("b.tar") == (".", "b.tar")
    assert split_address("/b.tar") == ("/", "b.tar") and not is_address("C:/b.tar")
    with pytest.raises(DataError, match="ftp:// is no store that is read; give one of s3://, gs://"):
        Store.of("ftp://there/x")
    for key in ("../b", "/b", "a/../../b"):
        with pytest.raises(DataError, match="leads out of"):
            Store.of(".").read(key)


def test_a_store_without_obstore_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'regard[stores]'")):
        Store.of("s3://bucket").head("a")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (403, "the store refuses it (403); check what AWS_ACCESS_KEY_ID and"),
        (404, "there is no s3://bucket/a; check the address"),
        (503, "busy or broken (it answered 503, again and again); try again later"),
        (429, "busy or broken (it answered 429"),
        (400, "the store answered 400; check the address"),
        (9.0, "gave no whole answer in time (it is slow, or cannot be reached)"),
        ("truncate", "gave no whole answer in time"),
    ],
)
def test_what_a_server_answers_amiss_is_one_line(bucket: Objects, fault: object, says: str) -> None:
    bucket.content["bucket/a"] = b"0123456789" * 10
    bucket.fault = lambda method, path, number: fault
    store = Store.of("s3://bucket")
    text = message(lambda: store.read("a", 0, 50))
    assert text.startswith(("s3://bucket/a: ", "there is no ")) and says in text
    assert len(bucket.requests) <= 3 * (1 + remote.RETRIES)
    if fault != "truncate":
        text = message(lambda: store.put("b", b"1"))
        assert "s3://bucket/b" in text


def test_a_server_that_recovers_is_asked_again(bucket: Objects) -> None:
    bucket.content["bucket/a"] = b"0123456789" * 10
    bucket.fault = lambda method, path, number: (503, "truncate", None)[min(number, 2)]
    assert Store.of("s3://bucket").read("a", 20, 50) == b"0123456789" * 5
    bucket.fault = lambda method, path, number: 9.0 if number % 2 == 0 else None
    assert Store.of("s3://bucket").head("a").size == 100


def test_a_write_that_another_was_before_and_one_whose_acknowledgement_is_lost(bucket: Objects) -> None:
    store = Store.of("s3://bucket")
    assert store.put_new("a", b"1") and not store.put_new("a", b"2") and store.put_new("a", b"1")
    bucket.fault = lambda method, path, number: "drop" if method == "PUT" and number == 0 else None
    assert store.put_new("b", b"1") and bucket.content["bucket/b"] == b"1"
    assert store.put_new("b", b"1") and not store.put_new("b", b"2")
    for status in (409, 412):  # another's write is under way and comes to nothing: there is nothing, then one's own
        bucket.fault = lambda method, path, number, status=status: status if method == "PUT" and number < 2 else None
        assert store.put_new(f"c{status}", b"1") and bucket.content[f"bucket/c{status}"] == b"1"
    bucket.fault = lambda method, path, number: 500 if method == "PUT" else None
    assert "s3://bucket/d: the store is busy or broken (it answered 500" in message(lambda: store.put_new("d", b"1"))
    assert "bucket/d" not in bucket.content
    with pytest.raises(OutputError):
        store.put_new("d", b"1")


@pytest.mark.parametrize(("scheme", "variable"), [("s3", "AWS_ACCESS_KEY_ID"), ("az", "AZURE_STORAGE_ACCOUNT_NAME")])
def test_missing_credentials_are_named(scheme: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # no machine of a cloud answers
    text = message(lambda: Store.of(f"{scheme}://bucket/a").read("b"))
    assert "no credentials for this store; set" in text and variable in text


def test_bad_credentials_are_not_printed(bucket: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.fault = lambda method, path, number: 403
    assert "(403)" in message(lambda: Store.of("s3://bucket").read("b"))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", SECRET)  # no base64
    assert "AZURE_STORAGE_ACCOUNT_KEY" in message(lambda: Store.of("az://bucket").read("b"))
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sv=2020&sig={SECRET}")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", bucket.address)
    assert "(403)" in message(lambda: Store.of("az://bucket").read("b"))


def test_shards_at_an_address_of_the_web_by_pattern(server: Objects, tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards")
    for file in folder.iterdir():
        server.content[f"data/{file.name}"] = file.read_bytes()
    source = open_source(f"{server.address}/data/{{000000..000002}}.tar")
    assert [len(members) for _, members in source.listing()] == [4, 4, 4]
    assert [member.data for shard in source.shards for member in source.read(shard)] == [png(at) for at in range(12)]
    pictures = [picture for shard in source.shards for picture in source.pictures(shard)]
    server.requests.clear()
    assert [picture.opener.open().read() for picture in pictures] == [png(at) for at in range(12)]
    assert len(server.requests) == 3, "neighbours come with one request"
    with pytest.raises(DataError, match="cannot be listed; name all"):
        next(Store.of(f"{server.address}/data").entries())
    with pytest.raises(DataError, match=r"there is no http.*/000003\.tar; check the address"):
        open_source(f"{server.address}/data/{{000000..000003}}.tar")
    server.content["data/000001.tar"] += b"\0" * 512
    with pytest.raises(DataError, match=r"000001\.tar changed since it was first looked at"):
        list(source.read(source.shards[1]))
