package edge.telemetry.store;

import java.util.Map;
import org.apache.spark.TaskContext;
import org.apache.spark.sql.ForeachWriter;
import org.apache.spark.sql.Row;

/**
 * Stores the rows of a task within milliseconds of their arrival. An error fails the task: Spark
 * then reads the batch again, and what was stored already is found to be there.
 */
public final class StoreWriter extends ForeachWriter<Row> {
    private static final long serialVersionUID = 1;

    private final StoreSettings settings;
    private final long firstBatch;
    private transient GroupCommitter committer;
    private transient boolean isChecked;
    private transient long last;

    /**
     * Takes what the query hands on to each task.
     *
     * @param settings see StoreSettings
     * @param firstBatch what is added to Spark's batch numbers (spark_app/checkpoint.py)
     */
    public StoreWriter(Map<String, String> settings, long firstBatch) {
        this.settings = StoreSettings.of(settings);
        this.firstBatch = firstBatch;
    }

    @Override
    public boolean open(long partitionId, long epochId) {
        // Spark gives a query's jobs the id of its run as their group.
        String runId = TaskContext.get().getLocalProperty("spark.jobGroup.id");
        committer =
                GroupCommitter.join(
                        settings, firstBatch + epochId, runId, Thread.currentThread());
        return true;
    }

    @Override
    public void process(Row row) {
        if (!isChecked) {
            Reading.check(row);
            isChecked = true;
        }
        last = committer.add(Reading.of(row));
    }

    /** Returns when all rows are committed; what a task that failed has left is stored as well. */
    @Override
    public void close(Throwable error) {
        if (committer == null) {
            return;
        }
        try {
            if (error == null) {
                committer.await(last);
            }
        } finally {
            committer.leave(Thread.currentThread());
        }
    }
}
