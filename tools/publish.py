"""`python -m tools.publish FILE`: publishes a release for gateways that pull theirs.

FILE is JSON from playbooks/publish.yml: the store, and of each gateway its settings, the password
by which they are encrypted, and the authorities of its certificates. Objects are named by their
SHA-256, so that only what is new is sent; the signed channel, which names them, comes last.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pull.channel import Channel, ChannelError, File, digest, key, place
from pull.signature import sign
from pull.store import MissingError, Store, StoreError
from tools.artifacts import fetch
from tools.bundle import PYTHON, BundleError, project
from tools.sbom import HOSTS
from tools.status import age, table

# Where files that a setting names by their place on the controller are on a gateway.
_PLACE = "/var/lib/edge-pull/clients"
_RENEW = timedelta(days=45)
_WRONG = frozenset({"back", "stuck"})


class PublishError(Exception):
    """It must not or cannot be published; the text says why and what to do."""


@dataclass(frozen=True)
class Content:
    """A file of a release, here: on the disk or in memory."""

    data: bytes | Path

    @property
    def file(self) -> File:
        """Its sum and size."""
        content = self.bytes()
        return File(hashlib.sha256(content).hexdigest(), len(content))

    def bytes(self) -> bytes:
        """All of it."""
        return self.data if isinstance(self.data, bytes) else self.data.read_bytes()


def sealed(settings: Mapping[str, Any], password: str) -> bytes:
    """Return settings as Ansible's vault; the same settings give the same bytes.

    Key and counter follow from the salt, so it has to be another one for each text; one that is
    made of password and text is, and tells nothing of them.
    """
    text = yaml.safe_dump(dict(settings), sort_keys=True, allow_unicode=True).encode()
    salt = hmac.digest(password.encode(), text, "sha256").hex()
    vault = VaultLib([("default", VaultSecret(password.encode()))])
    return bytes(vault.encrypt(text, salt=salt))


def whole(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the files of the controller that they name, as texts.

    Raises:
        PublishError: one is missing. Without it the broker might let in who was revoked.
    """
    files: dict[str, str] = {}
    listeners = []
    for listener in settings["mosquitto_listeners"]:
        moved = dict(listener)
        for what in sorted({"clients", "revoked"} & set(listener)):
            name, path = f"{listener['port']}.{what}", Path(listener[what])
            moved[what] = f"{_PLACE}/{name}"
            # Of one that is switched off there may be none.
            if not listener.get("enabled", True):
                continue
            if not path.exists():
                message = f"{path} of mosquitto_listeners is missing: site.yml makes it"
                raise PublishError(message)
            files[name] = path.read_text(encoding="utf-8")
        listeners.append(moved)
    return {**settings, "mosquitto_listeners": listeners, "pulled_files": files}


def renewed(path: Path, authority: Path, now: datetime) -> str:
    """Return the certificate of a key that stays on a gateway, signed anew if it ends soon.

    Args:
        path: the newest one, which is written over then.
        authority: path of the authority's files without `.crt` and `.key`.
        now: the time.
    """
    old = x509.load_pem_x509_certificate(path.read_bytes())
    issuer = x509.load_pem_x509_certificate(Path(f"{authority}.crt").read_bytes())
    if old.not_valid_after_utc - now > _RENEW and old.issuer == issuer.subject:
        return path.read_text(encoding="utf-8")
    lasted = old.not_valid_after_utc - old.not_valid_before_utc
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(issuer.subject)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lasted)
    )
    for extension in old.extensions:
        # What names the authority's key is of the one before.
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    signer = load_pem_private_key(Path(f"{authority}.key").read_bytes(), password=None)
    made = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path.read_text(encoding="utf-8")


def certificates(
    gateway: str, authorities: Mapping[str, list[str]], folder: Path, signers: Path
) -> dict[str, dict[str, str]]:
    """Return what role tls_certificate takes as given.

    Raises:
        PublishError: a certificate was never fetched.
    """
    found = {}
    for name, listed in authorities.items():
        path = folder / f"{gateway}.{name}.crt"
        if not path.exists():
            message = f"{path} is missing: install {gateway} by site.yml or enroll.yml first"
            raise PublishError(message)
        trusted = [(signers / f"{each}.crt").read_text(encoding="utf-8") for each in listed]
        certificate = renewed(path, signers / listed[0], datetime.now(UTC))
        found[name] = {"certificate": certificate, "authorities": "".join(trusted)}
    return found


