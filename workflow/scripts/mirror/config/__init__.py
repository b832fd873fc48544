"""The configuration: one set of pydantic models from which the schema and its reference page are made.

``mirror.config.resolve`` needs only the standard library and jsonschema (which Snakemake brings),
because it runs while the DAG is built; the pydantic models are used inside the steps.
"""
