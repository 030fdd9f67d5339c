"""A rollout to the gateways: its plan, its gate and its book. Nothing here talks to a host."""
