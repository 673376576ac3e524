"""What things are: definitions, references, schedules, times. Plain Python, no vendor, no I/O."""
