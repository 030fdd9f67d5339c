"""Settings of the bridge: environment variables `BRIDGE_<FIELD>`."""

from dataclasses import dataclass
from typing import Annotated

from telemetry.kafka import KafkaAddress
from telemetry.settings import Between, Port
from telemetry.topics import DEAD_LETTER_TOPIC, RAW_TOPIC, SUBSCRIPTION


@dataclass(frozen=True)
class Settings:
    """Where to receive, where to send, and how much may be under way.

    Attributes:
        mqtt_ca_file: authorities that may vouch for the MQTT broker; empty: no TLS.
        kafka_tls_ca: file with the authorities that vouch for Kafka; empty: without TLS.
        kafka_tls_keystore: PEM file with the key and certificate that say who this bridge is.
        spool_max_bytes: size of the spool at which no more is taken.
        spool_max_age_seconds: the same, as the age of the oldest message that waits.
        replay_seconds: seconds of forwarding whose messages stay in the spool after Kafka took
            them; more than Kafka takes to write to disk and the bridge to see that it went down.
        confirm: tell devices on `ack/<device>` which of their readings are on disk.
        clock_wait_seconds: how long messages wait for a clock that starts in the past.
    """

    mqtt_host: str
    gateway: str
    kafka_bootstrap_servers: str
    mqtt_port: Port = 1883
    mqtt_username: str = ""
    mqtt_password: str = ""
    mqtt_ca_file: str = ""
    mqtt_topic: str = SUBSCRIPTION
    client_id: str = ""  # empty: bridge-<gateway>
    kafka_tls_ca: str = ""
    kafka_tls_keystore: str = ""
    kafka_topic: str = RAW_TOPIC
    kafka_dead_letter_topic: str = DEAD_LETTER_TOPIC
    max_in_flight: Annotated[int, Between(1, 65_535)] = 1000  # MQTT's Receive Maximum
    spool_dir: str = "/var/lib/mqtt-bridge"
    spool_max_bytes: Annotated[int, Between(1_000_000, 10**14)] = 4_000_000_000
    spool_max_age_seconds: Annotated[float, Between(1, 10**9)] = 30 * 86_400.0
    replay_seconds: Annotated[int, Between(1, 3_600)] = 15
    confirm: bool = True
    clock_wait_seconds: Annotated[float, Between(0, 86_400)] = 600.0
    metrics_address: str = "127.0.0.1"
    metrics_port: Port = 9101

    @property
    def kafka(self) -> KafkaAddress:
        """How to reach Kafka."""
        return KafkaAddress(
            self.kafka_bootstrap_servers, self.kafka_tls_ca, self.kafka_tls_keystore
        )

    @property
    def session_id(self) -> str:
        """MQTT client id, to which the broker ties the queue that waits for this gateway."""
        return self.client_id or f"bridge-{self.gateway}"
