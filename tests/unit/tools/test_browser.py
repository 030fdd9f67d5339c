"""What the tests of pages rest on: complaints of a page are seen, and it reaches nobody."""

import shutil
from pathlib import Path

import pytest

from tools.browser import opened

pytestmark = pytest.mark.skipif(
    not shutil.which("chromium-headless-shell"),
    reason="chromium-headless-shell is not installed; `make bootstrap-tests` installs it",
)
RULE = "default-src 'none'"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<script>throw new Error('broken')</script>", "broken"),
        ("<script>console.error('odd')</script>", "odd"),
        ("<script>fetch('http://127.0.0.1:9/')</script>", "Failed to"),
        (
            f"<meta http-equiv='Content-Security-Policy' content=\"{RULE}\"><img src='http://x/'>",
            "Content Security Policy",
        ),
    ],
)
def test_complaints_are_seen(tmp_path: Path, body: str, complaint: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><title>t</title>{body}", encoding="utf-8")
    _, console = opened(page)
    assert complaint in " ".join(console)


def test_a_page_without_a_fault_has_no_complaint(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><p><script>document.body.append(1)</script>", encoding="utf-8")
    html, console = opened(page)
    assert console == []
    assert "1</body>" in html
