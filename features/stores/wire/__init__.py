"""Reading Cassandra over its native protocol, without a Python object per value: see plane.py and connection.py."""
