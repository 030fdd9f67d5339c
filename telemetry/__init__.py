"""The message contract shared by bridge, simulator and streaming job. Standard library only."""
