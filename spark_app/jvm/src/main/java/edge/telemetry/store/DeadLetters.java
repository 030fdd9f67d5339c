package edge.telemetry.store;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.spark.sql.Row;

/** Sends what is no reading to the dead letter topic, in the form of spark_app/batches.py. */
final class DeadLetters implements AutoCloseable {
    /** More than the topic takes: the broker is to decide. */
    private static final int MOST_REQUEST_BYTES = 16 * 1024 * 1024;

    private static final int TIMEOUT_MILLIS = 15_000;

    private final StoreSettings settings;
    private final List<Future<?>> sent = new ArrayList<>();
    private KafkaProducer<byte[], byte[]> producer;

    DeadLetters(StoreSettings settings) {
        this.settings = settings;
    }

    void send(Reading record, String reason) {
        if (producer == null) {
            producer = connect();
        }
        String origin = record.topic() + "-" + record.partition() + "-" + record.offset();
        var letter =
                new ProducerRecord<>(settings.deadLetterTopic(), utf8(origin), record.value());
        Headers headers = letter.headers();
        headers.add("reason", utf8(reason));
        headers.add("origin_topic", utf8(record.topic()));
        headers.add("origin_partition", utf8(Integer.toString(record.partition())));
        headers.add("origin_offset", utf8(Long.toString(record.offset())));
        for (Row header : record.headers()) {
            headers.add(header.getString(0), (byte[]) header.get(1));
        }
        sent.add(producer.send(letter));
    }

    /** Returns when Kafka has acknowledged all that was sent. */
    void await() throws ExecutionException, InterruptedException {
        if (sent.isEmpty()) {
            return;
        }
        producer.flush();
        for (Future<?> letter : sent) {
            letter.get();
        }
        sent.clear();
    }

    @Override
    public void close() {
        if (producer != null) {
            producer.close(java.time.Duration.ZERO);
        }
    }

    private KafkaProducer<byte[], byte[]> connect() {
        Map<String, Object> options = new HashMap<>(settings.kafka());
        options.putAll(
                Map.of(
                        ProducerConfig.ACKS_CONFIG, "all",
                        ProducerConfig.MAX_REQUEST_SIZE_CONFIG, MOST_REQUEST_BYTES,
                        ProducerConfig.MAX_BLOCK_MS_CONFIG, TIMEOUT_MILLIS,
                        ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG, TIMEOUT_MILLIS,
                        ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, 2 * TIMEOUT_MILLIS));
        var serializer = new ByteArraySerializer();
        return new KafkaProducer<>(options, serializer, serializer);
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
