"""What the platform costs beyond Spark and Delta themselves."""
