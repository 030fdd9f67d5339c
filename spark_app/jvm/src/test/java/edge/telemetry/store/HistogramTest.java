package edge.telemetry.store;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class HistogramTest {
    // As spark_app/histogram.py has them: tests/unit/spark_app/test_histogram.py.
    @ParameterizedTest
    @CsvSource({
        "0, 0", "1, 1", "2, 37", "10, 118", "1000, 350", "-1000, -350", "3600000000, 1113"
    })
    void bucketsAreThoseOfTheOtherWriter(long micros, int bucket) {
        assertEquals(bucket, Histogram.bucket(micros));
    }

    @Test
    void twoPutTogetherAreOneOfAll() {
        Histogram one = new Histogram();
        one.add(1);
        one.add(-5);
        Histogram other = new Histogram();
        other.add(1);
        one.add(other);
        assertEquals(Map.of(1, 2L, Histogram.bucket(-5), 1L), one.buckets());
        assertEquals(3, one.samples());
        assertEquals(-3, one.total());
        assertEquals(-5, one.least());
        assertEquals(1, one.greatest());
        assertEquals(1, one.negative());
    }
}
