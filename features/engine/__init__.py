"""Spark: sessions, sources, transforms, what changed, and point-in-time joins. Knows no registry, no online store."""
