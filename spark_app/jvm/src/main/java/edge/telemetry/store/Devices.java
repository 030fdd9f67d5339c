package edge.telemetry.store;

import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.HashMap;
import java.util.Map;

/** What is known of each device, looked up again now and then: it takes no restart to add one. */
final class Devices {
    private static final String FIND = "SELECT device_id, site, room, model FROM devices";
    private static final Device UNKNOWN = new Device(null, null, null);

    /** Each null if it is not known. */
    record Device(String site, String room, String model) {}

    private final long refreshNanos;
    private Map<String, Device> known;
    private long lookedAt;

    Devices(long refreshNanos) {
        this.refreshNanos = refreshNanos;
    }

    Device of(String deviceId) {
        return known.getOrDefault(deviceId, UNKNOWN);
    }

    /** Looks at the table if that was not done for some time. */
    void refresh(Connection connection) throws SQLException {
        if (known != null && System.nanoTime() - lookedAt < refreshNanos) {
            return;
        }
        Map<String, Device> found = new HashMap<>();
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(FIND)) {
            while (rows.next()) {
                Device device = new Device(rows.getString(2), rows.getString(3), rows.getString(4));
                found.put(rows.getString(1), device);
            }
        }
        known = found;
        lookedAt = System.nanoTime();
    }
}
