"""From an experiment file to scores."""
