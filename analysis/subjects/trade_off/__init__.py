"""What finding more things costs: recall against precision, misses against false alarms."""
