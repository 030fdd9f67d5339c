package edge.telemetry.decode;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.unsafe.types.UTF8String;

/** What a payload says: an object of JSON (RFC 8259) with no name twice, each number of it a quantity. */
final class Payload {
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            // Names come from outside: a table of them would stay, and made to collide they would end the task.
            .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .build();
    private static final int MAX_NUMBER = 1000; // characters
    private static final UTF8String NO_MEASUREMENTS = UTF8String.fromString("{}");
    private static final List<String> NUMBERS = List.of("temperature", "humidity", "seq");

    static final Object TS_OTHER = new Object();

    Double temperature;
    Double humidity;
    /** Of the sensor's time: text, Numeric, or TS_OTHER for anything else; null if it has none. */
    Object ts;
    boolean replay;

    private String refusal;
    private String deviceId;
    private Long seq;
    private boolean invalidSeq;
    private boolean withNul;
    private boolean infinite;
    private int quantities;
    /** Fields whose values are of another type than they have to be. */
    private final List<String> wrong = new ArrayList<>(0);
    private final Map<String, Numeric> measurements = new TreeMap<>();

    private Payload() {}

    static Payload of(byte[] value) {
        Payload payload = new Payload();
        if (value == null || value.length == 0) {
            payload.refusal = "empty";
        } else if (!UTF8String.fromBytes(value).isValid()) {
            payload.refusal = "invalid_utf8";
        } else {
            // From text: of bytes the parser would guess the encoding.
            payload.parse(new String(value, StandardCharsets.UTF_8));
        }
        return payload;
    }

    /** Why the record is refused, or null; the first reason counts. */
    String refusal(UTF8String device) {
        if (refusal != null) {
            return refusal;
        }
        if (withNul) {
            return "nul_character";
        }
        if (wrong.contains("device_id")) {
            return "wrong_type:device_id";
        }
        if (deviceId != null && !UTF8String.fromString(deviceId).equals(device)) {
            return "device_id_differs";
        }
        for (String name : NUMBERS) {
            if (wrong.contains(name)) {
                return "wrong_type:" + name;
            }
        }
        if (invalidSeq) {
            return "invalid_seq";
        }
        if (infinite) {
            return "number_out_of_range";
        }
        return quantities == 0 ? "no_quantity" : null;
    }

    /** The device's own number of the reading; -1 if it has none. */
    long seq() {
        return seq == null ? -1 : seq;
    }

    /** All numbers that have no column of their own, as JSON; null if there is no object. */
    UTF8String measurements() {
        if (refusal != null) {
            return null;
        }
        if (measurements.isEmpty()) {
            return NO_MEASUREMENTS;
        }
        StringBuilder json = new StringBuilder("{");
        measurements.forEach((name, number) -> json.append(json.length() == 1 ? "\"" : ",\"")
                .append(JsonStringEncoder.getInstance().quoteAsString(name))
                .append("\":")
                .append(number.json()));
        return UTF8String.fromString(json.append('}').toString());
    }

    private void parse(String text) {
        boolean escapes = text.contains("\\u");
        try (JsonParser parser = JSON.createParser(text)) {
            boolean object = parser.nextToken() == JsonToken.START_OBJECT;
            if (object) {
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    check(parser, escapes);
                    parser.nextToken();
                    take(name, parser, escapes);
                }
            } else if (parser.currentToken() == null) {
                refusal = "not_json";
            } else {
                skip(parser, escapes);
            }
            if (parser.nextToken() != null) {
                refusal = "not_json";
            } else if (!object && refusal == null) {
                refusal = "not_an_object";
            }
        } catch (IOException error) {
            refusal = "not_json";
        }
    }

    private void take(String name, JsonParser parser, boolean escapes) throws IOException {
        JsonToken token = parser.currentToken();
        skip(parser, escapes);
        String text = token == JsonToken.VALUE_STRING ? parser.getText() : null;
        Numeric number = token.isNumeric() ? new Numeric(parser.getText()) : null;
        withNul |= name.indexOf('\0') >= 0;
        if (token == JsonToken.VALUE_NULL) {
            return; // as if it were not there
        }
        if (name.equals("device_id") ? text == null : number == null && NUMBERS.contains(name)) {
            wrong.add(name);
            return;
        }
        switch (name) {
            case "device_id" -> deviceId = text;
            case "ts" -> ts = text != null ? text : number != null ? number : TS_OTHER;
            case "replay" -> replay = token == JsonToken.VALUE_TRUE;
            case "seq" -> {
                seq = number.count();
                invalidSeq = seq == null;
            }
            case "temperature" -> temperature = quantity(number);
            case "humidity" -> humidity = quantity(number);
            default -> {
                if (number != null) {
                    quantity(number);
                    measurements.put(name, number);
                }
            }
        }
    }

    private double quantity(Numeric number) {
        quantities++;
        infinite |= Double.isInfinite(number.real());
        return number.real();
    }

    /** Go to the end of the value, and see that all in it is sound. */
    private static void skip(JsonParser parser, boolean escapes) throws IOException {
        int depth = 0;
        JsonToken token = parser.currentToken();
        while (true) {
            check(parser, escapes);
            depth += token.isStructStart() ? 1 : token.isStructEnd() ? -1 : 0;
            if (depth == 0) {
                return;
            }
            token = parser.nextToken();
        }
    }

    /**
     * What the parser would let pass: half a pair of surrogates, a number of any length.
     *
     * @throws IOException it is one
     */
    private static void check(JsonParser parser, boolean escapes) throws IOException {
        JsonToken token = parser.currentToken();
        if (token.isNumeric()) {
            String text = parser.getText();
            int sign = token == JsonToken.VALUE_NUMBER_INT && text.charAt(0) == '-' ? 1 : 0;
            if (text.length() - sign > MAX_NUMBER) {
                throw new IOException("a number of more than " + MAX_NUMBER + " characters");
            }
        } else if (escapes && (token == JsonToken.FIELD_NAME || token == JsonToken.VALUE_STRING)
                && !StandardCharsets.UTF_8.newEncoder().canEncode(parser.getText())) {
            throw new IOException("half a pair of surrogates");
        }
    }
}
