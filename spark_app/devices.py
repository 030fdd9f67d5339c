"""What is known of each device, looked up again now and then and kept for when it cannot be."""

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from spark_app.sinks.outcome import SinkFaultError

_COLUMNS = ("device_id", "site", "room", "model")
_SCHEMA = pa.schema([(name, pa.string()) for name in _COLUMNS])

log = logging.getLogger("job.devices")

Row = list[str | None]


class DeviceTable:
    """The table `devices` as a small DataFrame.

    The last state seen is kept in a file, so that the archive has it while the database is down.
    """

    def __init__(self, connect: Callable[[], Any], snapshot: Path, refresh_seconds: float) -> None:
        """Start from the snapshot of an earlier run, if there is one.

        Args:
            connect: opens a connection to the database.
            snapshot: file to keep the last state in.
            refresh_seconds: time between two looks at the table.
        """
        self._connect = connect
        self._snapshot = snapshot
        self._refresh_seconds = refresh_seconds
        self._lock = threading.Lock()
        self._rows = self._load()
        self._frame: DataFrame | None = None

    def frame(self, spark: SparkSession) -> DataFrame:
        """Return `device_id`, `site`, `room`, `model`; a local relation, free to broadcast."""
        with self._lock:
            if self._frame is None:
                columns = list(zip(*self._rows, strict=True)) or [()] * len(_COLUMNS)
                table = pa.table([pa.array(c, pa.string()) for c in columns], schema=_SCHEMA)
                self._frame = spark.createDataFrame(table)
            return self._frame

    def refresh(self) -> None:
        """Look at the table once; where that fails, what was known stays."""
        try:
            rows = self._query()
        except Exception as error:  # noqa: BLE001 - any failure means: go on with what is known
            text = error.fault.text if isinstance(error, SinkFaultError) else str(error)
            log.debug("cannot read the table devices: %s", text)
            return
        with self._lock:
            if rows == self._rows:
                return
            self._rows = rows
            self._frame = None
        log.info("%d devices known", len(rows))
        partial = self._snapshot.with_suffix(".part")
        partial.write_text(json.dumps(rows), encoding="utf-8")
        partial.replace(self._snapshot)

    def refresh_forever(self) -> None:
        """Look at the table again and again; runs in a thread of its own."""
        while True:
            self.refresh()
            time.sleep(self._refresh_seconds)

    def _query(self) -> list[Row]:
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT device_id, site, room, model FROM devices ORDER BY 1")
                return [list(row) for row in cursor.fetchall()]
        finally:
            connection.close()

    def _load(self) -> list[Row]:
        try:
            return [list(row) for row in json.loads(self._snapshot.read_text(encoding="utf-8"))]
        except (OSError, ValueError):
            return []
