package edge.telemetry.decode;

import java.math.BigDecimal;
import java.math.RoundingMode;

/**
 * A number of a payload. Without an exponent and with at most 38 digits, before and after the point,
 * it is exact, as PostgreSQL's and Parquet's decimals are; any other is a binary floating-point number.
 */
final class Numeric {
    private static final int EXACT_DIGITS = 38;
    private static final int SEQ_PLACES = 18;

    private final String text;
    private final boolean exact;
    private final double real;

    Numeric(String text) {
        this.text = text;
        this.exact = isExact(text);
        double read = Double.parseDouble(text);
        // A decimal has no negative zero.
        this.real = exact && read == 0 ? 0 : read;
    }

    double real() {
        return real;
    }

    /** As JSON of what was understood. */
    String json() {
        return exact ? text : Double.toString(real);
    }

    /** With so many places after the point, or null where it has more than 38 digits then. */
    BigDecimal rounded(int places) {
        return Double.isInfinite(real) ? null : rounded(decimal(), places);
    }

    /** The whole number from 0 to 2^63 - 1 that it is, to eighteen places, or null. */
    Long count() {
        if (Double.isInfinite(real)) {
            return null;
        }
        BigDecimal decimal = decimal();
        BigDecimal rounded = rounded(decimal, SEQ_PLACES);
        if (rounded == null || rounded.signum() < 0) {
            return null;
        }
        BigDecimal whole = decimal.setScale(0, RoundingMode.DOWN);
        boolean fits = rounded.compareTo(whole) == 0 && whole.toBigInteger().bitLength() < Long.SIZE;
        // Beyond 2^53 a double's shortest text may name another whole number than it is.
        return fits && (exact || (long) real == whole.longValue()) ? (Long) whole.longValue() : null;
    }

    private static BigDecimal rounded(BigDecimal number, int places) {
        BigDecimal rounded = number.setScale(places, RoundingMode.HALF_UP);
        return rounded.precision() > EXACT_DIGITS ? null : rounded;
    }

    private BigDecimal decimal() {
        return exact ? new BigDecimal(text) : new BigDecimal(Double.toString(real));
    }

    private static boolean isExact(String text) {
        if (text.indexOf('e') >= 0 || text.indexOf('E') >= 0) {
            return false;
        }
        if (text.length() <= EXACT_DIGITS) {
            return true;
        }
        BigDecimal number = new BigDecimal(text);
        return number.precision() <= EXACT_DIGITS && number.scale() <= EXACT_DIGITS;
    }
}
