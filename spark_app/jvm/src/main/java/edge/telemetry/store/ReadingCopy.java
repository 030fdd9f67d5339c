package edge.telemetry.store;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;

/**
 * Readings as rows of sensor_data in PostgreSQL's binary format of COPY (its manual, "COPY", "Binary
 * Format"): big-endian; each field is its length in bytes, -1 for null, and its value.
 */
final class ReadingCopy {
    static final String COLUMNS =
            """
            time, device_id, seq, temperature, humidity, dew_point, absolute_humidity, measurements,
            site, room, model, gateway, quality_flags, sensor_ts, received_at, appended_at, read_at,
            batch_id, kafka_partition, kafka_offset""";

    private static final short FIELDS = 20;
    private static final byte[] SIGNATURE =
            "PGCOPY\n\377\r\n\0".getBytes(StandardCharsets.ISO_8859_1);
    // From 1970 to 2000, where PostgreSQL's microseconds begin.
    private static final long EPOCH_MICROS = 946_684_800_000_000L;
    private static final byte JSONB_VERSION = 1;
    // Of pg_type.
    private static final int TEXT_OID = 25;
    private static final int FIRST_SIZE = 64 * 1024;

    private ByteBuffer buffer = ByteBuffer.allocate(FIRST_SIZE);

    /** Copies readings into a table that has the columns. */
    void into(
            String table,
            Connection connection,
            List<Reading> readings,
            Devices devices,
            long batchId)
            throws SQLException {
        encode(readings, devices, batchId);
        String copy = "COPY %s (%s) FROM STDIN (FORMAT binary)".formatted(table, COLUMNS);
        CopyIn stream = connection.unwrap(PGConnection.class).getCopyAPI().copyIn(copy);
        stream.writeToCopy(buffer.array(), 0, buffer.position());
        stream.endCopy();
    }

    private void encode(List<Reading> readings, Devices devices, long batchId) {
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
            Devices.Device device = devices.of(reading.deviceId());
            text(device.site() == null ? reading.topicSite() : device.site());
            text(device.room());
            text(device.model());
            text(reading.gateway());
            texts(reading.qualityFlags());
            time(reading.sensorTs());
            time(reading.receivedAt());
            time(reading.appendedAt());
            time(reading.readAt());
            number(batchId);
            need(2 * Integer.BYTES);
            buffer.putInt(Integer.BYTES).putInt(reading.partition());
            number(reading.offset());
        }
        need(Short.BYTES);
        buffer.putShort((short) -1);
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

    /** An array: dimensions, whether there are nulls, type, size, first index, values. */
    private void texts(String joined) {
        if (joined == null) {
            number(null);
            return;
        }
        String[] values = joined.isEmpty() ? new String[0] : joined.split(",");
        need(6 * Integer.BYTES);
        int start = buffer.position();
        buffer.putInt(0).putInt(values.length == 0 ? 0 : 1).putInt(0).putInt(TEXT_OID);
        if (values.length > 0) {
            buffer.putInt(values.length).putInt(1);
        }
        for (String value : values) {
            text(value);
        }
        buffer.putInt(start, buffer.position() - start - Integer.BYTES);
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
