"""What the DAG is made of. Standard library only."""
