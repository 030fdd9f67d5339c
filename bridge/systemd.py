"""Word to systemd (sd_notify): readiness and status of a unit of `Type=notify`."""

import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments such as `READY=1`; does nothing where systemd does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notification:
        notification.sendto("\n".join(assignments).encode(), address)
