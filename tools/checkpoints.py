"""Makes the copy of a running streaming query's checkpoint one that Spark goes on from.

`python -m tools.checkpoints FOLDER` looks at each checkpoint below a folder. Copied `commits` first
and `offsets` later, it has batches that began in between; Spark would go on with the last of them
and leave out those before it. They are removed, and named on stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path


def trim(checkpoint: Path) -> Iterator[Path]:
    """Removes all offsets behind those of the batch after the last that is done; yields them."""
    first_to_go = max(batches(checkpoint / "commits"), default=-1) + 2
    for number in sorted(batches(checkpoint / "offsets")):
        if number >= first_to_go:
            offsets = checkpoint / "offsets" / str(number)
            offsets.unlink()
            # Spark's checksum of it.
            offsets.with_name(f".{number}.crc").unlink(missing_ok=True)
            yield offsets


def batches(folder: Path) -> Iterator[int]:
    """The numbers of the batches in `commits` or `offsets`; none where there is no such folder."""
    return (int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())


def main() -> None:
    """The command line."""
    for offsets in sorted(Path(sys.argv[1]).glob("**/offsets")):
        for removed in trim(offsets.parent):
            print(removed)


if __name__ == "__main__":
    main()
