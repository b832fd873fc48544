"""Tables in the paper's layout."""
