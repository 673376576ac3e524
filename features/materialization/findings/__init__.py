"""What is wrong with an environment's logs, tables, runs and installation, each finding with what to do about it."""
