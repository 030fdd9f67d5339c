"""The channel: the one signed document that says which release gateways are to have.

It names each file of the release with its SHA-256, so whoever signed it signed all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

# A signature for another purpose does not count.
NAMESPACE = "edge-telemetry-channel"
_PLACES = 10_000


class ChannelError(ValueError):
    """A channel must not be followed; the text says why."""


@dataclass(frozen=True)
class File:
    """A file of a release: its SHA-256, in hexadecimal, and its bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Channel:
    """What gateways are to have.

    Attributes:
        sequence: when it was published, in Unix seconds; a gateway takes no earlier one.
        version: name of the release, for people; who takes it first follows from it.
        percent: of the gateways that take it now.
        retry: a gateway on which the release failed under an earlier sequence tries once more.
        files: of the release, by name: `project.tar`, `artifacts/…`, `hosts/<gateway>.yml`.
    """

    sequence: int
    version: str
    percent: float
    retry: int
    files: dict[str, File]

    @classmethod
    def parse(cls, text: bytes) -> Channel:
        """Read a channel whose signature was found good.

        Raises:
            ChannelError: it is none.
        """
        try:
            said = json.loads(text)
            files = {n: File(f["sha256"], f["size"]) for n, f in said["files"].items()}
            return cls(**{**_own(cls, said), "files": files})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"the channel is not one that this program knows ({error!r}): publish it anew"
            raise ChannelError(message) from error

    def text(self) -> bytes:
        """Return the document."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    def of(self, gateway: str, arch: str, python: str) -> dict[str, File]:
        """Return the files of one gateway.

        Args:
            gateway: its name.
            arch: its processor as Debian calls it.
            python: its Python, such as 3.13.

        Raises:
            ChannelError: the release has none for it.
        """
        mine = f"hosts/{gateway}.yml"
        built = f"-py{python}-{arch}.tar"
        found = {
            name: file
            for name, file in self.files.items()
            if name in {"project.tar", mine} or name.endswith((built, "-any.tar"))
        }
        if mine not in found:
            message = f"release {self.version} does not know {gateway}: is it in group `pulled`?"
            raise ChannelError(message)
        if not any(name.endswith(built) for name in found):
            message = f"release {self.version} has nothing for Python {python} on {arch}: name "
            raise ChannelError(message + "them in edge_publish_for")
        return found


def _own(cls: type, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a class knows: a later publisher may say more, and must be followed."""
    names = {each.name for each in fields(cls)}
    return {name: value for name, value in said.items() if name in names}


def key(name: str, file: File) -> str:
    """Return the name in the store of a file of a release.

    What is for one gateway is where that gateway alone may read.
    """
    folder = name.removesuffix(".yml") if name.startswith("hosts/") else "files"
    return f"{folder}/{file.sha256}"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(files: Mapping[str, File]) -> str:
    """Return a short name for these files: the same files, the same name."""
    listed = json.dumps({name: file.sha256 for name, file in files.items()}, sort_keys=True)
    return hashlib.sha256(listed.encode()).hexdigest()[:12]


def place(gateway: str, seed: str) -> float:
    """Return a gateway's place among all, from 0 to 100: those below a percentage come first."""
    number = int.from_bytes(hashlib.sha256(f"{seed}\0{gateway}".encode()).digest()[:8], "big")
    return number % _PLACES * 100 / _PLACES


@dataclass
class Known:
    """What a gateway remembers.

    Attributes:
        sequence: the newest that it has seen, and the SHA-256 of that channel.
        version: name of the release that it has, and the digest of its files.
        failed: digests of releases that failed here, with the sequence under which they did.
        reason: why the last one of them did.
        book: of the last release that was tried, for the reports to come.
    """

    sequence: int = 0
    channel: str = ""
    version: str = ""
    release: str = ""
    failed: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    book: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Known:
        """Read what `asdict` made."""
        return cls(**_own(cls, said))

    def follow(self, channel: Channel, text: bytes) -> None:
        """Remember a channel as the newest.

        Raises:
            ChannelError: a newer one was seen, or another one of the same number.
        """
        sha256 = hashlib.sha256(text).hexdigest()
        if channel.sequence < self.sequence:
            message = (
                f"the channel has sequence {channel.sequence} and {self.sequence} was seen before: "
                "someone put an old one back, or the publisher's clock went back"
            )
            raise ChannelError(message)
        if channel.sequence == self.sequence and sha256 != self.channel:
            message = f"two channels have sequence {channel.sequence}: publish anew"
            raise ChannelError(message)
        self.sequence, self.channel = channel.sequence, sha256


def decide(channel: Channel, known: Known, gateway: str, release: str) -> tuple[str, str]:
    """Return what a gateway does about a channel that it follows, and why.

    The first is `current`, `failed` (before; it waits for another release), `waiting` (its turn
    comes later) or `take`.
    """
    if release == known.release:
        return "current", ""
    failed = known.failed.get(release)
    if failed is not None and failed >= channel.retry:
        return "failed", f"it waits for another release; this one failed: {known.reason}"
    mine = place(gateway, channel.version)
    if mine >= channel.percent:
        return "waiting", f"its place is {mine:.2f}, and {channel.percent:g} percent are asked now"
    return "take", ""


def reasons(book: Mapping[str, Any], host: str) -> Iterator[str]:
    """Yield why a release failed, as the rollout's book on the gateway says it."""
    told = book.get("gateways", {}).get(host, {})
    if told.get("why"):
        yield str(told["why"])
    for gate in told.get("failing", []):
        yield f"gate {gate['gate']}: {gate['text']}"
