"""The copy of a checkpoint that Spark wrote to meanwhile."""

from pathlib import Path

import pytest

from tools.checkpoints import trim


def checkpoint(folder: Path, commits: range, offsets: range) -> Path:
    for name, numbers in (("commits", commits), ("offsets", offsets)):
        (folder / name).mkdir()
        for number in numbers:
            (folder / name / str(number)).touch()
            (folder / name / f".{number}.crc").touch()
    return folder


@pytest.mark.parametrize(
    ("commits", "offsets", "left"),
    [
        # Batch 6 was under way; then 7 to 9 began.
        (range(3, 6), range(3, 10), range(3, 7)),
        (range(3, 6), range(3, 7), range(3, 7)),
        (range(3, 6), range(3, 6), range(3, 6)),
        # No batch was done yet.
        (range(0), range(2), range(1)),
    ],
)
def test_no_batch_is_left_out(tmp_path: Path, commits: range, offsets: range, left: range) -> None:
    folder = checkpoint(tmp_path, commits, offsets)
    removed = list(trim(folder))
    assert [int(path.name) for path in removed] == [n for n in offsets if n not in left]
    kept = {path.name for path in (folder / "offsets").iterdir()}
    assert kept == {str(n) for n in left} | {f".{n}.crc" for n in left}
    assert len(list((folder / "commits").iterdir())) == 2 * len(commits)
