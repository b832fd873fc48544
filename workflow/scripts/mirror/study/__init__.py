"""A new study from what a user has: finding slides, reading tables, writing the configuration."""
