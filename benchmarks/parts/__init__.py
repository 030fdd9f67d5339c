"""The parts of the benchmark: each a module with `run(options) -> list[Figure]`."""
