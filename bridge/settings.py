"""Settings of the bridge: environment variables `BRIDGE_<FIELD>`."""

from dataclasses import dataclass
from typing import Annotated

from telemetry.settings import Between, Port
from telemetry.topics import DEAD_LETTER_TOPIC, RAW_TOPIC, SUBSCRIPTION


@dataclass(frozen=True)
class Settings:
    """Where to receive, where to send, and how much may be under way."""

    mqtt_host: str
    gateway: str
    kafka_bootstrap_servers: str
    mqtt_port: Port = 1883
    mqtt_username: str = ""
    mqtt_password: str = ""
    mqtt_topic: str = SUBSCRIPTION
    client_id: str = ""  # empty: bridge-<gateway>
    kafka_topic: str = RAW_TOPIC
    kafka_dead_letter_topic: str = DEAD_LETTER_TOPIC
    max_in_flight: Annotated[int, Between(1, 65_535)] = 1000  # MQTT's Receive Maximum
    metrics_address: str = "127.0.0.1"
    metrics_port: Port = 9101

    @property
    def session_id(self) -> str:
        """MQTT client id, to which the broker ties the queue that waits for this gateway."""
        return self.client_id or f"bridge-{self.gateway}"
