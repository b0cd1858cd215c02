"""Parallel work: worker processes, a Ray cluster, and shards of a job."""
