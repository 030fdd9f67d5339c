"""MQTT topics: built and taken apart again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.topics import SUBSCRIPTION, parse_topic, telemetry_topic

LEVEL = st.text(min_size=1, max_size=40).filter(lambda name: not set(name) & set("/+#\0"))


@given(LEVEL.filter(str.isprintable), LEVEL.filter(str.isprintable))
def test_a_built_topic_parses_to_its_parts(site: str, device: str) -> None:
    assert parse_topic(telemetry_topic(site, device)) == (site, device)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "sensors/a/b",
        "sensors/a/b/telemetry/c",
        "sensors/a/b/status",
        "sensors//b/telemetry",
        "/sensors/a/b/telemetry",
        SUBSCRIPTION,
    ],
)
def test_another_shape_is_no_telemetry(topic: str) -> None:
    assert parse_topic(topic) is None


@pytest.mark.parametrize("name", ["", "a/b", "+", "a#", "nul\0"])
def test_a_name_that_would_change_the_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        telemetry_topic("site", name)
    with pytest.raises(ValueError, match="site"):
        telemetry_topic(name, "device")


def test_a_topic_longer_than_mqtt_allows_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 65535 bytes"):
        telemetry_topic("site", "d" * 65_536)
