"""Real data for the demo: the flights that left New York City in 2013, landed as an upstream system would."""
