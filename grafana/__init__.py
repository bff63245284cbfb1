"""Grafana's data sources and dashboards. The dashboards are written by `make dashboards` from `boards.py`."""
