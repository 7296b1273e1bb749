"""Grafana: its provisioning, and the dashboards with what writes them."""
