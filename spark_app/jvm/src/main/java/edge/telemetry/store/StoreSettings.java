package edge.telemetry.store;

import java.io.Serializable;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.postgresql.Driver;

/**
 * What the writer connects to, and its pace. Travels to the executors with the query.
 *
 * @param url JDBC URL of the database
 * @param kafka how Kafka's clients reach it, for dead letters and the lag
 * @param rawTopic topic that is read
 * @param deadLetterTopic topic of the records that are no readings
 * @param lateAfterMicros a reading that Kafka appends longer after its capture counts as late
 * @param groupMillis least time between the starts of two transactions of a task
 * @param deviceRefreshNanos time between two looks at the table of devices
 * @param bufferRows most rows that wait for a transaction; then the task waits
 */
record StoreSettings(
        String url,
        String user,
        String password,
        Map<String, String> kafka,
        String rawTopic,
        String deadLetterTopic,
        long lateAfterMicros,
        long groupMillis,
        long deviceRefreshNanos,
        int bufferRows)
        implements Serializable {
    private static final String KAFKA = "kafka.";

    /** Reads settings as Python hands them over; a missing one is named. */
    static StoreSettings of(Map<String, String> values) {
        return new StoreSettings(
                required(values, "url"),
                required(values, "user"),
                required(values, "password"),
                kafka(values),
                required(values, "raw_topic"),
                required(values, "dead_letter_topic"),
                Math.round(seconds(values, "late_after_seconds") * 1e6),
                Long.parseLong(required(values, "group_ms")),
                Math.round(seconds(values, "device_refresh_seconds") * 1e9),
                Integer.parseInt(required(values, "buffer_rows")));
    }

    /** Opens a connection without automatic commits; a dead peer is noticed within about 20 s. */
    Connection connect(String application) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("password", password);
        properties.setProperty("ApplicationName", application);
        properties.setProperty("connectTimeout", "5");
        properties.setProperty("socketTimeout", "20");
        properties.setProperty("tcpKeepAlive", "true");
        properties.setProperty("options", "-c timezone=UTC");
        // Not DriverManager, which does not look into jars that Spark adds later.
        Connection connection = new Driver().connect(url, properties);
        connection.setAutoCommit(false);
        return connection;
    }

    /** Without the password. */
    @Override
    public String toString() {
        return url + " as " + user;
    }

    /** What is called `kafka.…`, by Kafka's own names. */
    private static Map<String, String> kafka(Map<String, String> values) {
        Map<String, String> found = new HashMap<>();
        values.forEach(
                (name, value) -> {
                    if (name.startsWith(KAFKA)) {
                        found.put(name.substring(KAFKA.length()), value);
                    }
                });
        return Map.copyOf(found);
    }

    private static double seconds(Map<String, String> values, String name) {
        return Double.parseDouble(required(values, name));
    }

    private static String required(Map<String, String> values, String name) {
        String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException("the store writer lacks the setting " + name);
        }
        return value;
    }
}
