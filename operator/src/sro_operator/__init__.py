"""The operator of sro: turns SROJobs into gangs of trainer pods and tells the truth about them."""
