"""The picture of a rollout is drawn from its book."""

from xml.etree import ElementTree as ET

from tools.rollout.picture import draw

BOOK = {
    "rollout": "r1",
    "began": 1000.0,
    "waves": [
        {"began": 1000.0, "ended": 1060.0, "gateways": ["a"], "stop": ""},
        {"began": 1060.0, "ended": 1130.0, "gateways": ["b"], "stop": "1 of 1 failed"},
    ],
    "gateways": {
        "a": {
            "state": "passed",
            "steps": [[1000.0, "before"], [1010.0, "trying"], [1060.0, "passed"]],
        },
        "b": {
            "state": "back",
            "steps": [[1060.0, "before"], [1070.0, "trying"], [1130.0, "back"]],
            "failing": [{"gate": "probes"}],
        },
        "c <dark>": {"state": "dark", "steps": [[1000.0, "dark"]]},
        "d": {"state": "waiting", "steps": []},
    },
}
SVG = "{http://www.w3.org/2000/svg}"


def test_each_gateway_has_its_row_and_each_step_its_bar() -> None:
    picture = ET.fromstring(draw([BOOK]))  # noqa: S314 (our own)
    said = [text.text for text in picture.iter(f"{SVG}text")]
    for name in ("a", "b", "c <dark>", "d", "wave 1", "wave 2", "probes"):
        assert name in said
    assert "rollout r1 - stopped: 1 of 1 failed" in said
    bars = [bar for bar in picture.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]
    assert len(bars) == 7


def test_bars_are_as_long_as_their_steps() -> None:
    picture = ET.fromstring(draw([BOOK]))  # noqa: S314
    bars = [bar for bar in picture.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]
    before, trying = (float(bar.attrib["width"]) for bar in bars[:2])
    assert abs(trying / before - 5) < 0.05


def test_several_books_stand_one_below_the_other() -> None:
    picture = ET.fromstring(draw([BOOK, BOOK]))  # noqa: S314
    titles = [t.attrib["y"] for t in picture.iter(f"{SVG}text") if "rollout" in (t.text or "")]
    assert len(set(titles)) == 2
