"""azurite: an object store that speaks Azure's protocol, on this machine, with conditional writes as they must be.

`make azurite` fetches the pinned version (tests/support/azurite/package-lock.json, whose hashes npm checks) beside the
environment. Without it the tests that use it are skipped, loudly.
"""

import base64
import hashlib
import hmac
import http.client
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

SCRIPT = Path(sys.prefix) / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What azurite's manual says that everybody uses: no secret."""


def azurite_script() -> Path:
    """Where azurite is; the test is skipped where it, or node, is not."""
    if not SCRIPT.is_file() or shutil.which("node") is None:
        pytest.skip("needs azurite, which `make azurite` fetches with npm: whether object stores work is untried")
    return SCRIPT


@contextmanager
def azurite(folder: Path, container: str = "pictures") -> Iterator[dict[str, str]]:
    """A store that keeps its objects in `folder`; yields the environment in which `az://CONTAINER/` is that store."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["node", str(azurite_script()), "--blobPort", "0", "--location", str(folder), "--disableTelemetry"]
    words += ["--skipApiVersionCheck", "--silent"]
    with (folder / "log.txt").open("w+b") as log:
        server = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            port = _port(server, folder / "log.txt")
            _create_container(port, container)
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
                "AZURE_ALLOW_HTTP": "true",
            }
        finally:
            server.kill()
            server.wait()


def _port(server: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the system gave it, of which it tells when it listens."""
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if "successfully listens on http" in line or "listening at http" in line:
                return int(line.rsplit(":", 1)[1].strip("/ "))
        time.sleep(0.05)
    raise RuntimeError(f"azurite did not start: {log.read_text(encoding='utf-8')[-500:]}")


def _create_container(port: int, name: str) -> None:
    """Signed by hand as Azure's manual has it (Shared Key), since obstore makes no containers."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    listed = "".join(f"{key}:{value}\n" for key, value in sorted(headers.items()))
    text = "PUT" + "\n" * 12 + listed + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=headers)
    answer = connection.getresponse()
    connection.close()
    assert answer.status in (201, 409), (answer.status, answer.reason)


def assert_conditional_writes(environment: dict[str, str], container: str = "pictures") -> None:
    """That the store refuses to create what is there: what exactly-once rests on (a known fake answers 500)."""
    import obstore
    from obstore.exceptions import AlreadyExistsError
    from obstore.store import AzureStore

    store = AzureStore(
        container,
        account_name=ACCOUNT,
        account_key=KEY,
        endpoint=environment["AZURE_STORAGE_ENDPOINT"],
        client_options={"allow_http": True},
    )
    obstore.put(store, "conditional", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "conditional", b"second", mode="create")
    assert bytes(obstore.get(store, "conditional").bytes()) == b"first"
    obstore.delete(store, "conditional")
