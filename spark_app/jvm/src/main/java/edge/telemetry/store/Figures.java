package edge.telemetry.store;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Puts the figures of all of an executor's tasks together and writes them once a second, as rows of
 * pipeline_kpi and processing_metrics. Nothing waits for it; while the database is down figures
 * gather here. A crash costs those of the last second, and none is ever written twice.
 */
final class Figures {
    private static final Logger LOG = LoggerFactory.getLogger(Figures.class);
    private static final long INTERVAL_MILLIS = 1000;
    private static final double MICROS_PER_MILLI = 1000;

    private static final String KPI =
            """
            INSERT INTO pipeline_kpi (time, metric_name, value_ms, samples, min_ms, max_ms, sum_ms,
                negative_count, bucket_index, bucket_count, query, run_id, batch_id, gateway)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'store', ?, ?, ?)
            """;
    private static final String PROCESSING =
            """
            INSERT INTO processing_metrics (time, query, run_id, batch_id, rows_in, rows_stored,
                rows_duplicate, rows_late, rows_rejected, bytes, committed_at, kafka_lag,
                spool_records)
            VALUES (?, 'store', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """;

    private static final Map<StoreSettings, Figures> BY_SETTINGS = new ConcurrentHashMap<>();

    private final StoreSettings settings;
    private final KafkaEnds ends;
    private Map<Session.Batch, Tally> gathered = new HashMap<>();
    private Connection connection;

    private Figures(StoreSettings settings) {
        this.settings = settings;
        ends = new KafkaEnds(settings);
        Thread thread = new Thread(this::run, "store-figures");
        thread.setDaemon(true);
        thread.start();
    }

    static Figures of(StoreSettings settings) {
        return BY_SETTINGS.computeIfAbsent(settings, Figures::new);
    }

    synchronized void add(Tally tally, Session.Batch batch) {
        gathered.computeIfAbsent(batch, b -> new Tally()).add(tally);
    }

    private synchronized Map<Session.Batch, Tally> takeAll() {
        Map<Session.Batch, Tally> taken = gathered;
        gathered = new HashMap<>();
        return taken;
    }

    private void run() {
        Instant began = Instant.now();
        while (true) {
            try {
                Thread.sleep(INTERVAL_MILLIS);
            } catch (InterruptedException error) {
                return;
            }
            Map<Session.Batch, Tally> taken = takeAll();
            boolean isDecided = false;
            try {
                if (!taken.isEmpty()) {
                    connect();
                    write(taken, began);
                    // Whether a commit that fails was one is not known: rather never than twice.
                    isDecided = true;
                    connection.commit();
                }
                began = Instant.now();
            } catch (SQLException error) {
                LOG.warn("{}: figures wait: {}", settings, error.getMessage());
                disconnect();
                if (!isDecided) {
                    taken.forEach((batch, tally) -> add(tally, batch));
                }
            }
        }
    }

    private void connect() throws SQLException {
        if (connection == null) {
            connection = settings.connect("streaming-job metrics");
        }
    }

    private void disconnect() {
        try {
            if (connection != null) {
                connection.close();
            }
        } catch (SQLException error) {
            LOG.debug("a connection that failed", error);
        }
        connection = null;
    }

    private void write(Map<Session.Batch, Tally> taken, Instant began) throws SQLException {
        try (PreparedStatement kpi = connection.prepareStatement(KPI);
                PreparedStatement processing = connection.prepareStatement(PROCESSING)) {
            for (var entry : taken.entrySet()) {
                Session.Batch batch = entry.getKey();
                Tally tally = entry.getValue();
                addKpi(kpi, batch, tally, null, tally.latencies);
                for (var clock : tally.clocks.entrySet()) {
                    addKpi(kpi, batch, tally, clock.getKey(), clock.getValue());
                }
                addProcessing(processing, batch, tally, began);
            }
            kpi.executeBatch();
            processing.executeBatch();
        }
    }

    private void addKpi(
            PreparedStatement kpi,
            Session.Batch batch,
            Tally tally,
            String gateway,
            Map<String, Histogram> histograms)
            throws SQLException {
        for (var entry : histograms.entrySet()) {
            Histogram found = entry.getValue();
            int i = 1;
            kpi.setTimestamp(i++, timestamp(tally.committedMicros));
            kpi.setString(i++, entry.getKey());
            kpi.setDouble(i++, (double) found.total() / found.samples() / MICROS_PER_MILLI);
            kpi.setLong(i++, found.samples());
            kpi.setDouble(i++, found.least() / MICROS_PER_MILLI);
            kpi.setDouble(i++, found.greatest() / MICROS_PER_MILLI);
            kpi.setDouble(i++, found.total() / MICROS_PER_MILLI);
            kpi.setLong(i++, found.negative());
            Object[] indexes = found.buckets().keySet().toArray();
            kpi.setArray(i++, connection.createArrayOf("int4", indexes));
            Object[] counts = found.buckets().values().toArray();
            kpi.setArray(i++, connection.createArrayOf("int8", counts));
            kpi.setObject(i++, UUID.fromString(batch.runId()));
            kpi.setLong(i++, batch.id());
            kpi.setString(i, gateway);
            kpi.addBatch();
        }
    }

    private void addProcessing(
            PreparedStatement row, Session.Batch batch, Tally tally, Instant began)
            throws SQLException {
        int i = 1;
        row.setTimestamp(i++, Timestamp.from(began));
        row.setObject(i++, UUID.fromString(batch.runId()));
        row.setLong(i++, batch.id());
        row.setLong(i++, tally.rowsIn);
        row.setLong(i++, tally.stored);
        row.setLong(i++, tally.duplicate);
        row.setLong(i++, tally.late);
        row.setLong(i++, tally.rejected);
        row.setLong(i++, tally.payloadBytes);
        row.setTimestamp(i++, timestamp(tally.committedMicros));
        row.setObject(i++, ends.lagBehind(tally.offsets), Types.BIGINT);
        Long waiting =
                tally.spools.isEmpty()
                        ? null
                        : tally.spools.values().stream().mapToLong(Tally.Spool::waiting).sum();
        row.setObject(i, waiting, Types.BIGINT);
        row.addBatch();
    }

    private static Timestamp timestamp(long micros) {
        return Timestamp.from(Instant.EPOCH.plus(micros, ChronoUnit.MICROS));
    }
}