def gather(asked: Mapping[str, Any], work: Path) -> Iterator[tuple[str, Content]]:
    """Yield the files of a release by their names."""
    project(work / "project.tar")
    yield "project.tar", Content(work / "project.tar")
    for target in asked["targets"]:
        for found in fetch(HOSTS["gateway"], target["arch"], PYTHON[target["release"]]).values():
            archive = Path(found["archive"])
            yield f"artifacts/{archive.name}", Content(archive)
    folder, signers = Path(asked["folder"]), Path(asked["authority_folder"])
    for gateway, told in asked["gateways"].items():
        given = certificates(gateway, told["authorities"], folder, signers)
        settings = whole({**told["settings"], "tls_certificate_given": given})
        yield f"hosts/{gateway}.yml", Content(sealed(settings, told["password"]))


def reports(store: Store) -> dict[str, dict[str, Any]]:
    """Return what each gateway reported last."""
    names = store.names("reports/")
    return {name.removeprefix("reports/"): json.loads(store.get(name)) for name in names}


def current(store: Store) -> Channel | None:
    """Return what is published now, for its numbers; gateways alone look at its signature."""
    try:
        return Channel.parse(store.get("channel").partition(b"-----BEGIN")[0])
    except MissingError:
        return None


def refuse_more(
    channel: Channel, before: Channel | None, told: Mapping[str, Mapping[str, Any]]
) -> None:
    """See that no further gateways take what failed on the first ones.

    Raises:
        PublishError: they would.
    """
    if before is None or before.version != channel.version or channel.percent <= before.percent:
        return
    wrong = [
        f"{name}: {report['state']} ({report['why']})"
        for name, report in sorted(told.items())
        if report["state"] in _WRONG | {"failed"} and report.get("wanted") == channel.version
    ]
    if wrong:
        message = f"release {channel.version} failed on {len(wrong)} gateways, so no more get it "
        raise PublishError(message + "(publish_force=true: all the same):\n" + "\n".join(wrong))


def publish(asked: Mapping[str, Any], options: argparse.Namespace) -> Iterator[str]:
    """Publish, and yield what was done."""
    store = Store(**asked["store"])
    before = current(store)
    with tempfile.TemporaryDirectory() as work:
        contents = dict(gather(asked, Path(work)))
        files = {name: content.file for name, content in contents.items()}
        version = digest(files)
        sequence = int(time.time())
        channel = Channel(
            sequence,
            version,
            options.percent,
            retry=sequence if options.retry else 0,
            files=files,
        )
        if before and before.sequence >= sequence:
            message = f"sequence {before.sequence} is published, and this clock says {sequence}: "
            raise PublishError(message + "set it right")
        if not options.force:
            refuse_more(channel, before, reports(store))
        wanted = {key(name, files[name]): content for name, content in contents.items()}
        there = {*store.names("files/"), *store.names("hosts/")}
        for name in sorted(wanted.keys() - there):
            store.put(name, wanted[name].bytes())
        store.put("channel", sign(channel.text(), options.key))
        # A gateway that is in the midst of them looks again and takes the new ones.
        for name in sorted(there - wanted.keys()):
            store.remove(name)
    sent = len(wanted.keys() - there)
    yield f"release {version}, sequence {sequence}: {sent} of {len(wanted)} files were new"
    now = [name for name in asked["gateways"] if place(name, version) < options.percent]
    yield f"{len(now)} of {len(asked['gateways'])} gateways take it: {', '.join(now)}"


def status(asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table of the reports."""
    store = Store(**asked["store"])
    channel, told = current(store), reports(store)
    if channel:
        yield f"release {channel.version} is published for {channel.percent:g} percent"
    rows: list[tuple[str, ...]] = []
    for gateway in asked["gateways"]:
        report = told.get(gateway, {"state": "never reported", "why": ""})
        seconds = time.time() - report["at"] if "at" in report else None
        rows.append(
            (gateway, report["state"], report.get("version", ""), age(seconds), report["why"])
        )
    yield from table(("gateway", "state", "has", "reported", "why"), rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.publish")
    parser.add_argument("file", type=Path)
    parser.add_argument("--reports", action="store_true", help="only show what gateways reported")
    parser.add_argument("--key", type=Path, help="private SSH key that signs")
    parser.add_argument("--percent", type=float, default=100.0, help="of the gateways")
    parser.add_argument("--retry", action="store_true", help="where it failed, try once more")
    parser.add_argument("--force", action="store_true", help="to more, although it failed")
    options = parser.parse_args()
    asked = json.loads(options.file.read_text(encoding="utf-8"))
    try:
        for line in status(asked) if options.reports else publish(asked, options):
            print(line)
    except (PublishError, ChannelError, StoreError, BundleError) as error:
        sys.exit(f"publish: {error}")


if __name__ == "__main__":
    main()
