"""Signatures of OpenSSH, by the program that each host has; the format is a text and its armour."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pull.channel import NAMESPACE, ChannelError

# Who signs, as the file of allowed signers names it.
SIGNER = "edge-telemetry"
_ARMOUR = b"-----BEGIN SSH SIGNATURE-----"


def sign(text: bytes, key: Path) -> bytes:
    """Return the text with its signature behind it.

    Raises:
        ChannelError: ssh-keygen could not sign.
    """
    command = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE]
    done = subprocess.run(command, input=text, check=False, capture_output=True)
    if done.returncode:
        message = f"signing with {key}: {done.stderr.decode(errors='replace').strip()}"
        raise ChannelError(message)
    return text + done.stdout


def verified(document: bytes, signers: Path) -> bytes:
    """Return a document's text if one of the signers signed it.

    Raises:
        ChannelError: nobody did.
    """
    text, armour, signature = document.partition(_ARMOUR)
    command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", SIGNER, "-n", NAMESPACE]
    with tempfile.NamedTemporaryFile() as file:
        file.write(armour + signature)
        file.flush()
        done = subprocess.run(
            [*command, "-s", file.name], input=text, check=False, capture_output=True
        )
    if done.returncode:
        said = (done.stderr + done.stdout).decode(errors="replace").strip()
        message = f"nobody in {signers} signed the channel: {said}"
        raise ChannelError(message)
    return text
