"""Requests for certificates of this gateway that end soon: its keys never leave it.

The report carries them; who publishes signs, and the next release brings what was signed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDER = Path("/etc/edge-telemetry/tls")
# As role tls_certificate renews; the publisher has this time to sign.
_RENEW_SECONDS = 30 * 86_400


def requests(folder: Path = FOLDER) -> dict[str, str]:
    """Return a request for each certificate that ends within 30 days, by its folder's name."""
    found: dict[str, str] = {}
    for key in sorted(folder.glob("*/key.pem")):
        certificate = key.with_name("certificate.pem")
        ends = ["openssl", "x509", "-noout", "-checkend", str(_RENEW_SECONDS), "-in"]
        if not certificate.exists() or not _run([*ends, str(certificate)]).returncode:
            continue
        made = _run(["openssl", "req", "-new", "-key", str(key), "-subj", f"/CN={key.parent.name}"])
        if not made.returncode:
            found[key.parent.name] = made.stdout
    return found


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)
