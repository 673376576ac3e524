"""A real Cassandra on this machine, and the jars that Spark needs: no docker, no download hosts, checksums locked.

`jars` fetches locked sets of jars, `jdk` finds a JDK, `cassandra` runs a node on loopback.
"""
