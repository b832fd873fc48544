"""From a slide to tile coordinates."""
