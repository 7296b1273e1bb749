"""Adapters the services share: settings, control store, event store, metrics, health, lifecycle."""
