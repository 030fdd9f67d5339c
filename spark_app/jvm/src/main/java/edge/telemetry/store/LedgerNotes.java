package edge.telemetry.store;

import java.sql.Array;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** Counts for the ledger, written in the transaction that stores what they count. */
final class LedgerNotes {
    private static final long HOUR_MICROS = 3_600_000_000L;

    private static final String ADD =
            """
            INSERT INTO ledger_note (device_id, hour, kind, readings, batch_id, kafka_partition)
            SELECT n.device_id, to_timestamp(n.hour * 3600), n.kind, n.readings, ?, n.partition
            FROM unnest(?::text[], ?::bigint[], ?::text[], ?::bigint[], ?::integer[])
                AS n (device_id, hour, kind, readings, partition)
            ON CONFLICT (batch_id, kafka_partition, device_id, hour, kind)
            DO UPDATE SET readings = ledger_note.readings + excluded.readings
            """;

    private record Key(String device, long hour, String kind, int partition) {}

    private final Map<Key, Long> counts = new HashMap<>();

    /**
     * Counts a reading.
     *
     * @param micros the time whose hour it is of
     */
    void add(Reading reading, String kind, long micros) {
        long hour = Math.floorDiv(micros, HOUR_MICROS);
        counts.merge(new Key(reading.deviceId(), hour, kind, reading.partition()), 1L, Long::sum);
    }

    void write(Connection connection, long batchId) throws SQLException {
        if (counts.isEmpty()) {
            return;
        }
        List<Key> keys = List.copyOf(counts.keySet());
        try (PreparedStatement statement = connection.prepareStatement(ADD)) {
            statement.setLong(1, batchId);
            statement.setArray(2, array(connection, "text", keys, Key::device));
            statement.setArray(3, array(connection, "int8", keys, Key::hour));
            statement.setArray(4, array(connection, "text", keys, Key::kind));
            statement.setArray(5, array(connection, "int8", keys, counts::get));
            statement.setArray(6, array(connection, "int4", keys, Key::partition));
            statement.executeUpdate();
        }
    }

    private static Array array(
            Connection connection, String type, List<Key> keys, Function<Key, Object> part)
            throws SQLException {
        return connection.createArrayOf(type, keys.stream().map(part).toArray());
    }
}
