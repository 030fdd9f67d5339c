"""The filled database of the dashboards' tests."""

from tests.grafana.conftest import filled

__all__ = ["filled"]
