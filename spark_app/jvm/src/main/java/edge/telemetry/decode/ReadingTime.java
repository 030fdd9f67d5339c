package edge.telemetry.decode;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.spark.sql.catalyst.util.DateTimeUtils;
import org.apache.spark.unsafe.types.UTF8String;
import scala.Option;

/**
 * A reading's time: the sensor's where it can be believed, else the gateway's. All in µs since the epoch.
 *
 * @param time of the reading
 * @param sensorTime what the sensor said, if it is not believed and can be shown; else null
 * @param believed whether the sensor's clock is, and says when it was measured
 * @param flags what was wrong with the clocks
 */
record ReadingTime(long time, Long sensorTime, boolean believed, List<String> flags) {
    /** No clock of this project's devices was right before. */
    private static final long EARLIEST = micros("2020-01-01T00:00:00Z");
    /** Outside of these, dates are a device's nonsense, and some programs cannot show them. */
    private static final long SHOWABLE_FROM = micros("1900-01-01T00:00:00Z");

    private static final long SHOWABLE_TO = micros("2200-01-01T00:00:00Z");
    /** With a zone: a local time says nothing about when it was. */
    private static final Pattern ISO_8601 = Pattern.compile(
            "^\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d:\\d\\d([.,]\\d+)?(Z|[+-]\\d\\d(:?\\d\\d)?)\\z");

    private static final BigDecimal MILLISECONDS_ABOVE = BigDecimal.valueOf(100_000_000_000L);
    private static final int NANOSECONDS = 9; // places of a second

    static ReadingTime settle(
            RecordHeaders record, Payload payload, long appendedAt, long offset, long tolerance) {
        Long sent = sent(payload.ts);
        boolean gatewayWrong = record.receivedAt == null
                || is(record.clockQuality, "past")
                || record.receivedAt < EARLIEST
                || record.receivedAt > appendedAt + tolerance;
        // Kafka keeps milliseconds; readings of a device without a number must not fall on one time.
        long arrived = gatewayWrong ? appendedAt + offset % 1000 : record.receivedAt;
        String flag = flag(payload, sent, Math.max(arrived, appendedAt) + tolerance);
        List<String> flags = new ArrayList<>(3);
        if (flag != null) {
            flags.add(flag);
        }
        if (gatewayWrong) {
            flags.add("gateway_clock");
        } else if (flag != null && is(record.clockQuality, "unsynchronised")) {
            flags.add("gateway_unsynchronised");
        } else if (flag != null && (is(record.clockQuality, "corrected") || is(record.clockQuality, "estimated"))) {
            flags.add("gateway_time_corrected");
        }
        if (payload.replay) {
            flags.add("replayed");
        }
        boolean showable = sent != null && sent >= SHOWABLE_FROM && sent <= SHOWABLE_TO;
        return new ReadingTime(
                flag == null ? sent : arrived, flag != null && showable ? sent : null,
                flag == null && !payload.replay, flags);
    }

    static long now() {
        return DateTimeUtils.instantToMicros(Instant.now());
    }

    /** What is wrong with the sensor's time, or null. */
    private static String flag(Payload payload, Long sent, long latest) {
        if (payload.ts == null) {
            return "ts_missing";
        }
        if (sent == null) {
            return "ts_unreadable";
        }
        // A replay says so itself, and is as old as its file.
        if (sent < EARLIEST && !(payload.replay && sent >= 0)) {
            return "ts_before_2020";
        }
        // Later than whichever is later: a gateway's clock that lags makes no sensor's wrong.
        return sent > latest ? "ts_in_future" : null;
    }

    private static Long sent(Object ts) {
        if (ts instanceof String text) {
            return ISO_8601.matcher(text).find() ? parse(text.replace(',', '.')) : null;
        }
        if (!(ts instanceof Numeric number)) {
            return null;
        }
        BigDecimal epoch = number.rounded(NANOSECONDS);
        if (epoch == null) {
            return null;
        }
        int toMicros = epoch.compareTo(MILLISECONDS_ABOVE) > 0 ? 3 : 6;
        BigDecimal micros = epoch.scaleByPowerOfTen(toMicros).setScale(0, RoundingMode.HALF_UP);
        return micros.toBigInteger().bitLength() < Long.SIZE ? (Long) micros.longValue() : null;
    }

    private static Long parse(String text) {
        Option<Object> found = DateTimeUtils.stringToTimestamp(UTF8String.fromString(text), ZoneOffset.UTC);
        return found.isDefined() ? (Long) found.get() : null;
    }

    private static boolean is(UTF8String text, String wanted) {
        return text != null && text.toString().equals(wanted);
    }

    private static long micros(String instant) {
        return DateTimeUtils.instantToMicros(Instant.parse(instant));
    }
}
