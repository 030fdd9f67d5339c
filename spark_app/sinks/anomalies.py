"""Anomalies into the table `anomalies` and the topic for those who wait for them, each once."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spark_app.positions import KAFKA_MODULE
from spark_app.sinks.outcome import Fault, SinkFaultError, require
from spark_app.sinks.timescaledb import PACKAGE, Database
from telemetry.kafka import KafkaAddress

if TYPE_CHECKING:
    import pandas as pd

_SEND_SECONDS = 20

# A threshold is looked up here, not in the detector: what people change counts from the next
# anomaly on. Who was sent before is not sent again.
_STORE = """
WITH told AS (
    INSERT INTO anomalies (
        time, device_id, gateway, quantity, kind, value, expected_low, expected_high, score,
        detector_version
    )
    SELECT
        a.time, a.device_id, nullif(a.gateway, ''), a.quantity, a.kind, a.value, a.expected_low,
        a.expected_high, a.score, a.detector_version
    FROM json_to_recordset(%s) AS a (
        time timestamptz, device_id text, gateway text, quantity text, kind text,
        value double precision, expected_low double precision, expected_high double precision,
        score double precision, detector_version integer
    )
    WHERE a.score >= anomaly_threshold_of(a.device_id, a.quantity, a.kind)
    ON CONFLICT (device_id, quantity, kind, time) DO NOTHING
    RETURNING time, device_id, gateway, quantity, kind, value, expected_low, expected_high, score,
        detector_version
)
SELECT t.device_id, t.kind, json_strip_nulls(row_to_json(message))::text
FROM told AS t
LEFT JOIN devices AS d ON d.device_id = t.device_id
CROSS JOIN LATERAL (SELECT t.*, d.site, d.room) AS message
"""


@dataclass
class AnomalySink:
    """Stores anomalies in one transaction, and sends those that are new before it ends.

    So what the topic has not got is not in the table either, and comes again with the next try.
    """

    database: Database
    kafka: KafkaAddress
    topic: str
    _connection: Any = None
    _producer: Any = None

    def deliver(self, anomalies: "pd.DataFrame") -> Mapping[str, int]:
        """Store and send those that reach their threshold.

        Args:
            anomalies: columns of `fleet.COLUMNS`.

        Returns:
            How many of each kind were new.

        Raises:
            SinkFaultError: the database or Kafka cannot take them now.
        """
        rows = anomalies.to_json(orient="records", date_format="iso", date_unit="us")
        psycopg2 = require("psycopg2", PACKAGE)
        try:
            if self._connection is None:
                self._connection = self.database.connect("streaming-job anomalies")
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(_STORE, (rows,))
                new = cursor.fetchall()
                self._send([(device, message) for device, _, message in new])
        except psycopg2.Error as error:
            # It may only have been older than the database's last restart; the next try tells.
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise SinkFaultError(self.database.fault(error)) from error
        return Counter(kind for _, kind, _ in new)

    def _send(self, messages: list[tuple[str, str]]) -> None:
        kafka = require(*KAFKA_MODULE)
        if self._producer is None:
            self._producer = kafka.Producer(
                {
                    **self.kafka.librdkafka(),
                    "enable.idempotence": True,
                    "message.timeout.ms": _SEND_SECONDS * 1000,
                }
            )
        failed: list[str] = []

        def tell(error: Any, _message: object) -> None:  # noqa: ANN401 - may be missing
            if error is not None:
                failed.append(error.str())

        for device, message in messages:
            self._producer.produce(self.topic, message, key=device, on_delivery=tell)
        if self._producer.flush(_SEND_SECONDS + 5):
            failed.append("no answer")
        if failed:
            text = f"Kafka {self.kafka.servers}, topic {self.topic}: {failed[0]}"
            raise SinkFaultError(Fault("unavailable", text))
