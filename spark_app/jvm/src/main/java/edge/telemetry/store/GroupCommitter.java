package edge.telemetry.store;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Where the rows of all of an executor's tasks wait for the next transaction, which a thread begins
 * as soon as the one before is done. So a group grows with the load, and a lone row does not wait
 * for others. After a failure it takes no more rows, and all of its tasks fail.
 */
final class GroupCommitter {
    private static final List<GroupCommitter> ALL = new ArrayList<>();

    private final StoreSettings settings;
    private final Session session;
    private final long paceNanos;

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition arrived = lock.newCondition();
    private final Condition moved = lock.newCondition();
    private final Set<Thread> tasks = new HashSet<>();
    private List<Reading> waiting = new ArrayList<>();
    private long added;
    private long committed;
    private boolean isClosed;
    private Throwable failure;

    private GroupCommitter(StoreSettings settings) {
        this.settings = settings;
        session = new Session(settings);
        paceNanos = TimeUnit.MILLISECONDS.toNanos(settings.groupMillis());
        Thread thread = new Thread(this::run, "store");
        thread.setDaemon(true);
        thread.start();
    }

    /**
     * Returns the executor's committer for a batch; those of queries that have ended are closed.
     *
     * @param task the thread that reads from Kafka, which is interrupted there if storing fails
     */
    static GroupCommitter join(StoreSettings settings, long batchId, String runId, Thread task) {
        synchronized (ALL) {
            GroupCommitter found = null;
            for (Iterator<GroupCommitter> each = ALL.iterator(); each.hasNext(); ) {
                GroupCommitter one = each.next();
                if (one.serves(settings)) {
                    found = one;
                } else if (one.closeIfIdle()) {
                    each.remove();
                }
            }
            if (found == null) {
                found = new GroupCommitter(settings);
                ALL.add(found);
            }
            found.session.beginBatch(batchId, runId);
            found.lock.lock();
            found.tasks.add(task);
            found.lock.unlock();
            return found;
        }
    }

    /**
     * Takes a row; waits while too many wait already.
     *
     * @return its number, for `await`
     */
    long add(Reading reading) {
        lock.lock();
        try {
            while (waiting.size() >= settings.bufferRows() && failure == null) {
                moved.await();
            }
            check();
            waiting.add(reading);
            arrived.signal();
            return ++added;
        } catch (InterruptedException error) {
            check();
            throw new IllegalStateException("the task was stopped", error);
        } finally {
            lock.unlock();
        }
    }

    /** Returns when the row with a number, and all before it, are committed. */
    void await(long number) {
        lock.lock();
        try {
            while (committed < number && failure == null) {
                moved.await();
            }
            check();
        } catch (InterruptedException error) {
            check();
            throw new IllegalStateException("the task was stopped", error);
        } finally {
            lock.unlock();
        }
    }

    /** Forgets a task that has ended. */
    void leave(Thread task) {
        lock.lock();
        try {
            tasks.remove(task);
        } finally {
            lock.unlock();
        }
    }

    private boolean serves(StoreSettings other) {
        lock.lock();
        try {
            return failure == null && settings.equals(other);
        } finally {
            lock.unlock();
        }
    }

    private boolean closeIfIdle() {
        lock.lock();
        try {
            if (!tasks.isEmpty()) {
                return false;
            }
            isClosed = true;
            arrived.signal();
            return true;
        } finally {
            lock.unlock();
        }
    }

    private void check() {
        if (failure != null) {
            throw new IllegalStateException("cannot store: " + failure.getMessage(), failure);
        }
    }

    private void run() {
        try {
            for (List<Reading> group = take(); group != null; group = take()) {
                session.store(group);
                release(group.size());
            }
        } catch (Throwable error) {
            fail(error);
        } finally {
            session.close();
        }
    }

    /** Returns all rows that wait; null at the end. */
    private List<Reading> take() throws InterruptedException {
        lock.lock();
        try {
            while (waiting.isEmpty() && !isClosed) {
                arrived.await();
            }
            long left = session.nanosToPace(paceNanos);
            while (left > 0 && waiting.size() < settings.bufferRows()) {
                left = arrived.awaitNanos(left);
            }
            if (waiting.isEmpty()) {
                return null;
            }
            List<Reading> group = waiting;
            waiting = new ArrayList<>(group.size());
            moved.signalAll();
            return group;
        } finally {
            lock.unlock();
        }
    }

    private void release(int rows) {
        lock.lock();
        try {
            committed += rows;
            moved.signalAll();
        } finally {
            lock.unlock();
        }
    }

    private void fail(Throwable error) {
        lock.lock();
        try {
            failure = error;
            moved.signalAll();
            // Where no row comes a task would not notice until the batch's end.
            tasks.forEach(Thread::interrupt);
        } finally {
            lock.unlock();
        }
    }
}
