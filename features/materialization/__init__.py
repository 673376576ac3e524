"""The batch path: building intervals into the offline log, and loading the latest rows online."""
