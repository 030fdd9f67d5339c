"""What the bridge counts, for Prometheus."""

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    disable_created_metrics,
    start_http_server,
)

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counters from start, and the state of spool, clock and connections."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register them all."""
        self._registry = registry

        def counter(name: str, what: str) -> Counter:
            return Counter(name, what, registry=registry)

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(name, what, registry=registry)

        build = Info("bridge_build", "Version of the bridge", registry=registry)
        try:
            build.info({"version": version("edge-telemetry")})
        except PackageNotFoundError:
            build.info({"version": "a work tree"})
        self.received = counter("bridge_received", "Messages received from MQTT")
        self.forwarded = counter("bridge_forwarded", "Records that Kafka reported as delivered")
        self.acknowledged = counter("bridge_acknowledged", "Messages acknowledged to MQTT")
        self.dead_letters = counter("bridge_dead_letters", "Messages that Kafka refused for good")
        self.broker_dropped = counter(
            "bridge_broker_dropped", "Messages that the MQTT broker dropped, by its own count"
        )
        # By Mosquitto's own names, below $SYS/broker/; mosquitto(8).
        self.broker_figures = {
            topic: gauge(f"bridge_broker_{name}", what)
            for topic, name, what in (
                ("clients/connected", "clients", "Clients connected to the MQTT broker"),
                ("messages/received", "received", "Packets that it received since its start"),
                ("messages/sent", "sent", "Packets that it sent since its start"),
                ("store/messages/count", "stored", "Messages that it holds, retained ones too"),
                ("store/messages/bytes", "stored_bytes", "Bytes of these messages"),
            )
        }
        self.in_flight = gauge("bridge_in_flight", "Messages received and not yet acknowledged")
        self.mqtt_connected = gauge("bridge_mqtt_connected", "1 while subscribed at the broker")
        self.spool_records = gauge("bridge_spool_records", "Messages that Kafka does not have")
        self.spool_bytes = gauge("bridge_spool_bytes", "Bytes of the spool in use")
        self.spool_writable = gauge("bridge_spool_writable", "1 while the disk takes the spool")
        self.oldest_waiting = gauge(
            "bridge_oldest_waiting_seconds", "Age of the oldest message that Kafka does not have"
        )
        self.resent = counter("bridge_resent", "Records sent that Kafka may have had already")
        self.clock_synchronised = gauge(
            "bridge_clock_synchronised", "1 while the clock follows a time server"
        )
        self.clock_offset = gauge("bridge_clock_offset_seconds", "Clock minus true time")
        self.clock_error = gauge("bridge_clock_error_seconds", "Bound of that figure's error")
        self.kafka_connected = gauge("bridge_kafka_connected", "1 while a Kafka broker is reached")

    def serve(self, address: str, port: int) -> None:
        """Answer Prometheus in a thread of its own.

        Raises:
            OSError: the address cannot be bound.
        """
        start_http_server(port, addr=address, registry=self._registry)
