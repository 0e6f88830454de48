"""`regard serve` over real sockets: who may ask, what is refused and in which words, and that the server stays up."""

import base64
import json
import os
import signal
import socket
import threading
import time

import pytest
from serving import form, served

from regard.app.server import protocol, start
from regard.errors import NetworkError, OutputError, UsageError


@pytest.fixture(scope="module")
def server():
    with served(max_bytes=1_000_000, waiting=8) as client:
        yield client


def raw(server, content: bytes, timeout: float = 10) -> bytes:
    """What comes back on a connection of its own until the server closes it."""
    with socket.create_connection((server.host, server.port), timeout) as connection:
        connection.sendall(content)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def lines(answer, *parts: str) -> None:
    """An error is one line with these parts in it."""
    assert "\n" not in answer.error
    for part in parts:
        assert part in answer.error


def test_a_job_is_answered_as_json_with_the_settings_that_it_had(server):
    answer = server.job(b"echo", method="attention,legrad", layer=3, name="a.jpg")
    assert answer.status == 200
    assert answer.json["settings"]["method"] == ["attention", "legrad"]
    assert answer.json["settings"]["layer"] == 3
    assert answer.json["model"] == "first"


def test_json_with_base64_says_the_same_as_a_form(server):
    body = json.dumps({"picture": base64.b64encode(b"echo").decode(), "method": ["legrad"], "model": "second"})
    answer = server.ask("POST", "/api/explain", body, content_type="application/json")
    assert (answer.status, answer.json["model"], answer.json["settings"]["method"]) == (200, "second", ["legrad"])


def test_a_captioner_is_what_captions(server):
    assert server.job(b"echo", "caption").json["model"] == "words"


def test_stages_come_as_events_with_the_answer_last(server):
    answer = server.job(b"echo", headers={"accept": "text/event-stream"})
    events = [block.split("\n") for block in answer.body.decode().strip().split("\n\n")]
    assert [event[0] for event in events][-2:] == ["event: stage", "event: answer"]
    assert json.loads(events[-1][1].removeprefix("data: "))["kind"] == "explain"


def test_an_error_in_the_stages_is_an_event(server):
    answer = server.job(b"refuse", headers={"accept": "text/event-stream"})
    assert b'event: error\ndata: {"status": 422' in answer.body


WRONG = {
    "no JSON": ("application/json", b'{"picture": ', 400, "cannot be read"),
    "JSON of a list": ("application/json", b"[1]", 400, "no object"),
    "JSON that is nested too deeply": ("application/json", b"[" * 100_000, 400, "nested"),
    "a number without end": ("application/json", b"1" * 10_000, 400, "cannot be read"),
    "no base64": ("application/json", b'{"picture": "%%%"}', 422, "base64"),
    "no picture": ("application/json", b"{}", 422, "no `picture`"),
    "an unknown setting": ("application/json", b'{"picture": "aGk=", "colour": 1}', 422, "there are"),
    "a setting out of range": ("application/json", b'{"picture": "aGk=", "steps": 9999}', 422, "`steps` came as 9999"),
    "a lone surrogate": ("application/json", b'{"picture": "aGk=", "name": "\\ud800"}', 422, "`name`"),
    "an unknown model": ("application/json", b'{"picture": "aGk=", "model": "../../etc"}', 404, "unknown model"),
    "another model": ("application/json", b'{"picture": "aGk=", "model": "vit_base_patch16_224"}', 404, "Only those"),
    "no boundary": ("multipart/form-data", b"hello", 400, "damaged"),
    "a form that is cut off": ("multipart/form-data; boundary=edge", b"--edge\r\ncontent-dis", 422, "no `picture`"),
    "text": ("text/plain", b"hello", 415, "Content-Type"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_refused_in_one_line(server, name):
    content_type, body, status, part = WRONG[name]
    answer = server.ask("POST", "/api/explain", body, content_type=content_type)
    assert answer.status == status
    lines(answer, part)


def test_a_file_of_weights_is_refused_as_one(server):
    content_type, body = form(b"PK\x03\x04", "model.safetensors", "weights")
    answer = server.ask("POST", "/api/explain", body, content_type=content_type)
    assert answer.status == 422
    lines(answer, "`weights` is not known", "`picture`")


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "a\\x00b/../c.jpg"])
def test_the_name_of_an_upload_is_words_and_no_path(server, name):
    answer = server.job(b"echo", name=name)
    assert answer.status == 200
    assert not {"/", "\\"} & set(answer.json["name"])


def test_html_in_a_name_comes_back_as_json_that_no_browser_runs(server):
    answer = server.job(b"echo", name="<script>alert(1)</script>.jpg")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "a b"])
