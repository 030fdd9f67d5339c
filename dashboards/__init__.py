"""Grafana's dashboards, in Python; `python -m dashboards` makes the JSON of role grafana."""
