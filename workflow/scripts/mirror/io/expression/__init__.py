"""Reading expression: one file a format, one for recognising it, and the policies every format shares."""
