"""Notices when the application has lost its executors and gets no others."""

import time
from collections.abc import Callable

from pyspark.sql import SparkSession

# Longer than a worker takes to start anew and to launch an executor, on a busy small machine.
PATIENCE_SECONDS = 90.0


class ExecutorWatch:
    """Whether there has been no executor for so long that there will not be one.

    A standalone master that starts anew while a worker dies may count the dead executor's cores as
    this application's, and so never give it others. A new start of the application gets them.
    """

    def __init__(
        self,
        count: Callable[[], int],
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin now; `count` tells how many executors there are."""
        self._count = count
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._seen = clock()

    def is_hopeless(self) -> bool:
        """Look, and say whether to start anew."""
        now = self._clock()
        if self._count() > 0:
            self._seen = now
        return now - self._seen > self._patience_seconds


def count_executors(spark: SparkSession) -> int:
    """Return how many executors have registered; in local mode the driver is one."""
    context = spark.sparkContext
    # Of every executor, and of the driver, there is a block manager.
    managers = context._jsc.sc().getExecutorMemoryStatus().size()  # noqa: SLF001 - no public way
    return int(managers) - (0 if str(context.master).startswith("local") else 1)
