"""What only a simulated cohort allows: the known truth."""
