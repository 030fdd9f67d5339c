package edge.telemetry.store;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * An executor's connection to the database. A transaction stores a group of rows, what the ledger
 * is to know of them, and the place in Kafka; their dead letters are acknowledged before its end.
 *
 * <p>A row that was stored before changes nothing, so a batch may be read again. What the ledger
 * counts is only taken from records behind the place that the database has.
 */
final class Session implements AutoCloseable {
    private static final String STAGING =
            "CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS SELECT %s FROM sensor_data"
                            .formatted(ReadingCopy.COLUMNS)
                    + " WITH NO DATA";
    private static final String INSERT =
            """
            INSERT INTO sensor_data (%1$s) SELECT %1$s FROM staging
            ON CONFLICT (device_id, time, seq) DO NOTHING
            RETURNING kafka_partition, kafka_offset
            """
                    .formatted(ReadingCopy.COLUMNS);
    // Rows that are there by this very record, from an earlier run, are no duplicates.
    private static final String FIND_DUPLICATES =
            """
            SELECT s.kafka_partition, s.kafka_offset
            FROM staging AS s INNER JOIN sensor_data AS d
                ON d.device_id = s.device_id AND d.time = s.time AND d.seq = s.seq
            WHERE (d.kafka_partition, d.kafka_offset) <> (s.kafka_partition, s.kafka_offset)
            """;
    private static final String FIND_PLACE =
            "SELECT next_offset FROM kafka_position WHERE topic = ? AND partition = ?";
    // The place must be the one that we know: else a task that was given up, or a second job,
    // stores the same partition, and its records would be counted twice.
    private static final String MOVE_PLACE =
            """
            INSERT INTO kafka_position (topic, partition, first_offset, next_offset, batch_id)
            VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (topic, partition) DO UPDATE
            SET first_offset = excluded.first_offset, next_offset = excluded.next_offset,
                batch_id = excluded.batch_id
            WHERE kafka_position.next_offset IS NOT DISTINCT FROM ?
            """;

    private static final Logger LOG = LoggerFactory.getLogger(Session.class);
    private static final int MOST_REASON = 200;
    // Where a copy came, more are likely, and an attempt in vain costs as much as another.
    private static final int GROUPS_TO_CHECK = 50;

    /** Spark's batch, by the number that it has among all of this query. */
    record Batch(long id, String runId) {}

    /** A record's place in Kafka. */
    private record Origin(int partition, long offset) {}

    /**
     * The query's place in a partition.
     *
     * @param next the offset behind the last record that was ever stored; null: none was
     */
    private record Place(String topic, Long next) {
        boolean isPast(long offset) {
            return next != null && offset < next;
        }
    }

    private final StoreSettings settings;
    private final DeadLetters deadLetters;
    private final ReadingCopy copy = new ReadingCopy();
    private final Devices devices;
    private final Map<Integer, Place> places = new HashMap<>();
    private Connection connection;
    private PreparedStatement insert;
    private PreparedStatement findDuplicates;
    private PreparedStatement movePlace;
    private volatile Batch nextBatch;
    private Batch batch;
    private long lastBegan;
    private int groupsToCheck;

    Session(StoreSettings settings) {
        this.settings = settings;
        devices = new Devices(settings.deviceRefreshNanos());
        deadLetters = new DeadLetters(settings);
    }

    /** From the next transaction on rows are of another batch. */
    void beginBatch(long id, String run) {
        nextBatch = new Batch(id, run);
    }

    /** Returns how long it is until a pace after the last transaction's begin; may be negative. */
    long nanosToPace(long pace) {
        return lastBegan + pace - System.nanoTime();
    }

