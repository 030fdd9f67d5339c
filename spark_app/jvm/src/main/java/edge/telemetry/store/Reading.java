package edge.telemetry.store;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import org.apache.spark.sql.Row;

/**
 * A decoded Kafka record: a reading, or one that is refused for a reason. Times are microseconds
 * since the epoch; null is null in the database.
 *
 * @param qualityFlags joined by commas
 * @param clockBelieved whether the captured time may be measured against other clocks
 * @param headers rows of key and value, as they came
 */
record Reading(
        Long time,
        String deviceId,
        Long seq,
        Double temperature,
        Double humidity,
        Double dewPoint,
        Double absoluteHumidity,
        String measurements,
        String topicSite,
        String gateway,
        String qualityFlags,
        Long sensorTs,
        Long receivedAt,
        Long appendedAt,
        Long readAt,
        String topic,
        int partition,
        long offset,
        String reason,
        int payloadBytes,
        Boolean clockBelieved,
        Long clockOffset,
        Long clockError,
        Long spoolSeq,
        Long spoolWaiting,
        byte[] value,
        List<Row> headers) {

    /** The columns that the query must deliver, in this order: WRITER_COLUMNS in realtime.py. */
    static final List<String> COLUMNS =
            List.of(
                    "time",
                    "device_id",
                    "seq",
                    "temperature",
                    "humidity",
                    "dew_point",
                    "absolute_humidity",
                    "measurements",
                    "topic_site",
                    "gateway",
                    "quality_flags",
                    "sensor_ts",
                    "received_at",
                    "appended_at",
                    "read_at",
                    "kafka_topic",
                    "kafka_partition",
                    "kafka_offset",
                    "reason",
                    "payload_bytes",
                    "clock_believed",
                    "clock_offset_us",
                    "clock_error_us",
                    "spool_seq",
                    "spool_waiting",
                    "value",
                    "headers");

    private static final int MOST_NAME_BYTES = 255;

    static void check(Row row) {
        List<String> found = Arrays.asList(row.schema().fieldNames());
        if (!found.equals(COLUMNS)) {
            throw new IllegalArgumentException(
                    "the query's columns are " + found + ", the store writer needs " + COLUMNS);
        }
    }

    static Reading of(Row row) {
        int i = 0;
        return new Reading(
                (Long) row.get(i++),
                (String) row.get(i++),
                (Long) row.get(i++),
                (Double) row.get(i++),
                (Double) row.get(i++),
                (Double) row.get(i++),
                (Double) row.get(i++),
                (String) row.get(i++),
                (String) row.get(i++),
                (String) row.get(i++),
                (String) row.get(i++),
                (Long) row.get(i++),
                (Long) row.get(i++),
                (Long) row.get(i++),
                (Long) row.get(i++),
                (String) row.get(i++),
                row.getInt(i++),
                row.getLong(i++),
                (String) row.get(i++),
                row.getInt(i++),
                (Boolean) row.get(i++),
                (Long) row.get(i++),
                (Long) row.get(i++),
                (Long) row.get(i++),
                (Long) row.get(i++),
                (byte[]) row.get(i++),
                row.isNullAt(i) ? List.of() : row.getList(i));
    }

    boolean isRefused() {
        return reason != null;
    }

    /** Whether the ledger can name a device; a name that is too long is one of the reasons. */
    boolean hasDevice() {
        return deviceId != null
                && deviceId.getBytes(StandardCharsets.UTF_8).length <= MOST_NAME_BYTES;
    }

    boolean knowsSpool() {
        return gateway != null && spoolSeq != null && spoolWaiting != null;
    }

    boolean isLate(long lateAfterMicros) {
        return Boolean.TRUE.equals(clockBelieved) && appendedAt - time > lateAfterMicros;
    }
}
