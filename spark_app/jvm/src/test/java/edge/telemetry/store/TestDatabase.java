package edge.telemetry.store;

import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;

/** A migrated database that EDGE_TEST_JDBC, _USER and _PASSWORD name, and readings for it. */
final class TestDatabase {
    static final String RUN = "00000000-0000-0000-0000-000000000001";

    final StoreSettings settings;

    TestDatabase() {
        String url = System.getenv("EDGE_TEST_JDBC");
        Assumptions.assumeTrue(url != null, "EDGE_TEST_JDBC is not set: no database to store in");
        settings =
                StoreSettings.of(
                        Map.of(
                                "url", url,
                                "user", System.getenv("EDGE_TEST_JDBC_USER"),
                                "password", System.getenv("EDGE_TEST_JDBC_PASSWORD"),
                                "kafka.bootstrap.servers", "127.0.0.1:9",
                                "raw_topic", "raw",
                                "dead_letter_topic", "dead",
                                "late_after_seconds", "600",
                                "device_refresh_seconds", "60",
                                "group_ms", "1",
                                "buffer_rows", "100"));
    }

    void empty() throws SQLException {
        execute("TRUNCATE sensor_data, kafka_position, ledger_note, devices");
    }

    void execute(String sql) throws SQLException {
        try (Connection connection = settings.connect("test");
                Statement statement = connection.createStatement()) {
            statement.execute(sql);
            connection.commit();
        }
    }

    String value(String sql) throws SQLException {
        return rows(sql).get(0).get(0);
    }

    /** Returns rows as text; null is empty. */
    List<List<String>> rows(String sql) throws SQLException {
        List<List<String>> found = new ArrayList<>();
        try (Connection connection = settings.connect("test");
                Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) {
                List<String> row = new ArrayList<>();
                for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) {
                    String value = rows.getString(i);
                    row.add(value == null ? "" : value);
                }
                found.add(row);
            }
        }
        return found;
    }

    static Builder reading(long seq, long offset) {
        return new Builder(seq, offset);
    }

    /** A reading of device dev, captured seq microseconds after 1970. */
    static final class Builder {
        private final long seq;
        private final long offset;
        private String deviceId = "dev";
        private Double temperature = 21.5;
        private String measurements = "{}";
        private String flags = "";
        private long time;
        private long appendedAt;

        private Builder(long seq, long offset) {
            this.seq = seq;
            this.offset = offset;
            time = seq;
            appendedAt = seq;
        }

        Builder deviceId(String value) {
            deviceId = value;
            return this;
        }

        Builder temperature(Double value) {
            temperature = value;
            return this;
        }

        Builder measurements(String value) {
            measurements = value;
            return this;
        }

        Builder flags(String value) {
            flags = value;
            return this;
        }

        Builder time(long value) {
            time = value;
            return this;
        }

        Builder appendedAt(long value) {
            appendedAt = value;
            return this;
        }

        Reading make() {
            return new Reading(
                    time,
                    deviceId,
                    seq,
                    temperature,
                    null,
                    null,
                    null,
                    measurements,
                    "topic",
                    "gw",
                    flags,
                    null,
                    null,
                    appendedAt,
                    appendedAt,
                    "raw",
                    0,
                    offset,
                    null,
                    10,
                    true,
                    null,
                    null,
                    null,
                    null,
                    null,
                    List.of());
        }
    }
}
