"""What the runbooks name exists: playbooks, variables, metrics, columns, pages."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bridge.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
# Where a name in them may come from.
SOURCES = [
    *(ROOT / "roles").glob("*/defaults/main.yml"),
    *(ROOT / "roles").glob("*/vars/main.yml"),
    *(ROOT / "playbooks" / "vars").glob("*.yml"),
    ROOT / "tests" / "grafana" / "metrics.txt",
    ROOT / "sql" / "schema.sql",
]
KNOWN = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)))
REGISTRY = CollectorRegistry()
Metrics(REGISTRY)
# The gauges alone: counters are written with an ending, as a scrape has them.
KNOWN |= {metric.name for metric in REGISTRY.collect() if metric.type == "gauge"}


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.name)
def test_what_it_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for playbook in re.findall(r"playbooks/\w+\.yml", text):
        assert (ROOT / playbook).is_file(), playbook
    for name in re.findall(r"`(\w+_\w+)`", text):
        assert name in KNOWN, name
    for page, section in re.findall(r"\]\(([\w.]*)#(\w+)\)", text):
        other = (path.parent / page if page else path).read_text(encoding="utf-8")
        assert section in [title.lower() for title in re.findall(r"(?m)^## (.+)$", other)]


def test_alerts_send_nobody_to_a_playbook_that_is_not_there() -> None:
    for path in (ROOT / "roles" / "monitoring" / "files" / "rules").glob("*.yml"):
        for playbook in re.findall(r"playbooks/\w+\.yml", path.read_text(encoding="utf-8")):
            assert (ROOT / playbook).is_file(), playbook
