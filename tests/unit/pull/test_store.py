"""Requests are signed as the makers of S3 sign them, and a cut download goes on."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pull.store import MissingError, Store, StoreError

CONTENT = bytes(range(256)) * 400


class Server(BaseHTTPRequestHandler):
    """Serves one object; the first answer for it is cut off in the midst."""

    cut = True

    def do_GET(self) -> None:
        if not self.path.startswith("/bucket/there"):
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<Error><Code>NoSuchKey</Code></Error>")
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT) // 2 if Server.cut else len(CONTENT)
        Server.cut = False
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def store() -> Iterator[Store]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Server.cut = True
    yield Store(f"http://127.0.0.1:{server.server_port}", "bucket", "user", "key", timeout=5)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/bucket/channel", ""),
        ("PUT", "/bucket/reports/gw-1", ""),
        ("GET", "/bucket", "list-type=2&prefix=asks%2F"),
    ],
)
def test_requests_are_signed_as_botocore_does(method: str, path: str, query: str) -> None:
    store = Store("https://s3.example:9000", "bucket", "user", "not so secret")
    now = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    url = f"{store.endpoint}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url)
    request.context["client_config"] = None
    with patch("botocore.auth.get_current_datetime", return_value=now.replace(tzinfo=None)):
        signer = S3SigV4Auth(Credentials("user", "not so secret"), "s3", "us-east-1")
        with patch.object(signer, "payload", return_value="UNSIGNED-PAYLOAD"):
            request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
            signer.add_auth(request)
    ours = store.signed(method, path, query, now)["authorization"]
    assert ours == request.headers["Authorization"]


def test_a_download_goes_on_where_it_was_cut_off(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "part"
    with pytest.raises(StoreError):
        store.download("there", file, len(CONTENT))
    assert 0 < file.stat().st_size < len(CONTENT)
    store.download("there", file, len(CONTENT))
    assert file.read_bytes() == CONTENT


def test_no_more_is_taken_than_was_signed(store: Store, tmp_path: Path) -> None:
    Server.cut = False
    store.download("there", tmp_path / "part", 1000)
    assert (tmp_path / "part").read_bytes() == CONTENT[:1000]


def test_what_is_not_there_and_who_is_not_there_are_told(store: Store) -> None:
    with pytest.raises(MissingError, match=r"bucket/gone: 404 NoSuchKey"):
        store.get("gone")
    nobody = Store("http://127.0.0.1:1", "bucket", "user", "key")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/bucket/x was not reached"):
        nobody.get("x")
