package edge.telemetry.decode;

import java.util.List;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.catalyst.expressions.KnownNotNull;
import org.apache.spark.sql.catalyst.expressions.objects.StaticInvoke;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.catalyst.util.GenericArrayData;
import org.apache.spark.sql.classic.ExpressionUtils;
import org.apache.spark.sql.types.AbstractDataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.unsafe.types.UTF8String;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Kafka records to readings: parse, validate, settle the time; no state.
 *
 * <p>One call a record on Spark's own types. As expressions of SQL the same rules took five times the
 * processor time (docs/decisions/0023-decoder-in-java.md).
 */
public final class Decoder {
    /** What `decode` returns, in its order. Times are µs since the epoch. The archive's files say what is never null. */
    private static final StructType SCHEMA = StructType.fromDDL(
                    "read_at timestamp, payload_bytes int not null, gateway string, clock_offset_us bigint, "
                            + "clock_error_us bigint, spool_seq bigint, spool_waiting bigint, resent boolean not null, "
                            + "topic_site string, device_id string, received_at timestamp, reason string, "
                            + "seq bigint not null, temperature double, humidity double, measurements string, "
                            + "time timestamp, sensor_ts timestamp, clock_believed boolean not null")
            .add("clock_flags", DataTypes.createArrayType(DataTypes.StringType, false), false);

    private Decoder() {}

    /**
     * The expression that decodes a record.
     *
     * @param headers array of (key, value), as Spark's Kafka source gives them
     * @param value the payload
     * @param appendedAt when Kafka wrote the record
     * @param offset the record's, for times that Kafka tells to the millisecond only
     * @param futureTolerance µs that a sensor's clock may be ahead of the arrival
     * @param maxNameBytes longest name of a device or site
     */
    public static Column column(
            Column headers, Column value, Column appendedAt, Column offset, Column futureTolerance,
            Column maxNameBytes) {
        List<Expression> arguments = List.of(
                ExpressionUtils.expression(headers),
                ExpressionUtils.expression(value),
                // Kafka's records have both, though Spark does not say so; else all could be null.
                new KnownNotNull(ExpressionUtils.expression(appendedAt)),
                new KnownNotNull(ExpressionUtils.expression(offset)),
                ExpressionUtils.expression(futureTolerance),
                ExpressionUtils.expression(maxNameBytes));
        Seq<AbstractDataType> asTheyAre = CollectionConverters.<AbstractDataType>asScala(List.of()).toSeq();
        // Called deterministic, Spark would work it out again wherever a row is filtered by its result.
        boolean propagateNull = false;
        boolean nullable = false;
        boolean deterministic = false;
        return ExpressionUtils.column(new StaticInvoke(
                Decoder.class, SCHEMA, "decode", CollectionConverters.asScala(arguments).toSeq(), asTheyAre,
                propagateNull, nullable, deterministic, Option.empty()));
    }

    /** Decode a record; Spark calls it by its name. */
    public static InternalRow decode(
            ArrayData headers, byte[] value, long appendedAt, long offset, long futureTolerance,
            int maxNameBytes) {
        RecordHeaders record = RecordHeaders.of(headers);
        Topic topic = Topic.of(record.topic);
        Payload payload = Payload.of(value);
        ReadingTime time = ReadingTime.settle(record, payload, appendedAt, offset, futureTolerance);
        String reason = topic.refusal(maxNameBytes);
        return new GenericInternalRow(new Object[] {
            ReadingTime.now(),
            value == null ? 0 : value.length,
            record.gateway,
            record.clockOffsetUs,
            record.clockErrorUs,
            record.spoolSeq,
            record.spoolWaiting,
            record.resent,
            topic.site(),
            topic.device(),
            record.receivedAt,
            UTF8String.fromString(reason == null ? payload.refusal(topic.device()) : reason),
            payload.seq(),
            payload.temperature,
            payload.humidity,
            payload.measurements(),
            time.time(),
            time.sensorTime(),
            time.believed(),
            new GenericArrayData(time.flags().stream().map(UTF8String::fromString).toArray()),
        });
    }
}
