package edge.telemetry.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.sql.Connection;
import java.sql.SQLException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Against the same database as SessionTest. */
class GroupCommitterTest {
    private final TestDatabase database = new TestDatabase();

    @BeforeEach
    void begin() throws SQLException {
        database.empty();
    }

    @Test
    void aFullBufferHoldsTheTaskAndLosesNothing() throws Exception {
        int many = 5 * database.settings.bufferRows();
        Thread task = new Thread(() -> {
            GroupCommitter committer = join(Thread.currentThread());
            long last = 0;
            for (int i = 0; i < many; i++) {
                last = committer.add(TestDatabase.reading(i, i).make());
            }
            committer.await(last);
            committer.leave(Thread.currentThread());
        });
        try (Connection holder = database.settings.connect("test")) {
            holder.createStatement().execute("LOCK TABLE sensor_data IN EXCLUSIVE MODE");
            task.start();
            task.join(500);
            assertTrue(task.isAlive(), "the task went on without bound");
            holder.rollback();
        }
        task.join(10_000);
        assertEquals(Integer.toString(many), database.value("SELECT count(*) FROM sensor_data"));
    }

    @Test
    void aFailureReachesTheTaskThatWaitsForKafkaAndTheNextOneGoesOn() throws Exception {
        Thread self = Thread.currentThread();
        GroupCommitter committer = join(self);
        committer.await(committer.add(TestDatabase.reading(1, 0).make()));
        database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        + " WHERE application_name = 'streaming-job store'");
        committer.add(TestDatabase.reading(2, 1).make());
        assertThrows(InterruptedException.class, () -> Thread.sleep(5_000));
        assertThrows(IllegalStateException.class, () -> committer.await(2));
        committer.leave(self);
        GroupCommitter next = join(self);
        next.await(next.add(TestDatabase.reading(2, 1).make()));
        next.leave(self);
        assertEquals("2", database.value("SELECT count(*) FROM sensor_data"));
    }

    private GroupCommitter join(Thread task) {
        return GroupCommitter.join(database.settings, 7, TestDatabase.RUN, task);
    }
}
