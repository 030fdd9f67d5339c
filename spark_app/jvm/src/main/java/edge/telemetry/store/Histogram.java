package edge.telemetry.store;

import java.util.Map;
import java.util.TreeMap;

/** Latencies in µs, in the buckets of spark_app/histogram.py, which says how they are made. */
final class Histogram {
    private static final double LOG_GAMMA = Math.log(1.02);

    private final TreeMap<Integer, Long> buckets = new TreeMap<>();
    private long samples;
    private long total;
    private long least = Long.MAX_VALUE;
    private long greatest = Long.MIN_VALUE;
    private long negative;

    static int bucket(long micros) {
        double size = Math.max(Math.abs((double) micros), 1);
        return Long.signum(micros) * (1 + (int) Math.ceil(Math.log(size) / LOG_GAMMA));
    }

    void add(long micros) {
        buckets.merge(bucket(micros), 1L, Long::sum);
        samples++;
        total += micros;
        least = Math.min(least, micros);
        greatest = Math.max(greatest, micros);
        negative += micros < 0 ? 1 : 0;
    }

    void add(Histogram other) {
        other.buckets.forEach((index, count) -> buckets.merge(index, count, Long::sum));
        samples += other.samples;
        total += other.total;
        least = Math.min(least, other.least);
        greatest = Math.max(greatest, other.greatest);
        negative += other.negative;
    }

    /** Samples by bucket, ascending. */
    Map<Integer, Long> buckets() {
        return buckets;
    }

    long samples() {
        return samples;
    }

    long total() {
        return total;
    }

    long least() {
        return least;
    }

    long greatest() {
        return greatest;
    }

    long negative() {
        return negative;
    }
}
