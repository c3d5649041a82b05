"""The page's server: who is answered, what is taken, and that the command ends as it began."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
from test_show_stage import SCENE, encoded

from minorkey.errors import DataError, StorageError
from minorkey.show.server import ADDRESS, CONNECTIONS, LARGEST, WAITING, PageServer


def ask(server: PageServer, method: str, place: str, body: bytes | None = None, **headers: str):
    """Status, headers and content of an answer; `place` is behind the token, or absolute."""
    path = place if place.startswith("/") else urlsplit(server.address).path + place
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def predicted(server: PageServer, query: str, body: bytes = b"") -> tuple[int, dict]:
    status, _, content = ask(server, "POST", f"predict?{query}", body)
    return status, json.loads(content)


def test_an_image_that_is_sent_is_predicted(server):
    status, answer = predicted(server, "side=512&corruption=fog&severity=4", encoded(SCENE))
    assert status == 200
    assert (answer["width"], answer["height"], answer["name"]) == (64, 32, "")
    assert [run["clean"] is not None for run in answer["runs"]] == [True, True]


def test_an_example_is_predicted_where_nothing_is_sent(server):
    status, answer = predicted(server, "side=256&example=2")
    assert (status, answer["name"], answer["width"]) == (200, "drawn scene 3", 256)


def test_the_page_is_for_whoever_has_the_address_on_this_machine(server):
    own = f"{ADDRESS}:{server.server_port}"
    assert ask(server, "GET", "")[0] == 200
    assert ask(server, "GET", "", Host="localhost:1234", Origin="http://localhost:1234")[0] == 200  # by a tunnel
    refused = [
        ask(server, "GET", "/"),
        ask(server, "GET", "/" + "x" * len(server.token) + "/"),
        ask(server, "GET", f"/{server.token}"),
        ask(server, "GET", "", Host="evil.example"),
        ask(server, "GET", "", Host=f"evil.example:{server.server_port}"),
        ask(server, "GET", "", Host="[half"),
        ask(server, "POST", "predict?side=512&example=0", b"", Origin="http://evil.example"),
        ask(server, "POST", "predict?side=512&example=0", b"", Origin="null"),
        ask(server, "POST", "predict?side=512&example=0", b"", Origin=f"https://{own}"),
    ]
    assert [status for status, _, _ in refused] == [403] * len(refused)
    assert all(server.token.encode() not in content for _, _, content in refused)


def test_the_port_is_closed_to_other_machines(server):
    assert server.socket.getsockname()[0] == ADDRESS
    assert ADDRESS == "127.0.0.1"


def test_nothing_else_is_there(server):
    assert [ask(server, "GET", place)[0] for place in ("predict", "../", "etc/passwd", "%2e%2e/")] == [404] * 4
    assert ask(server, "POST", "")[0] == 404
    assert [ask(server, method, "")[0] for method in ("PUT", "DELETE", "OPTIONS", "HEAD")] == [501] * 4


def test_the_page_may_load_nothing_from_anywhere(server):
    status, headers, content = ask(server, "GET", "")
    policy = headers["Content-Security-Policy"]
    nonce = re.search("'nonce-([^']+)'", policy)
    assert status == 200
    assert nonce is not None
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    text = content.decode()
    assert re.findall("<script[^>]*>", text) == [f'<script nonce="{nonce[1]}">']
    assert re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"^ *//.*$", "", text, flags=re.M)) == []
    assert ask(server, "GET", "")[1]["Content-Security-Policy"] != policy
    assert headers["Server"] == "minorkey"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "side is ''; expected a whole number from 256 to 2048"),
        ("side=1e9", "side is '1e9'; expected"),
        ("side=4096", "side is '4096'; expected"),
        ("side=512&example=-1", "example is '-1'; expected a whole number from 0 to 999"),
        ("side=512&example=1000", "example is '1000'; expected"),
        ("side=512&example=0&corruption=fogg&severity=3", "unknown corruption 'fogg'; did you mean 'fog'?"),
        ("side=512&example=0&corruption=os:system&severity=3", "unknown corruption 'os:system'"),
        ("side=512&example=0&corruption=fog&severity=6", "severity is '6'; expected a whole number from 1 to 5"),
    ],
)
def test_a_query_that_is_none_is_one_line(query, said, server):
    status, answer = predicted(server, query)
    assert status == 400
    assert said in answer["error"]


def test_what_is_sent_is_bounded_and_must_be_an_image(server):
    assert predicted(server, "side=512", b"GIF89a")[0] == 400
    status, answer = predicted(server, "side=512", encoded(SCENE)[:-200])
    assert status == 400
    assert "the image: broken image" in answer["error"]
    sizes = {"": 411, "ten": 411, "-1": 411, str(LARGEST + 1): 413, "9" * 4000: 413}
    for size, status in sizes.items():
        with socket.create_connection((ADDRESS, server.server_port), timeout=30) as raw:
            head = (
                f"POST /{server.token}/predict?side=512 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
            )
            raw.sendall(head.encode())
            assert raw.makefile("rb").readline().split()[1] == str(status).encode()
    with socket.create_connection((ADDRESS, server.server_port), timeout=30) as raw:
        head = f"POST /{server.token}/predict?side=512 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nshort"
        raw.sendall(head.encode())
        raw.shutdown(socket.SHUT_WR)
        assert raw.makefile("rb").readline().split()[1] == b"400"


@pytest.fixture
def bare():
    """A server of nothing, whose answers a test gives; is closed at the end."""
    servers = []

    def start(answer) -> PageServer:
        server = PageServer(0, lambda nonce: "page", answer)
        servers.append((server, Thread(target=server.serve_forever, args=(0.05,))))
        servers[-1][1].start()
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_one_prediction_at_a_time_and_few_that_wait(bare):
    go, began, running, most, statuses = Event(), Event(), [0], [0], []

    def answer(query, body):
        running[0] += 1
        most[0] = max(most[0], running[0])
        began.set()
        go.wait(30)
        running[0] -= 1
        return {}

    server = bare(answer)
    threads = [Thread(target=lambda: statuses.append(predicted(server, "")[0])) for _ in range(WAITING + 2)]
    threads[0].start()
    began.wait(30)
    for thread in threads[1:]:
        thread.start()
    while statuses.count(503) < 2:  # the others are busy until `go`
        assert not go.wait(0.01)
    go.set()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * WAITING + [503] * 2
    assert most == [1]


def test_connections_that_say_nothing_are_few(bare):
    server = bare(lambda query, body: {})
    silent = [socket.create_connection((ADDRESS, server.server_port)) for _ in range(CONNECTIONS)]
    with socket.create_connection((ADDRESS, server.server_port), timeout=30) as one_more:
        assert one_more.recv(1) == b""
    for each in silent:
        each.close()


def test_errors_are_one_line_whoever_made_them(bare, capsys):
    errors = iter([DataError("the image: torn"), ValueError("strange"), MemoryError()])

    def answer(query, body):
        raise next(errors)

    server = bare(answer)
    assert predicted(server, "") == (400, {"error": "the image: torn"})
    status, said = predicted(server, "")
    assert (status, "ValueError: strange" in said["error"]) == (500, True)
    assert "not enough memory" in predicted(server, "")[1]["error"]
    assert capsys.readouterr().err == ""


def test_a_port_that_is_taken(server):
    with pytest.raises(StorageError, match=f"port {server.server_port} cannot be used .*; give another --port"):
        PageServer(server.server_port, lambda nonce: "", lambda query, body: {})


def test_the_command_serves_until_it_is_interrupted(finished_run, tmp_path):
    command = [sys.executable, "-m", "minorkey", "show", str(finished_run.path)]
    process = subprocess.Popen(  # in the background of a shell, the signal would be ignored
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        said = process.stdout.readline()
        address = urlsplit(said.split()[-1])
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        connection.request("GET", address.path)
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.endswith("ended\n")
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()


def test_what_the_command_cannot_show(command, finished_run, tmp_path):
    assert command("show", tmp_path)[0] == 2
    code, said = command("show", finished_run.path, "--images", tmp_path)
    assert (code, "holds no images" in said) == (2, True)
