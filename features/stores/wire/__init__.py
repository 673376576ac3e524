"""Reading Cassandra over its native protocol, without a Python object per value: see connection.py and replicas.py."""
