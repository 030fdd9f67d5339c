"""MQTT to Kafka: a gateway's service that acknowledges only what Kafka has taken."""
