"""Files that others made: tables, expression, clinical tables, patch features, gene lists."""
