"""The objects that networks miss, and their false alarms, by class and by size."""
