"""Where readings go. Each sink writes a batch's partitions on the executors."""
