"""Writes labels for who installs devices, each with a QR code: `make labels`.

One page for each gateway, beside the list of accounts that `playbooks/devices.yml` wrote: both are
in `.secrets/devices` of the inventory. It reaches no host. What a code holds: docs/enroll.md.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import segno
from jinja2 import Environment
from markupsafe import Markup

ROOT = Path(__file__).resolve().parent.parent
PLAYBOOK = "playbooks/devices.yml"
NEEDED = ("device", "site", "topic", "host", "port", "username")  # in each line of a list
PROOFS = ("password", "fingerprint")  # one of them
HIGHEST_PORT = 65535
# Codes of 36 mm: with 120 characters a module is 0.7 mm, which telephones read at arm's length.
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Devices of {{ gateway }}</title>
<style>
@page { margin: 10mm }
body { font: 3.2mm/1.35 sans-serif; margin: 0; color: #000; background: #fff }
main { display: grid; grid-template-columns: repeat(2, 92mm); gap: 2mm }
section { display: flex; gap: 2mm; padding: 2mm; border: .2mm dashed #888; break-inside: avoid }
svg { width: 36mm; height: 36mm; flex: none }
div { overflow-wrap: anywhere; min-width: 0 }
h2 { font-size: 4.5mm; margin: 0 0 1mm }
p { margin: 0 }
small { font-size: 2.4mm }
</style>
<p>Gateway {{ gateway }}: {{ accounts | length }} devices.
Whoever has a label with a password has the password.</p>
<main>
{% for account in accounts %}
<section>{{ code(account) }}<div><h2>{{ account.device }}</h2>
<p>{{ account.site }}</p>
<p>{{ account.host }} : {{ account.port }}</p>
<p>{{ account.topic }}</p>
<p>user and client id: {{ account.username }}</p>
{% if account.password %}<p>password: in the code</p>
{% else %}<p><small>certificate, SHA-256: {{ account.fingerprint }}</small></p>
{% endif %}</div></section>
{% endfor %}
</main>
</html>
"""


class LabelError(ValueError):
    """What is wrong, where, and what to do."""


@dataclass(frozen=True)
class Account:
    """How one device comes in: decision 22."""

    device: str
    site: str
    topic: str
    host: str
    port: int
    username: str  # also the session's id
    password: str  # empty for one that has a certificate
    fingerprint: str  # SHA-256 of the certificate; empty for one that has a password

    @property
    def uri(self) -> str:
        """What the code holds: mqtts://user:password@host:port/topic, without what is not there."""
        user = quote(self.username, safe="")
        if self.password:
            user += ":" + quote(self.password, safe="")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtts://{user}@{host}:{self.port}/{quote(self.topic)}"


def account(line: dict[str, str], where: str) -> Account:
    """One line of a list.

    Raises:
        LabelError: something is missing or is no port.
    """
    missing = [name for name in NEEDED if not line[name]]
    if not missing and not any(line[name] for name in PROOFS):
        missing = [" or ".join(PROOFS)]
    if missing:
        message = f"{where} has no {', '.join(missing)}: run {PLAYBOOK}, which writes the list anew"
        raise LabelError(message)
    port = line["port"]
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= HIGHEST_PORT):
        message = f"{where} has the port {port!r}: run {PLAYBOOK}, which writes the list anew"
        raise LabelError(message)
    texts = {name: line[name] for name in (*NEEDED, *PROOFS) if name != "port"}
    return Account(port=int(port), **texts)


def accounts(path: Path) -> list[Account]:
    """The accounts in a list; a `'` that keeps a cell from being a formula is taken away.

    Raises:
        LabelError: it is not such a list.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{path} cannot be read ({error}): run {PLAYBOOK}, which writes it anew"
        raise LabelError(message) from error
    head = rows[0] if rows else []
    if lost := [name for name in (*NEEDED, *PROOFS) if name not in head]:
        message = f"{path} has no column {', '.join(lost)}: run {PLAYBOOK}, which writes it anew"
        raise LabelError(message)
    found = []
    for number, row in enumerate(rows[1:], start=1):
        where = f"{path}: device {number}"
        if len(row) != len(head):
            message = f"{where} has {len(row)} cells and not {len(head)}: run {PLAYBOOK}"
            raise LabelError(message)
        cells = (cell.removeprefix("'") for cell in row)
        found.append(account(dict(zip(head, cells, strict=True)), where))
    return found


def code(shown: Account) -> Markup:
    """The QR code as SVG, of which level M stands 15 % of it being lost.

    Raises:
        LabelError: there is more to say than a code holds.
    """
    try:
        made = segno.make(shown.uri, error="m", micro=False)
    except segno.DataOverflowError as error:
        message = (
            f"device {shown.device[:40]!r}...: address, topic and password have {len(shown.uri)} "
            "characters, more than a QR code holds: shorten them in the inventory"
        )
        raise LabelError(message) from error
    # Drawn by segno out of numbers alone.
    return Markup(made.svg_inline(omitsize=True))  # noqa: S704


def page(gateway: str, shown: list[Account]) -> str:
    """The page of a gateway's labels, which opens and prints without a network."""
    template = Environment(autoescape=True, trim_blocks=True).from_string(PAGE)
    return template.render(gateway=gateway, accounts=shown, code=code)


def write(path: Path, text: str) -> None:
    """Puts a file in place that its owner alone reads, whatever was there before."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


def lists(inventory: Path, gateways: list[str]) -> list[Path]:
    """The lists of these gateways, or of all.

    Raises:
        LabelError: there is none for one that was named, or none at all.
    """
    folder = (inventory if inventory.is_dir() else inventory.parent) / ".secrets" / "devices"
    found = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    if not found:
        message = (
            f"{folder} has no list of accounts: run `ansible-playbook -i {inventory} {PLAYBOOK}` "
            "first; without TLS (edge_tls: false) devices have no accounts of their own"
        )
        raise LabelError(message)
    if unknown := [name for name in gateways if name not in found]:
        message = (
            f"{folder} has no list of {', '.join(unknown)}, only of {', '.join(found)}: "
            f"name one of these, or run {PLAYBOOK} for it first"
        )
        raise LabelError(message)
    return [found[name] for name in gateways or found]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.labels", description=__doc__)
    default = ROOT / "inventories" / "demo"
    parser.add_argument("-i", "--inventory", type=Path, default=default, help="(inventories/demo)")
    parser.add_argument("gateways", nargs="*", help="names of gateways; without one all")
    options = parser.parse_args()
    try:
        for path in lists(options.inventory, options.gateways):
            shown = accounts(path)
            to = path.with_suffix(".html")
            write(to, page(path.stem, shown))
            print(f"{os.path.relpath(to)}: {len(shown)} labels")
    except (LabelError, OSError) as error:
        sys.exit(f"labels: {error}")


if __name__ == "__main__":
    main()
