"""`python -m bridge`: run the bridge with the settings in the environment."""

import logging
import signal
import sys

from bridge import log
from bridge.metrics import Metrics
from bridge.service import Service
from bridge.settings import Settings
from telemetry.settings import SettingsError, load


def main() -> int:
    """Run until SIGTERM; return the exit status: 2 if the settings are wrong."""
    log.configure()
    try:
        settings = load(Settings, "BRIDGE")
    except SettingsError as error:
        for fault in str(error).splitlines():
            log.event(logging.CRITICAL, "settings", fault=fault)
        return 2
    service = Service(settings, Metrics())
    signal.signal(signal.SIGTERM, service.stop)
    signal.signal(signal.SIGINT, service.stop)
    return service.run()


if __name__ == "__main__":
    sys.exit(main())
