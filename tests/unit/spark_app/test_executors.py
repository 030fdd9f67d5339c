"""When an application without executors gives up."""

from spark_app.executors import ExecutorWatch


def test_it_waits_for_an_executor_and_then_gives_up() -> None:
    now, executors = 0.0, 0
    watch = ExecutorWatch(lambda: executors, 60.0, lambda: now)
    now = 59.0
    assert not watch.is_hopeless()
    executors = 1
    assert not watch.is_hopeless()
    executors, now = 0, 118.0
    assert not watch.is_hopeless(), "counted from the last one that was there"
    now = 120.0
    assert watch.is_hopeless()
