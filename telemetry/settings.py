"""Settings: one frozen dataclass per program, filled from environment variables once."""

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings")

_SECRET_ENDINGS = ("password", "secret", "secret_key", "access_key", "token")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class SettingsError(ValueError):
    """One or more variables are missing or wrong; the text has a line for each."""


@dataclass(frozen=True)
class Between:
    """Limits of a number, both included: `Annotated[int, Between(1, 65535)]`."""

    low: float
    high: float


Port = Annotated[int, Between(1, 65_535)]


def load(cls: type[Settings], prefix: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Build `cls`, a dataclass, from the variables `<PREFIX>_<FIELD>`.

    Fields are str, int, float, bool, a Literal of words or tuple[str, ...] (separated by commas); a
    variable that is empty counts as not set. A secret (a field whose name ends in password, secret,
    token, secret_key or access_key) may also stand in a file named by `<PREFIX>_<FIELD>_FILE`.

    Raises:
        SettingsError: names every variable at fault, its value unless secret, and what is wanted.
    """
    hints = get_type_hints(cls, include_extras=True)
    values: dict[str, object] = {}
    faults: list[str] = []
    for field in fields(cls):  # type: ignore[arg-type]
        variable = f"{prefix}_{field.name}".upper()
        try:
            text = _text(variable, environ, secret=_is_secret(field.name))
            if text is not None:
                values[field.name] = _convert(variable, text, hints[field.name], field.name)
        except SettingsError as fault:
            faults.append(str(fault))
        else:
            if text is None and _is_required(field):
                wanted, _ = _reader(hints[field.name])
                faults.append(f"{variable} is not set: expected {wanted}")
    if faults:
        raise SettingsError("\n".join(faults))
    return cls(**values)


def _text(variable: str, environ: Mapping[str, str], *, secret: bool) -> str | None:
    text = environ.get(variable) or None
    path = environ.get(f"{variable}_FILE") if secret else None
    if not path:
        return text
    if text is not None:
        message = f"{variable} and {variable}_FILE are both set: expected one of them"
        raise SettingsError(message)
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        message = f"{variable}_FILE={path} cannot be read ({reason}): expected a readable file"
        raise SettingsError(message) from error
    if not text:
        message = f"{variable}_FILE={path} is empty: expected the secret in it"
        raise SettingsError(message)
    return text


def _convert(variable: str, text: str, hint: Any, name: str) -> object:  # noqa: ANN401
    wanted, read = _reader(hint)
    try:
        return read(text)
    except ValueError:
        shown = "(hidden)" if _is_secret(name) else repr(text)
        message = f"{variable}={shown}: expected {wanted}"
        # The cause would repeat the value, which may be a secret.
        raise SettingsError(message) from None


def _reader(hint: Any) -> tuple[str, Callable[[str], object]]:  # noqa: ANN401
    """Return what a type wants, in words, and the function that reads it."""
    limits = next((extra for extra in get_args(hint) if isinstance(extra, Between)), None)
    if limits is not None:
        wanted, read = _reader(get_args(hint)[0])
        return (
            f"{wanted} from {limits.low} to {limits.high}",
            lambda text: _within(read(text), limits),
        )
    if get_origin(hint) is Literal:
        words = get_args(hint)
        return f"one of {', '.join(words)}", lambda text: _one_of(text, words)
    readers: dict[Any, tuple[str, Callable[[str], object]]] = {
        str: ("a text", str),
        int: ("a whole number", int),
        float: ("a number", float),
        bool: ("true or false", _boolean),
        tuple[str, ...]: ("a list separated by commas", _parts),
    }
    if hint not in readers:
        message = f"settings cannot be of type {hint}"
        raise TypeError(message)
    return readers[hint]


def _within(value: Any, limits: Between) -> object:  # noqa: ANN401
    if not limits.low <= value <= limits.high:
        raise ValueError
    return value


def _one_of(text: str, words: tuple[str, ...]) -> str:
    if text not in words:
        raise ValueError
    return text


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_secret(name: str) -> bool:
    return name.endswith(_SECRET_ENDINGS)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
