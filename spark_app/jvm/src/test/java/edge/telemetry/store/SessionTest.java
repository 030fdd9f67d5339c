package edge.telemetry.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.sql.SQLException;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Against a migrated database: tests/spark/test_store_writer.py makes one and starts these. */
class SessionTest {
    private static final String PLACES =
            "SELECT string_agg(first_offset || '-' || next_offset, ',') FROM kafka_position";
    private static final String NOTES =
            "SELECT string_agg(kind || readings, ',' ORDER BY kind) FROM ledger_note";

    private final TestDatabase database = new TestDatabase();
    private final Session session = new Session(database.settings);

    @BeforeEach
    void begin() throws SQLException {
        database.empty();
        session.beginBatch(7, TestDatabase.RUN);
    }

    @AfterEach
    void end() {
        session.close();
    }

    @Test
    void valuesArriveAsTheyAre() throws Exception {
        Reading odd =
                TestDatabase.reading(1, 0)
                        .deviceId("é\"\\,\n\t'\uD83C\uDF21")
                        .measurements("{\"a\\\"b\": 1e-7}")
                        .flags("ts_missing,replayed")
                        .temperature(Double.MIN_VALUE)
                        .time(-1)
                        .make();
        Reading bare = TestDatabase.reading(2, 1).temperature(null).measurements(null).make();
        session.store(List.of(odd, bare));
        assertEquals(
                List.of(
                        List.of(
                                "é\"\\,\n\t'\uD83C\uDF21",
                                "1969-12-31 23:59:59.999999+00",
                                "5e-324",
                                "{\"a\\\"b\": 0.0000001}",
                                "{ts_missing,replayed}",
                                "7"),
                        List.of("dev", "1970-01-01 00:00:00.000002+00", "", "{}", "{}", "7")),
                database.rows(
                        "SELECT device_id, time::text, temperature::text, measurements::text,"
                                + " quality_flags::text, batch_id FROM sensor_data ORDER BY seq"));
    }

    @Test
    void readAgainNothingIsDoubled() throws Exception {
        Reading late = TestDatabase.reading(3, 2).appendedAt(3_600_000_000L).make();
        Reading copy = TestDatabase.reading(1, 1).make();
        List<Reading> records = List.of(TestDatabase.reading(1, 0).make(), copy, late);
        for (int run = 0; run < 2; run++) {
            session.beginBatch(7, TestDatabase.RUN);
            session.store(records);
        }
        assertEquals("2", database.value("SELECT count(*) FROM sensor_data"));
        assertEquals("duplicate1,late1", database.value(NOTES));
        assertEquals("0-3", database.value(PLACES));
    }

    @Test
    void notesOfOneBatchAddUp() throws Exception {
        session.store(List.of(TestDatabase.reading(1, 0).make()));
        for (int offset = 1; offset < 4; offset++) {
            session.store(List.of(TestDatabase.reading(1, offset).make()));
        }
        assertEquals("duplicate3", database.value(NOTES));
        assertEquals("3-4", database.value(PLACES));
    }

    @Test
    void theSecondWriterOfAPartitionGivesWay() throws Exception {
        session.store(List.of(TestDatabase.reading(1, 0).make()));
        try (Session second = new Session(database.settings)) {
            second.beginBatch(8, TestDatabase.RUN);
            second.store(List.of(TestDatabase.reading(2, 1).make()));
        }
        List<Reading> next = List.of(TestDatabase.reading(3, 2).make());
        SQLException error = assertThrows(SQLException.class, () -> session.store(next));
        assertTrue(error.getMessage().contains("partition 0 of raw"), error.getMessage());
        session.close();
        assertEquals("2", database.value("SELECT count(*) FROM sensor_data"));
    }

    @Test
    void whatIsKnownOfTheDeviceIsAdded() throws Exception {
        database.execute("INSERT INTO devices (device_id, room, model) VALUES ('dev', 'r', 'm')");
        session.store(List.of(TestDatabase.reading(1, 0).make()));
        assertEquals(
                List.of(List.of("topic", "r", "m")),
                database.rows("SELECT site, room, model FROM sensor_data"));
    }
}
