"""How to reach Kafka: plain, or over TLS with a certificate that says who we are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KafkaAddress:
    """Brokers, and the files for TLS.

    Attributes:
        servers: `host:port`, several separated by commas.
        tls_ca: file with the authorities that vouch for the brokers; empty: without TLS.
        tls_keystore: PEM file with our own key and certificate.
    """

    servers: str
    tls_ca: str = ""
    tls_keystore: str = ""

    def librdkafka(self) -> dict[str, str]:
        """Return the settings for clients of librdkafka, which is under confluent_kafka."""
        plain = {"bootstrap.servers": self.servers}
        if not self.tls_ca:
            return plain
        return plain | {
            "security.protocol": "ssl",
            "ssl.ca.location": self.tls_ca,
            # Each takes its own part of the file.
            "ssl.certificate.location": self.tls_keystore,
            "ssl.key.location": self.tls_keystore,
            # Not the default of all versions: the certificate names the broker that was meant.
            "ssl.endpoint.identification.algorithm": "https",
        }

    def java(self) -> dict[str, str]:
        """Return the settings for Kafka's own clients."""
        plain = {"bootstrap.servers": self.servers}
        if not self.tls_ca:
            return plain
        return plain | {
            "security.protocol": "SSL",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.tls_ca,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.tls_keystore,
        }
