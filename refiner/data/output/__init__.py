"""Output of batch jobs: output folders with a manifest, chunks, destinations, and a writer of records."""
