package edge.telemetry.decode;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.spark.unsafe.types.UTF8String;

/** Whose readings a topic has: `sensors/{site}/{device}/telemetry`; both are null where it is another. */
record Topic(UTF8String site, UTF8String device) {
    private static final byte[] BEGIN = "sensors/".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] END = "/telemetry".getBytes(StandardCharsets.US_ASCII);
    private static final Topic OTHER = new Topic(null, null);

    static Topic of(UTF8String topic) {
        if (topic == null) {
            return OTHER;
        }
        byte[] bytes = topic.getBytes();
        int end = bytes.length - END.length;
        if (end < BEGIN.length || !matches(bytes, 0, BEGIN) || !matches(bytes, end, END)) {
            return OTHER;
        }
        int slash = -1;
        for (int at = BEGIN.length; at < end; at++) {
            switch (bytes[at]) {
                case '+', '#', 0 -> {
                    return OTHER;
                }
                case '/' -> {
                    if (slash >= 0) {
                        return OTHER;
                    }
                    slash = at;
                }
                default -> { }
            }
        }
        if (slash <= BEGIN.length || slash + 1 >= end) {
            return OTHER;
        }
        return new Topic(
                UTF8String.fromBytes(bytes, BEGIN.length, slash - BEGIN.length),
                UTF8String.fromBytes(bytes, slash + 1, end - slash - 1));
    }

    /** Why the record is refused, or null. */
    String refusal(int maxNameBytes) {
        if (device == null) {
            return "topic_malformed";
        }
        return Math.max(site.numBytes(), device.numBytes()) > maxNameBytes ? "name_too_long" : null;
    }

    private static boolean matches(byte[] bytes, int at, byte[] wanted) {
        return Arrays.equals(bytes, at, at + wanted.length, wanted, 0, wanted.length);
    }
}
