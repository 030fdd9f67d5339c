package edge.telemetry.store;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Rows in PostgreSQL's binary format of COPY (its manual, "COPY", "Binary Format"): big-endian;
 * each field is its length in bytes, -1 for null, and its value.
 */
final class StagingCopy {
    static final String TABLE =
            """
            CREATE TEMPORARY TABLE staging (time timestamptz, device_id text, seq bigint,
                temperature float8, humidity float8, dew_point float8, absolute_humidity float8,
                measurements jsonb, topic_site text, gateway text, flags text,
                sensor_ts timestamptz, received_at timestamptz, appended_at timestamptz,
                read_at timestamptz, kafka_partition integer, kafka_offset bigint)
            ON COMMIT DELETE ROWS
            """;
    static final String COPY = "COPY staging FROM STDIN (FORMAT binary)";

    private static final short FIELDS = 17;
    private static final byte[] SIGNATURE =
            "PGCOPY\n\377\r\n\0".getBytes(StandardCharsets.ISO_8859_1);
    // From 1970 to 2000, where PostgreSQL's microseconds begin.
    private static final long EPOCH_MICROS = 946_684_800_000_000L;
    private static final byte JSONB_VERSION = 1;
    private static final int FIRST_SIZE = 64 * 1024;

    private ByteBuffer buffer = ByteBuffer.allocate(FIRST_SIZE);

    /** Returns the rows' bytes, from 0 to the position, in a buffer that the next call uses. */
    ByteBuffer encode(List<Reading> readings) {
        buffer.clear();
        buffer.put(SIGNATURE).putInt(0).putInt(0);
        for (Reading reading : readings) {
            need(Short.BYTES);
            buffer.putShort(FIELDS);
            time(reading.time());
            text(reading.deviceId());
            number(reading.seq());
            real(reading.temperature());
            real(reading.humidity());
            real(reading.dewPoint());
            real(reading.absoluteHumidity());
            json(reading.measurements());
            text(reading.topicSite());
            text(reading.gateway());
            text(reading.qualityFlags());
            time(reading.sensorTs());
            time(reading.receivedAt());
            time(reading.appendedAt());
            time(reading.readAt());
            need(2 * Integer.BYTES);
            buffer.putInt(Integer.BYTES).putInt(reading.partition());
            number(reading.offset());
        }
        need(Short.BYTES);
        buffer.putShort((short) -1);
        return buffer;
    }

    private void time(Long micros) {
        number(micros == null ? null : micros - EPOCH_MICROS);
    }

    private void number(Long value) {
        need(Integer.BYTES + Long.BYTES);
        if (value == null) {
            buffer.putInt(-1);
        } else {
            buffer.putInt(Long.BYTES).putLong(value);
        }
    }

    private void real(Double value) {
        number(value == null ? null : Double.doubleToLongBits(value));
    }

    private void text(String value) {
        if (value == null) {
            number(null);
            return;
        }
        byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
        need(Integer.BYTES + bytes.length);
        buffer.putInt(bytes.length).put(bytes);
    }

    private void json(String value) {
        // The column has a default in place of null.
        byte[] bytes = (value == null ? "{}" : value).getBytes(StandardCharsets.UTF_8);
        need(Integer.BYTES + 1 + bytes.length);
        buffer.putInt(bytes.length + 1).put(JSONB_VERSION).put(bytes);
    }

    private void need(int bytes) {
        if (buffer.remaining() < bytes) {
            int size = Math.addExact(buffer.capacity(), Math.max(buffer.capacity(), bytes));
            buffer = ByteBuffer.allocate(size).put(buffer.flip());
        }
    }
}
