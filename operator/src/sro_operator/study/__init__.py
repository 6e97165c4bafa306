"""Studies on a cluster: cells as SROJobs."""
