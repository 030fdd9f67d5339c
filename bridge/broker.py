"""What the MQTT broker says of itself: its clients and messages, and how many it has dropped."""

import contextlib
import logging
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from bridge import log
from bridge.metrics import Metrics
from bridge.settings import Settings
from bridge.tls import client_context

PREFIX = "$SYS/broker/"
# Mosquitto counts there what a full queue did not take, since it started. mosquitto(8), $SYS.
DROPPED_TOPIC = f"{PREFIX}publish/messages/dropped"


class BrokerWatch:
    """Listens on a connection of its own, since the bridge's session keeps all that it is sent.

    That the broker is away is the receiver's to tell. One that publishes no such figures, or does
    not let this user read them, leaves the metrics at zero.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Prepare the client."""
        self._settings = settings
        self._metrics = metrics
        self._dropped: int | None = None
        client = Client(
            CallbackAPIVersion.VERSION2, f"{settings.session_id}-watch", protocol=MQTTv5
        )
        if settings.mqtt_username:
            client.username_pw_set(settings.mqtt_username, settings.mqtt_password or None)
        if settings.mqtt_ca_file:
            context = client_context(settings.mqtt_ca_file)
            client.tls_set_context(context)
            # An authority that was added since is to be known at the next attempt.
            client.on_pre_connect = lambda *_: context.load_verify_locations(settings.mqtt_ca_file)
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        topics = [DROPPED_TOPIC, *(PREFIX + name for name in metrics.broker_figures)]
        client.on_connect = lambda client, *_: client.subscribe([(topic, 0) for topic in topics])
        client.on_message = self._on_message
        self._client = client

    def start(self) -> None:
        """Connect in the background, again and again until it succeeds."""
        self._client.connect_async(
            self._settings.mqtt_host, self._settings.mqtt_port, clean_start=True
        )
        self._client.loop_start()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401
        with contextlib.suppress(ValueError):
            figure = int(message.payload)
            if message.topic == DROPPED_TOPIC:
                self.note(figure)
            else:
                self._metrics.broker_figures[message.topic.removeprefix(PREFIX)].set(figure)

    def note(self, dropped: int) -> None:
        """Take the broker's count, and tell where it has grown."""
        before, self._dropped = self._dropped, dropped
        # The first figure may be of a time before ours; a smaller one is of a new start.
        new = dropped if before is not None and dropped < before else dropped - (before or 0)
        if new:
            self._metrics.broker_dropped.inc(new)
            log.event(
                logging.ERROR,
                "broker_dropped_messages",
                count=new,
                since="the broker's start" if before is None else "the last look",
                todo="a queue of the MQTT broker was full: raise mosquitto_max_queued_bytes, and "
                "see what the bridge or a subscriber waits for",
            )
