"""Training sets: point-in-time features beside a spine, saved with all that rebuilding them takes."""
