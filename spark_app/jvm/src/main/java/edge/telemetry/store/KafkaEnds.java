package edge.telemetry.store;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Asks Kafka where its log ends, for the lag. Used by one thread. */
final class KafkaEnds {
    private static final Duration TIMEOUT = Duration.ofSeconds(2);

    private final StoreSettings settings;
    private final Map<Integer, Long> places = new HashMap<>();
    private KafkaConsumer<byte[], byte[]> consumer;

    KafkaEnds(StoreSettings settings) {
        this.settings = settings;
    }

    /**
     * Returns how many records are not stored yet in the partitions that were ever told; null if
     * Kafka does not answer.
     *
     * @param read what was read last, by partition
     */
    Long lagBehind(Map<Integer, Tally.Offsets> read) {
        read.forEach((partition, offsets) -> places.put(partition, offsets.next()));
        try {
            if (consumer == null) {
                consumer = connect();
            }
            Set<TopicPartition> partitions =
                    places.keySet().stream()
                            .map(number -> new TopicPartition(settings.rawTopic(), number))
                            .collect(Collectors.toSet());
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions, TIMEOUT);
            return ends.entrySet().stream()
                    .mapToLong(end -> end.getValue() - places.get(end.getKey().partition()))
                    .map(lag -> Math.max(lag, 0))
                    .sum();
        } catch (KafkaException error) {
            return null;
        }
    }

    private KafkaConsumer<byte[], byte[]> connect() {
        var deserializer = new ByteArrayDeserializer();
        return new KafkaConsumer<>(
                Map.copyOf(settings.kafka()), deserializer, deserializer);
    }
}
