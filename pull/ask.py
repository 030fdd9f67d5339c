"""`python -m pull.ask`: what came of a gateway's probes, asked through the store.

The question is an object `asks/<gateway>`, the answer `answers/<gateway>`: the database is not
reached from here, and who answers (pull/arrivals.py) looks at this gateway's own figures alone.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import Any

from pull.settings import Settings
from pull.store import MissingError, Store, StoreError
from telemetry.settings import load

# An uplink may be away for a while; readings are held meanwhile.
PATIENCE_SECONDS = 900.0
_EVERY_SECONDS = 3.0


def ask(store: Store, gateway: str, asked: list[Any], arrival_seconds: float) -> dict[str, Any]:
    """Return the answer once all probes arrived, or what it is after that many seconds.

    Raises:
        StoreError: there was none for `PATIENCE_SECONDS`.
    """
    nonce = uuid.uuid4().hex
    question = json.dumps({"nonce": nonce, "asked": asked}).encode()
    began, first = time.monotonic(), None
    trouble = "who answers, edge-arrivals on the database's host, says nothing"
    while True:
        try:
            # Again each time, so that it is seen to be still asked.
            store.put(f"asks/{gateway}", question)
            answer: dict[str, Any] = json.loads(store.get(f"answers/{gateway}"))
        except MissingError:
            answer = {}
        except StoreError as error:
            answer, trouble = {}, str(error)
        now = time.monotonic()
        if answer.get("nonce") == nonce:
            first = first or now
            if answer["all_arrived"] or now - first > arrival_seconds:
                return answer
        if first is None and now - began > PATIENCE_SECONDS:
            message = f"no answer in {PATIENCE_SECONDS:.0f} s: {trouble}"
            raise StoreError(message)
        time.sleep(_EVERY_SECONDS)


def main() -> int:
    """The question comes as JSON on standard input: `asked` and `arrival_seconds`."""
    settings = load(Settings, "PULL")
    question = json.load(sys.stdin)
    try:
        answer = ask(
            settings.store, settings.gateway, question["asked"], question["arrival_seconds"]
        )
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
