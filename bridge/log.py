"""One line per event on stderr, as `level=info event=mqtt_connected host=...` for the journal."""

import json
import logging
import sys

_log = logging.getLogger("bridge")


def configure() -> None:
    """Send the log to stderr; journald adds the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def event(level: int, name: str, **fields: object) -> None:
    """Write one event; a value with spaces or quotes is quoted as in JSON."""
    _log.log(level, "%s", line(level, name, **fields))


def line(level: int, name: str, **fields: object) -> str:
    """Return the line of an event."""
    pairs = {"level": logging.getLevelName(level).lower(), "event": name, **fields}
    return " ".join(f"{key}={_quoted(str(value))}" for key, value in pairs.items())


def _quoted(value: str) -> str:
    plain = value and all(character.isprintable() and character not in ' "=' for character in value)
    return value if plain else json.dumps(value, ensure_ascii=False)


class State:
    """Something that is well or not, told when it changes and not at every retry."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._told: tuple[str, dict[str, object]] | None = None

    def enter(self, level: int, name: str, detail: str = "", **fields: object) -> None:
        """Write the event unless it is the one written last, whatever its detail."""
        if self._told != (name, fields):
            self._told = (name, fields)
            event(level, name, **fields, **({"detail": detail} if detail else {}))
