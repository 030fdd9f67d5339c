"""Programs that measure, each printing what docs/benchmarks tells of it."""