def test_another_host_is_refused(server, host):
    """A page of that host whose name was pointed at this machine."""
    answer = raw(server, f"GET /api/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in (b"421", b"400")


def test_another_origin_is_refused_and_this_one_is_not(server):
    own = f"http://{server.host}:{server.port}"
    assert server.ask("GET", "/api/models", Origin=own).status == 200
    for origin in ("http://evil.example", f"http://{server.host}:1", "null", "file://", "http://["):
        answer = server.ask("GET", "/api/models", Origin=origin)
        assert answer.status == 403
        lines(answer, "own pages")
    assert server.ask("GET", "/api/models", Sec_Fetch_Site="cross-site").status == 403
    assert server.ask("GET", "/health", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200


def test_an_upload_over_the_limit_is_refused_unread(server, monkeypatch):
    monkeypatch.setitem(protocol.SECONDS, "rest", 0.3)
    head = (
        "POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 200000000"
    )
    start = time.monotonic()
    answer = raw(server, f"{head}\r\n\r\n{{".encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert time.monotonic() - start < 5


def test_a_body_in_chunks_without_end_is_cut_off(server, monkeypatch):
    monkeypatch.setitem(protocol.SECONDS, "rest", 0.5)
    with socket.create_connection((server.host, server.port), 10) as connection:
        head = "POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
        connection.sendall(f"{head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
        count = 0
        answer = b""
        connection.settimeout(0.05)
        start = time.monotonic()
        try:
            while time.monotonic() - start < 10:
                connection.sendall(chunk)
                count += 1
                time.sleep(0.01)
                if not answer:
                    try:
                        answer = connection.recv(65536)
                    except TimeoutError:
                        continue
        except OSError:  # cut off
            pass
        assert answer.startswith(b"HTTP/1.1 413")
        assert time.monotonic() - start < 8


def test_headers_that_trickle_in_have_a_deadline_of_their_own(server, monkeypatch):
    monkeypatch.setitem(protocol.SECONDS, "headers", 0.5)
    with socket.create_connection((server.host, server.port), 10) as connection:
        start = time.monotonic()
        with pytest.raises(OSError):
            for letter in b"GET /health HTTP/1.1\r\nHost: localhost\r\n" * 3:
                connection.sendall(bytes([letter]))
                time.sleep(0.05)
            raise AssertionError("it was never cut off")
        assert 0.4 < time.monotonic() - start < 3
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_body_that_trickles_in_has_a_deadline_too(server, monkeypatch):
    monkeypatch.setitem(protocol.SECONDS, "body", 0.5)
    answer = raw(server, b"POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_connection_that_sends_nothing_is_closed(server, monkeypatch):
    monkeypatch.setitem(protocol.SECONDS, "headers", 0.3)
    assert raw(server, b"").startswith(b"HTTP/1.1 408")


def test_a_second_request_on_a_connection_has_its_deadline_anew(server, monkeypatch):
    monkeypatch.setitem(protocol.SECONDS, "headers", 0.5)
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection((server.host, server.port), 10) as connection:
        for _ in range(2):
            connection.sendall(request)
            time.sleep(0.4)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(request[:20])
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


def test_more_connections_than_are_kept_are_refused_at_once(server, monkeypatch):
    monkeypatch.setattr(protocol, "CONNECTIONS", 3)
    opened = [socket.create_connection((server.host, server.port), 10) for _ in range(6)]
    try:
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 429")
    finally:
        for each in opened:
            each.close()
    time.sleep(0.1)
    assert server.ask("GET", "/health").status == 200


def test_a_flood_of_tiny_requests_and_broken_ones_leaves_it_up(server):
    for content in (b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x00\xa5", b"GET / HTTP/9.9\r\n\r\n", b"A" * 70_000):
        for _ in range(20):
            raw(server, content + b"\r\n\r\n")
    assert server.ask("GET", "/health").json["status"] == "ok"


def test_who_hangs_up_cancels(server):
    connection = server.connection()
    content_type, body = form(b"slow")
    connection.request("POST", "/api/explain", body, {"content-type": content_type})
    wait(lambda: server.ask("GET", "/health").json["workers"][0]["state"] == "working")
    connection.close()
    wait(lambda: server.ask("GET", "/health").json["workers"][0]["state"] == "idle")
    assert server.ask("GET", "/health").json["workers"][0]["restarts"] == 0


def test_who_hangs_up_between_stages_cancels_too(server):
    connection = server.connection()
    content_type, body = form(b"slow")
    connection.request("POST", "/api/explain", body, {"content-type": content_type, "accept": "text/event-stream"})
    connection.getresponse().readline()
    connection.close()
    wait(lambda: server.ask("GET", "/health").json["workers"][0]["state"] == "idle")


def test_many_at_once_get_an_answer_each_or_are_told_when_to_come_again(server):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.job(b"echo"))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 40
    assert {answer.status for answer in answers} <= {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status == 429)


def test_a_killed_worker_is_replaced(server):
    os.kill(server.job(b"echo").json["process"], signal.SIGKILL)
    assert server.job(b"echo").status == 200
    wait(lambda: server.ask("GET", "/health").json["status"] == "ok")


@pytest.mark.parametrize(("word", "status"), [("refuse", 422), ("break", 500), ("exhaust", 503)])
def test_what_goes_wrong_in_a_worker_is_one_line(server, word, status):
    answer = server.job(word.encode())
    assert answer.status == status
    lines(answer, ";")
    assert "Traceback" not in answer.error


@pytest.mark.parametrize(
    "path", ["/nope", "/api/runs/x", "/api/runs/x/pictures/3/thumbnail", "/api/runs/%2e%2e/pictures"]
)
def test_what_is_not_there_is_said(server, path):
    answer = server.ask("GET", path)
    assert answer.status == 404
    assert answer.error


def test_the_lists_are_what_the_tables_are(server):
    methods = {each["name"] for each in server.ask("GET", "/api/methods").json}
    assert {"attention", "legrad", "tam"} <= methods
    assert [each["name"] for each in server.ask("GET", "/api/models").json] == ["first", "second", "words"]
    assert "/api/explain" in server.ask("GET", "/openapi.json").json["paths"]


# Open to a network: the token


@pytest.fixture(scope="module")
def guarded():
    with served(host="0.0.0.0", token="a-token-of-the-tests", names=("regard.example",)) as client:
        client.host = "127.0.0.1"
        yield client


def test_without_the_token_nothing_is_told_but_health(guarded):
    assert guarded.ask("GET", "/health").status == 200
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Cookie": f"regard-{guarded.port}=wrong"},
        {"Cookie": "=;;=é"},
    ):
        answer = guarded.ask("GET", "/api/models", **headers)
        assert answer.status == 401
        lines(answer, "token")
        assert guarded.token not in answer.error
    assert guarded.job(b"echo").status == 401


def test_the_token_opens_as_a_bearer_and_is_exchanged_for_a_cookie(guarded):
    assert guarded.ask("GET", "/api/models", Authorization=f"Bearer {guarded.token}").status == 200
    answer = guarded.ask("GET", f"/?token={guarded.token}")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert guarded.token not in cookie
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert guarded.ask("GET", "/api/models", Cookie=cookie.partition(";")[0]).status == 200
    assert guarded.ask("GET", "/?token=wrong").status == 401
    assert guarded.ask("GET", f"/api/models?token={guarded.token}").status == 401  # only at the door


def test_an_address_may_be_a_host_where_all_are_listened_to_and_a_name_only_where_it_was_given(guarded):
    token = {"Authorization": f"Bearer {guarded.token}"}
    for host, status in (("10.1.2.3", 200), ("[::1]:5", 200), ("regard.example", 200), ("evil.example", 421)):
        assert guarded.ask("GET", "/api/models", Host=host, **token).status == status


# Starting


def test_a_port_in_use_says_what_to_do(server):
    with pytest.raises(OutputError, match=f"port {server.port} of 127.0.0.1 is in use already; give another"):
        start.bound("127.0.0.1", server.port)


def test_a_host_of_another_machine_says_what_to_do():
    with pytest.raises(UsageError, match="is no address of this machine"):
        start.bound("192.0.2.1", 0)


def test_a_network_that_cannot_be_loaded_ends_it():
    with pytest.raises(NetworkError, match="cannot be loaded"), served(models=(("first", "broken"),)):
        pass


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--token", "short"], "it must have 16 or more"),
        (["--data", "nowhere"], "there is no nowhere"),
        (["pets-tiny", "pets-tiny"], "called pets-tiny"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_is_loaded(run, words, text):
    code, out, err = run("serve", *words)
    assert (code, out) == (2, "")
    assert text in " ".join(err.split())


def test_a_missing_extra_is_one_line(run, monkeypatch):
    from regard.app.commands import serve

    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    code, _, err = run("serve")
    assert code == 2
    assert "pip install 'regard[serve]'" in " ".join(err.split())


def wait(condition, seconds: float = 10) -> None:
    """Until it holds; it must within some seconds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds
        time.sleep(0.02)
