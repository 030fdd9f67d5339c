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
        "sensors/a/b/telemetry/",
        "sensors/a/b/telemetry\n",
        "Sensors/a/b/telemetry",
        "$SYS/a/b/telemetry",
        "sensors/a/nul\0/telemetry",
        "sensors/a/#/telemetry",
        "/" * 65_535,
        SUBSCRIPTION,
    ],
)
def test_another_shape_is_no_telemetry(topic: str) -> None:
    assert parse_topic(topic) is None


@given(
    st.one_of(st.text(), st.lists(st.text(max_size=3)).map("/".join)).map(
        lambda text: text if text.startswith("x") else f"sensors/{text}/telemetry"
    )
)
def test_any_text_is_a_topic_that_can_be_built_or_none(topic: str) -> None:
    parts = parse_topic(topic)
    assert parts is None or telemetry_topic(*parts) == topic


@pytest.mark.parametrize("name", ["..", " ", "\t", "a\n\\.\nb", "'; --", "\u202e", "\\N"])
def test_odd_names_are_names(name: str) -> None:
    assert parse_topic(telemetry_topic(name, name)) == (name, name)


@pytest.mark.parametrize("name", ["", "a/b", "+", "a#", "nul\0"])
def test_a_name_that_would_change_the_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        telemetry_topic("site", name)
    with pytest.raises(ValueError, match="site"):
        telemetry_topic(name, "device")


def test_a_topic_longer_than_mqtt_allows_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 65535 bytes"):
        telemetry_topic("site", "d" * 65_536)
