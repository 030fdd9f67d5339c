"""Settings of a gateway that pulls: environment variables `PULL_<FIELD>`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pull.store import Store


@dataclass(frozen=True)
class Settings:
    """Where releases are, who may sign them, and who this gateway is.

    Attributes:
        host: its name in the inventory.
        gateway: its name in records, which also names its objects in the store.
        endpoint: the store's URL.
        ca_file: authorities that vouch for the store; empty: those that the system trusts.
        signers: file with the keys that count, `edge-telemetry KEY` per line.
        settings_password_file: file with the password of this gateway's settings in a release.
    """

    host: str
    gateway: str
    endpoint: str
    secret_key: str
    signers: str
    settings_password_file: str
    bucket: str = "gateway-releases"
    ca_file: str = ""
    folder: str = "/var/lib/edge-pull"

    @property
    def store(self) -> Store:
        """The store, as this gateway's own user."""
        user = f"pull-{self.gateway}"
        return Store(self.endpoint, self.bucket, user, self.secret_key, self.ca_file)

    @property
    def home(self) -> Path:
        """The folder with what it keeps."""
        return Path(self.folder)