    /** Stores records, in the order of their offsets, and returns when they are committed. */
    void store(List<Reading> records)
            throws SQLException, ExecutionException, InterruptedException {
        lastBegan = System.nanoTime();
        connect();
        if (!nextBatch.equals(batch)) {
            batch = nextBatch;
            // Another executor may have had the partition in the meantime.
            places.clear();
        }
        Tally tally = new Tally();
        LedgerNotes notes = new LedgerNotes();
        List<Reading> readings = new ArrayList<>(records.size());
        for (Reading record : records) {
            tally.read(record);
            Place place = place(record);
            if (!record.isRefused()) {
                readings.add(record);
                continue;
            }
            deadLetters.send(record, record.reason());
            if (record.hasDevice() && !place.isPast(record.offset())) {
                notes.add(record, "rejected", record.appendedAt());
            }
        }
        devices.refresh(connection);
        List<Reading> inserted = insertWithoutRefused(readings, tally, notes);
        notes.write(connection, batch.id());
        Map<Integer, Place> moved = movePlaces(tally);
        deadLetters.await();
        connection.commit();
        Instant now = Instant.now();
        places.putAll(moved);
        tally.measure(inserted, ChronoUnit.MICROS.between(Instant.EPOCH, now));
        Figures.of(settings).add(tally, batch);
    }

    @Override
    public void close() {
        deadLetters.close();
        if (connection != null) {
            try {
                connection.close();
            } catch (SQLException error) {
                LOG.debug("a connection that failed", error);
            }
        }
    }

    private void connect() throws SQLException {
        if (connection != null) {
            return;
        }
        Connection opened = settings.connect("streaming-job store");
        connection = opened;
        try (Statement statement = opened.createStatement()) {
            statement.execute(STAGING);
        }
        opened.commit();
        insert = opened.prepareStatement(INSERT);
        findDuplicates = opened.prepareStatement(FIND_DUPLICATES);
        movePlace = opened.prepareStatement(MOVE_PLACE);
    }

    private Place place(Reading record) throws SQLException {
        Place known = places.get(record.partition());
        if (known == null) {
            known = new Place(record.topic(), findPlace(record));
            places.put(record.partition(), known);
        }
        return known;
    }

