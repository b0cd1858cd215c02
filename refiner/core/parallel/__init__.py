"""One function over many tasks: processes of this machine, a Ray cluster, shards of a job."""
