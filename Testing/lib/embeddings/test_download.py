"""A file from the network is whole and right, or it is not there; a server of this computer stands in for the hub."""

import hashlib
import http.server
import threading
from dataclasses import replace

import pytest

from SemiSegLib.embeddings.download import RemoteFile, fetch, is_there
from SemiSegLib.errors import RunError

CONTENT = bytes(range(256)) * 9000
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers by the path: /good, /moved, /short, /long, /missing, /silent."""

    etag = ""
    asked: list

    def do_GET(self):
        type(self).asked.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        if self.path == "/silent":
            type(self).quiet.wait(5)
            return
        body = {"/long": CONTENT + b"more", "/other": CONTENT[::-1]}.get(self.path, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.etag:
            self.send_header("ETag", self.etag)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    handler = type("OneHub", (Hub,), {"asked": [], "quiet": threading.Event()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.base = f"http://127.0.0.1:{server.server_port}"
    yield handler
    handler.quiet.set()
    server.shutdown()
    server.server_close()
    thread.join()


def remote(hub, path="/good", *, size=SIZE, sha256=SHA256):
    return RemoteFile(name="weights.bin", url=f"{hub.base}{path}", size_bytes=size, sha256=sha256)


def test_a_file_is_fetched_once_told_of_and_checked(hub, tmp_path):
    told = []
    folder = tmp_path / "a" / "b"
    file = remote(hub, "/moved")
    assert not is_there(file, folder)
    path = fetch(file, folder, on_progress=lambda *numbers: told.append(numbers))
    assert path.read_bytes() == CONTENT
    assert is_there(file, folder)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) > 1
    assert fetch(file, folder) == path
    assert hub.asked == ["/moved", "/good"]


def test_a_file_that_was_damaged_on_disk_is_fetched_again(hub, tmp_path):
    path = fetch(remote(hub), tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert fetch(remote(hub), tmp_path).read_bytes() == CONTENT
    assert len(hub.asked) == 2


@pytest.mark.parametrize(
    ("path", "words"),
    [("/missing", "404"), ("/short", "ended early"), ("/long", "bytes came"), ("/other", "checksum")],
)
def test_nothing_is_left_of_a_download_that_failed(hub, tmp_path, path, words):
    with pytest.raises(RunError, match=words) as caught:
        fetch(remote(hub, path), tmp_path, instead="choose the embedding learned")
    assert "choose the embedding learned" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_when_a_new_one_cannot_be_had(hub, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"old")
    with pytest.raises(RunError):
        fetch(remote(hub, "/missing"), tmp_path)
    assert (tmp_path / "weights.bin").read_bytes() == b"old"


def test_a_silent_server_and_no_server_end_with_a_message(hub, tmp_path):
    with pytest.raises(RunError, match="timed out"):
        fetch(remote(hub, "/silent"), tmp_path, timeout_seconds=0.2)
    nobody = replace(remote(hub), url="http://127.0.0.1:1/weights.bin")
    with pytest.raises(RunError, match="offline"):
        fetch(nobody, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_whoever_is_told_can_end_it_and_nothing_is_left(hub, tmp_path):
    class Enough(Exception):
        pass

    def stop(*_):
        raise Enough

    with pytest.raises(Enough):
        fetch(remote(hub), tmp_path, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("etag", [f'"{SHA256}"', f'W/"{BLOB.upper()}"'])
def test_without_a_known_checksum_the_mark_of_the_server_counts(hub, tmp_path, etag):
    hub.etag = etag
    good, other = (remote(hub, path, size=None, sha256=None) for path in ("/good", "/other"))
    assert fetch(good, tmp_path / "good").read_bytes() == CONTENT
    with pytest.raises(RunError, match="checksum"):
        fetch(other, tmp_path / "other")


def test_without_any_checksum_nothing_is_taken(hub, tmp_path):
    with pytest.raises(RunError, match="states no checksum"):
        fetch(remote(hub, size=None, sha256=None), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_https_is_asked_beyond_this_computer(tmp_path):
    file = RemoteFile(name="x", url="http://example.org/x", size_bytes=1, sha256=SHA256)
    with pytest.raises(RunError, match="https"):
        fetch(file, tmp_path)
