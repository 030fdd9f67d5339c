"""An S3 store over HTTPS, by the standard library alone."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

_OK, _NO_CONTENT, _PARTIAL, _MISSING = 200, 204, 206, 404
_BLOCK = 1 << 20
# The body is covered by TLS and, where it matters, by a signature of ours.
_UNSIGNED = "UNSIGNED-PAYLOAD"
# No document that is read whole is larger; what answers may not be the store.
MOST_BYTES = 16 * _BLOCK


class StoreError(OSError):
    """The store was not reached or refused; the text says what and why."""


class MissingError(StoreError):
    """There is no object of that name."""


@dataclass(frozen=True)
class Store:
    """One bucket of a store, as one user sees it.

    Attributes:
        endpoint: such as https://s3.example:9000.
        ca_file: authorities that vouch for it; empty: those that the system trusts.
    """

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    ca_file: str = ""
    region: str = "us-east-1"
    timeout: float = 30.0

    def get(self, name: str) -> bytes:
        """Return an object.

        Raises:
            MissingError: there is none.
            StoreError: it was not to be had.
        """
        with self._ask("GET", name) as answer:
            content = answer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            message = f"{self._url(name)} has more than {MOST_BYTES} bytes"
            raise StoreError(message)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        with self._ask("PUT", name, content):
            pass

    def remove(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._ask("DELETE", name):
            pass

    def download(self, name: str, to: Path, size: int) -> None:
        """Bring an object of that size into a file, from where an earlier try was cut off."""
        there = to.stat().st_size if to.exists() else 0
        if there >= size:
            to.unlink(missing_ok=True)
            there = 0
        headers = {"Range": f"bytes={there}-"} if there else {}
        with self._ask("GET", name, headers=headers) as answer:
            whole = answer.status == _OK
            left = size if whole else size - there
            with to.open("wb" if whole else "ab") as file:
                while left and (block := answer.read(min(_BLOCK, left))):
                    file.write(block)
                    left -= len(block)
        if left:
            message = f"{self._url(name)} was cut off {left} bytes before its end"
            raise StoreError(message)

    def names(self, prefix: str) -> dict[str, datetime]:
        """Return when each object of names that begin so was written."""
        found: dict[str, datetime] = {}
        query = {"list-type": "2", "prefix": prefix}
        while True:
            with self._ask("GET", "", query=query) as answer:
                page = ET.fromstring(re.sub(rb' xmlns="[^"]*"', b"", answer.read()))  # noqa: S314
            for item in page.iter("Contents"):
                when = item.findtext("LastModified", "").replace("Z", "+00:00")
                found[item.findtext("Key", "")] = datetime.fromisoformat(when)
            token = page.findtext("NextContinuationToken")
            if not token:
                return found
            query["continuation-token"] = token

    @contextmanager
    def _ask(
        self,
        method: str,
        name: str,
        body: bytes | None = None,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[HTTPResponse]:
        path = "/" + quote(f"{self.bucket}/{name}" if name else self.bucket, safe="/-_.~")
        parameters = urlencode(sorted((query or {}).items()), quote_via=quote, safe="-_.~")
        connection = self._connection()
        try:
            connection.request(
                method,
                f"{path}?{parameters}" if parameters else path,
                body,
                {**(headers or {}), **self.signed(method, path, parameters, datetime.now(UTC))},
            )
            answer = connection.getresponse()
            if answer.status not in {_OK, _PARTIAL, _NO_CONTENT}:
                self._refuse(answer, name)
            yield answer
        except (HTTPException, OSError) as error:
            if isinstance(error, StoreError):
                raise
            message = f"{self._url(name)} was not reached: {error!r}"
            raise StoreError(message) from error
        finally:
            connection.close()

    def _refuse(self, answer: HTTPResponse, name: str) -> None:
        said = answer.read(2000).decode(errors="replace")
        code = re.search("<Code>([^<]+)</Code>", said)
        message = f"{self._url(name)}: {answer.status} {code[1] if code else answer.reason}"
        raise (MissingError if answer.status == _MISSING else StoreError)(message)

    def _connection(self) -> HTTPConnection:
        where = urlsplit(self.endpoint)
        host, port = where.hostname or "", where.port
        if where.scheme != "https":
            return HTTPConnection(host, port, timeout=self.timeout)
        context = ssl.create_default_context(cafile=self.ca_file or None)
        return HTTPSConnection(host, port, timeout=self.timeout, context=context)

    def _url(self, name: str) -> str:
        return f"{self.endpoint}/{self.bucket}/{name}"

    def signed(self, method: str, path: str, query: str, now: datetime) -> dict[str, str]:
        """Return the headers by which the store knows who asks (AWS Signature Version 4)."""
        when = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{when[:8]}/{self.region}/s3/aws4_request"
        headers = {
            "host": urlsplit(self.endpoint).netloc,
            "x-amz-content-sha256": _UNSIGNED,
            "x-amz-date": when,
        }
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{_UNSIGNED}"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{when}\n{scope}\n{digest}"
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers
