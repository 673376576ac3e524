"""Erasing an entity: its rows leave logs, quarantine, saved sets, the online store and the registry's own notes."""
