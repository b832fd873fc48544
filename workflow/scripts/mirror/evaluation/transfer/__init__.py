"""A model of one cohort applied to another."""
