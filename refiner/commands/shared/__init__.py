"""Options, output and lazy loading that several commands share."""
