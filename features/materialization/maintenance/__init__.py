"""Maintenance of offline logs: retention, compaction and VACUUM, of one version or of all; docs/maintenance.md."""
