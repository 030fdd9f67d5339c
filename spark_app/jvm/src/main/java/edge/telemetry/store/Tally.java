package edge.telemetry.store;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What was counted and measured of one transaction, or of several put together. */
final class Tally {
    /** The state of a gateway's spool, as the record with that number in it says. */
    record Spool(long seq, long waiting) {}

    /** The offset of the first record, and the one behind the last. */
    record Offsets(long first, long next) {
        Offsets with(Offsets other) {
            return new Offsets(Math.min(first, other.first), Math.max(next, other.next));
        }
    }

    long rowsIn;
    long stored;
    long duplicate;
    long late;
    long rejected;
    long payloadBytes;
    long committedMicros;

    /** By metric name, of rows that were new. */
    final Map<String, Histogram> latencies = new LinkedHashMap<>();

    /** The same of the gateways' clocks, by gateway. */
    final Map<String, Map<String, Histogram>> clocks = new HashMap<>();

    final Map<String, Spool> spools = new HashMap<>();

    /** What was read, by partition. */
    final Map<Integer, Offsets> offsets = new HashMap<>();

    void read(Reading record) {
        rowsIn++;
        payloadBytes += record.payloadBytes();
        rejected += record.isRefused() ? 1 : 0;
        Offsets here = new Offsets(record.offset(), record.offset() + 1);
        offsets.merge(record.partition(), here, Offsets::with);
        if (record.knowsSpool()) {
            Spool spool = new Spool(record.spoolSeq(), record.spoolWaiting());
            spools.merge(record.gateway(), spool, Tally::newer);
        }
    }

    /** Measures rows that were new; a clock that is not believed spoils no figure. */
    void measure(List<Reading> inserted, long committed) {
        committedMicros = committed;
        for (Reading row : inserted) {
            if (Boolean.TRUE.equals(row.clockBelieved())) {
                latency("mqtt_to_kafka", row.appendedAt() - row.time());
                latency("total_pipeline_latency", committed - row.time());
            }
            latency("kafka_to_spark", row.readAt() - row.appendedAt());
            latency("spark_to_timescaledb", committed - row.readAt());
            clock(row.gateway(), "gateway_clock_offset", row.clockOffset());
            clock(row.gateway(), "gateway_clock_error", row.clockError());
        }
    }

    void add(Tally other) {
        rowsIn += other.rowsIn;
        stored += other.stored;
        duplicate += other.duplicate;
        late += other.late;
        rejected += other.rejected;
        payloadBytes += other.payloadBytes;
        committedMicros = Math.max(committedMicros, other.committedMicros);
        merge(latencies, other.latencies);
        other.clocks.forEach((gateway, found) -> merge(clocksOf(gateway), found));
        other.spools.forEach((gateway, spool) -> spools.merge(gateway, spool, Tally::newer));
        other.offsets.forEach((partition, found) -> offsets.merge(partition, found, Offsets::with));
    }

    private void latency(String metric, long micros) {
        latencies.computeIfAbsent(metric, m -> new Histogram()).add(micros);
    }

    private void clock(String gateway, String metric, Long micros) {
        if (gateway != null && micros != null) {
            clocksOf(gateway).computeIfAbsent(metric, m -> new Histogram()).add(micros);
        }
    }

    private Map<String, Histogram> clocksOf(String gateway) {
        return clocks.computeIfAbsent(gateway, g -> new HashMap<>());
    }

    private static void merge(Map<String, Histogram> into, Map<String, Histogram> other) {
        other.forEach((name, found) -> into.computeIfAbsent(name, n -> new Histogram()).add(found));
    }

    private static Spool newer(Spool one, Spool other) {
        return one.seq() > other.seq() ? one : other;
    }
}
