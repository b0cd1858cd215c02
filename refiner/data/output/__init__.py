"""Output of batch jobs: folder with manifest, chunks, destinations."""
