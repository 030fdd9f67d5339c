"""`python -m bridge`: run the bridge with the settings in the environment."""

import gc
import logging
import signal
import sqlite3
import sys

from bridge import log
from bridge.metrics import Metrics
from bridge.service import Service
from bridge.settings import Settings
from bridge.tls import client_context
from telemetry.settings import SettingsError, load

# Objects that are not part of a cycle go without the collector; what is under way are some 50,000,
# through which it would look again and again: a third of all processor time.
_COLLECT_AFTER = 200_000


def main() -> int:
    """Run until SIGTERM; return the exit status: 2 if the settings are wrong."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    log.configure()
    try:
        settings = load(Settings, "BRIDGE")
        _check_authorities(settings.mqtt_ca_file)
    except SettingsError as error:
        for fault in str(error).splitlines():
            log.event(logging.CRITICAL, "settings", fault=fault)
        return 2
    try:
        service = Service(settings, Metrics())
    except (OSError, sqlite3.OperationalError) as error:
        todo = "give the bridge's user a folder it may write, on a disk with room"
        log.event(logging.CRITICAL, "spool", folder=settings.spool_dir, fault=error, todo=todo)
        return 1
    signal.signal(signal.SIGTERM, service.stop)
    signal.signal(signal.SIGINT, service.stop)
    return service.run()


def _check_authorities(file: str) -> None:
    try:
        if file:
            client_context(file)
    except OSError as error:
        message = f"BRIDGE_MQTT_CA_FILE={file} cannot be used ({error}): expected certificates, PEM"
        raise SettingsError(message) from error


if __name__ == "__main__":
    sys.exit(main())
