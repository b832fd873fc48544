"""A slide in the browser, down to the cell, with attention and prototypes as layers (`mirror view`)."""
