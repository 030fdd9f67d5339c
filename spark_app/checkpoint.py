"""A query's checkpoint: a folder of Spark's own, and what the job adds to it."""

import logging
import time
from pathlib import Path

# Of our jar: Hadoop's own starts a process for each permission that it sets, some at each batch.
CHECKPOINT_FILES = ("spark.hadoop.fs.checkpoint.impl", "edge.telemetry.store.CheckpointFiles")

_FIRST_BATCH = "first_batch"

log = logging.getLogger("job")


class Checkpoint:
    """Where a query keeps its place in Kafka.

    Spark numbers the batches of each new checkpoint from 0. So that a batch's number stays its own,
    the checkpoint has a number of its first batch, which is added to Spark's.
    """

    def __init__(self, folder: Path) -> None:
        """Take a folder, there already or not."""
        self.folder = folder

    @property
    def address(self) -> str:
        """For Spark's option `checkpointLocation`, in a session with CHECKPOINT_FILES."""
        return f"checkpoint:{self.folder}"

    @property
    def is_new(self) -> bool:
        """Whether Spark has no place in it yet."""
        return not any(self.folder.glob("offsets/[0-9]*"))

    @property
    def first_batch(self) -> int:
        """What is added to Spark's batch numbers."""
        path = self.folder / _FIRST_BATCH
        return int(path.read_text(encoding="ascii")) if path.exists() else 0

    def begin(self, first_batch: int) -> None:
        """Keep the number of the first batch, for a checkpoint that is new."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / _FIRST_BATCH
        partial = path.with_suffix(".part")
        partial.write_text(str(first_batch), encoding="ascii")
        partial.replace(path)

    def set_aside(self) -> None:
        """Put it away for people to look at: what it says is not true of Kafka any more."""
        aside = self.folder.with_name(f"{self.folder.name}.aside-{time.time_ns()}")
        self.folder.rename(aside)
        log.error("the checkpoint %s is now %s; beginning anew", self.folder, aside.name)