    private Long findPlace(Reading record) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(FIND_PLACE)) {
            statement.setString(1, record.topic());
            statement.setInt(2, record.partition());
            try (ResultSet row = statement.executeQuery()) {
                return row.next() ? row.getObject(1, Long.class) : null;
            }
        }
    }

    /** Inserts readings; in a transaction that is lost if the database refuses one. */
    private List<Reading> insertWithoutRefused(
            List<Reading> readings, Tally tally, LedgerNotes notes) throws SQLException {
        if (readings.isEmpty()) {
            return readings;
        }
        try {
            if (mayAllBeNew(readings)) {
                return copyAsNew(readings, tally, notes);
            }
        } catch (SQLException error) {
            if (!isRefusal(error)) {
                throw error;
            }
            // One is there already, or is refused: the longer way tells.
            connection.rollback();
            groupsToCheck = GROUPS_TO_CHECK;
        }
        try {
            return insert(readings, tally, notes);
        } catch (SQLException error) {
            if (!isRefusal(error)) {
                throw error;
            }
            // Should not happen after validation; one row must not hold up all others.
            connection.rollback();
            return insertByHalves(readings, error, tally, notes);
        }
    }

    private boolean mayAllBeNew(List<Reading> readings) {
        if (groupsToCheck > 0) {
            groupsToCheck--;
            return false;
        }
        return readings.stream()
                .noneMatch(reading -> places.get(reading.partition()).isPast(reading.offset()));
    }

    /** Half the work of `insert`; the key refuses all if one of them was stored before. */
    private List<Reading> copyAsNew(List<Reading> readings, Tally tally, LedgerNotes notes)
            throws SQLException {
        copy.into("sensor_data", connection, readings, devices, batch.id());
        readings.forEach(reading -> noteIfLate(reading, tally, notes));
        tally.stored += readings.size();
        return readings;
    }

    /** Halves readings until those that the database refuses are alone. */
    private List<Reading> insertByHalves(
            List<Reading> readings, SQLException refusal, Tally tally, LedgerNotes notes)
            throws SQLException {
        int size = readings.size();
        if (size == 1) {
            refuse(readings.get(0), refusal, tally);
            return List.of();
        }
        List<Reading> inserted = new ArrayList<>(size);
        for (List<Reading> half :
                List.of(readings.subList(0, size / 2), readings.subList(size / 2, size))) {
            Savepoint before = connection.setSavepoint();
            try (Statement statement = connection.createStatement()) {
                statement.execute("DELETE FROM staging");
                inserted.addAll(insert(half, tally, notes));
                connection.releaseSavepoint(before);
            } catch (SQLException error) {
                if (!isRefusal(error)) {
                    throw error;
                }
                connection.rollback(before);
                inserted.addAll(insertByHalves(half, error, tally, notes));
            }
        }
        return inserted;
    }

    private List<Reading> insert(List<Reading> readings, Tally tally, LedgerNotes notes)
            throws SQLException {
        copy.into("staging", connection, readings, devices, batch.id());
        Set<Origin> origins = origins(insert);
        Set<Origin> duplicates =
                origins.size() == readings.size() ? Set.of() : origins(findDuplicates);
        List<Reading> inserted = new ArrayList<>(origins.size());
        for (Reading reading : readings) {
            Origin origin = new Origin(reading.partition(), reading.offset());
            boolean isCounted = !places.get(reading.partition()).isPast(reading.offset());
            if (origins.contains(origin)) {
                inserted.add(reading);
                noteIfLate(reading, tally, notes);
            } else if (duplicates.contains(origin) && isCounted) {
                notes.add(reading, "duplicate", reading.time());
            }
        }
        tally.duplicate += duplicates.size();
        tally.stored += readings.size() - duplicates.size();
        return inserted;
    }

    private void noteIfLate(Reading reading, Tally tally, LedgerNotes notes) {
        if (reading.isLate(settings.lateAfterMicros())) {
            tally.late++;
            notes.add(reading, "late", reading.time());
        }
    }

    private static Set<Origin> origins(PreparedStatement statement) throws SQLException {
        Set<Origin> found = new HashSet<>();
        try (ResultSet rows = statement.executeQuery()) {
            while (rows.next()) {
                found.add(new Origin(rows.getInt(1), rows.getLong(2)));
            }
        }
        return found;
    }

    private void refuse(Reading reading, SQLException error, Tally tally) {
        String text = error.getMessage().strip().replaceAll("\\s+", " ");
        String cut = text.substring(0, Math.min(text.length(), MOST_REASON));
        deadLetters.send(reading, "refused_by_database: " + cut);
        tally.rejected++;
    }

    private Map<Integer, Place> movePlaces(Tally tally) throws SQLException {
        Map<Integer, Place> moved = new HashMap<>();
        for (var entry : tally.offsets.entrySet()) {
            int partition = entry.getKey();
            Tally.Offsets offsets = entry.getValue();
            Place place = places.get(partition);
            if (!place.isPast(offsets.next() - 1)) {
                movePlace(partition, place, offsets);
                moved.put(partition, new Place(place.topic(), offsets.next()));
            }
        }
        return moved;
    }

    private void movePlace(int partition, Place place, Tally.Offsets offsets) throws SQLException {
        movePlace.setString(1, place.topic());
        movePlace.setInt(2, partition);
        movePlace.setLong(3, offsets.first());
        movePlace.setLong(4, offsets.next());
        movePlace.setLong(5, batch.id());
        movePlace.setObject(6, place.next(), Types.BIGINT);
        if (movePlace.executeUpdate() != 1) {
            throw new SQLException(
                    "another writer stores partition %d of %s: this one gives way"
                            .formatted(partition, place.topic()));
        }
    }

    private static boolean isRefusal(SQLException error) {
        String state = error.getSQLState();
        return state != null && (state.startsWith("22") || state.startsWith("23"));
    }
}
