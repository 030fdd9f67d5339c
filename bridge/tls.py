"""TLS over a socket, with all that came decrypted in one go.

Mosquitto sends each message as a record of its own, for which an SSLSocket takes two system calls
and some 4 µs; from memory it is a third of that.
"""

import contextlib
import socket
import ssl

_CHUNK = 64 * 1024


def client_context(ca_file: str) -> ssl.SSLContext:
    """Return what a client needs to trust the authorities in a file, and no others.

    Raises:
        OSError: the file is not there, or holds none.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class TlsSocket:
    """The part of a socket's methods that a connection needs; for one thread at a time."""

    def __init__(self, line: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Shake hands.

        Raises:
            OSError: the other side is gone, or nobody vouches for it.
        """
        self._line = line
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._take()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # it is told why
                raise
            else:
                self._flush()
                return

    def fileno(self) -> int:
        """Return what `select` asks for."""
        return self._line.fileno()

    def settimeout(self, seconds: float) -> None:
        """Set how long the socket waits."""
        self._line.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """Send."""
        self._tls.write(data)
        self._flush()

    def recv(self, size: int) -> bytes:
        """Wait until there is something, and return it; nothing if the other side has closed."""
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._take()
            except ssl.SSLEOFError:
                return b""

    def drain(self, *, ready: bool) -> bytes:
        """Return all that came, nothing if that was no data; `ready`: the socket can be read.

        Raises:
            OSError: the other side has closed.
        """
        if ready:
            self._take()
        parts: list[bytes] = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while part := self._tls.read(_CHUNK):
                parts.append(part)
        self._flush()  # TLS may have something to answer
        return b"".join(parts)

    def close(self) -> None:
        """Say so, and close the socket."""
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._flush()
        self._line.close()

    def _take(self) -> None:
        data = self._line.recv(_CHUNK)
        if not data:
            message = "the other side closed the connection"
            raise ConnectionResetError(message)
        self._incoming.write(data)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._line.sendall(self._outgoing.read())
