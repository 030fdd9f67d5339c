package edge.telemetry.decode;

import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.unsafe.types.UTF8String;

/** What a record's headers say; null where they do not. Their names are those of telemetry/headers.py. */
final class RecordHeaders {
    private static final int SHORT = 18; // so many digits fit a long
    private static final UTF8String NUL = UTF8String.fromString("\0");

    UTF8String topic;
    UTF8String gateway;
    UTF8String clockQuality;
    Long receivedAt;
    Long clockOffsetUs;
    Long clockErrorUs;
    Long spoolSeq;
    Long spoolWaiting;
    boolean resent;

    private RecordHeaders() {}

    /** Read them; of two with one name the first counts. */
    static RecordHeaders of(ArrayData headers) {
        RecordHeaders found = new RecordHeaders();
        for (int index = headers == null ? -1 : headers.numElements() - 1; index >= 0; index--) {
            InternalRow header = headers.getStruct(index, 2);
            found.take(header.getUTF8String(0).toString(), header.isNullAt(1) ? null : header.getBinary(1));
        }
        return found;
    }

    private void take(String name, byte[] value) {
        switch (name) {
            case "mqtt_topic" -> topic = text(value);
            // PostgreSQL takes no NUL.
            case "gateway" -> gateway = without(text(value));
            case "clock_quality" -> clockQuality = text(value);
            case "received_ns" -> receivedAt = toMicros(number(value));
            case "clock_offset_ns" -> clockOffsetUs = toMicros(number(value));
            case "clock_error_ns" -> clockErrorUs = toMicros(number(value));
            case "spool_seq" -> spoolSeq = number(value);
            case "spool_waiting" -> spoolWaiting = number(value);
            case "resent" -> resent = text(value) != null;
            default -> { }
        }
    }

    private static UTF8String text(byte[] value) {
        UTF8String text = UTF8String.fromBytes(value);
        return text != null && text.isValid() ? text : null;
    }

    private static UTF8String without(UTF8String text) {
        return text == null || !text.contains(NUL) ? text : text.replace(NUL, UTF8String.EMPTY_UTF8);
    }

    private static Long toMicros(Long nanoseconds) {
        return nanoseconds == null ? null : (Long) (nanoseconds / 1000);
    }

    private static Long number(byte[] value) {
        if (value == null || value.length == 0) {
            return null;
        }
        if (value.length > SHORT) {
            return slowly(value);
        }
        long number = 0;
        for (byte digit : value) {
            if (digit < '0' || digit > '9') {
                return slowly(value);
            }
            number = 10 * number + digit - '0';
        }
        return number;
    }

    /** As Spark's try_cast, for signs, blanks and what is no number. */
    private static Long slowly(byte[] value) {
        try {
            return UTF8String.fromBytes(value).toLongExact();
        } catch (NumberFormatException error) {
            return null;
        }
    }
}
