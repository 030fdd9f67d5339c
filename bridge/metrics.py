"""What the bridge counts, for Prometheus."""

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
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

        self.received = counter("bridge_received", "Messages received from MQTT")
        self.forwarded = counter("bridge_forwarded", "Records that Kafka reported as delivered")
        self.acknowledged = counter("bridge_acknowledged", "Messages acknowledged to MQTT")
        self.dead_letters = counter("bridge_dead_letters", "Messages that Kafka refused for good")
        self.broker_dropped = counter(
            "bridge_broker_dropped", "Messages that the MQTT broker dropped, by its own count"
        )
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
