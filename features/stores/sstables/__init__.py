"""Loads as SSTables: Cassandra's own data files, built by the executors and handed over whole.

`java/` holds a small program over Cassandra's jars that writes the files (a child of each task), the modules here
everything around it: encoded runs of rows, folders, the way in, and when it pays.
"""
