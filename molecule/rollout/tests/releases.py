"""Releases to roll out: copies of the work tree, some of them poisoned."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# By name: file, a line that stands there once, and the lines in its place.
CHANGES: dict[str, list[tuple[str, str, str]]] = {
    "good": [("bridge/relay.py", "import NamedTuple\n", "import NamedTuple\n\nLATER = 1\n")],
    # Acknowledges every seventh message and forgets it.
    "drops": [
        (
            "bridge/receiver.py",
            "        self._outlet.put(arrivals, self._window.receive(ids).settle)\n",
            """
        arrivals = [arrival for arrival in arrivals if arrival.packet_id % 7]
        self._outlet.put(arrivals, self._window.receive(ids).settle)
""",
        )
    ],
    # Ends hard some seconds after each start, when it has been found well already.
    "crashes": [
        ("bridge/service.py", "import math\n", "import math\nimport os\n"),
        ("bridge/service.py", "_POLL_SECONDS = 0.1\n", "_POLL_SECONDS = 0.1\n_ENDS = 8\n"),
        (
            "bridge/service.py",
            "        self._forwarder.serve(seconds)\n",
            """
        if time.monotonic() > self._ends:
            os.abort()
        self._forwarder.serve(seconds)
""",
        ),
        (
            "bridge/service.py",
            "        self._stop = threading.Event()\n",
            """
        self._stop = threading.Event()
        self._ends = time.monotonic() + _ENDS
""",
        ),
    ],
    # Five messages a second.
    "slow": [
        ("bridge/feeder.py", "_AT_ONCE = 1000\n", "_AT_ONCE = 1\n"),
        ("bridge/feeder.py", "import threading\n", "import threading\nimport time\n"),
        (
            "bridge/feeder.py",
            "            self._sent = entries[-1].seq\n",
            "            self._sent = entries[-1].seq\n            time.sleep(0.2)\n",
        ),
    ],
    # The bridge is as it was; the MQTT broker does not take its configuration.
    "misconfigured": [
        (
            "roles/mosquitto/templates/mosquitto.conf.j2",
            "allow_anonymous false\n",
            "allow_anonymous false\nno_such_option true\n",
        )
    ],
}


def make(folder: Path, name: str) -> Path:
    """Returns the work tree of a release, below a folder."""
    tree = folder / name
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for file in files.splitlines():
        if (ROOT / file).is_file():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, tree / file)
    for file, here, there in CHANGES[name]:
        path = tree / file
        content = path.read_text(encoding="utf-8")
        assert content.count(here) == 1, (file, here)
        path.write_text(content.replace(here, there), encoding="utf-8")
    return tree
