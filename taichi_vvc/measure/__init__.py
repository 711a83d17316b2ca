"""What files and captures are measured by: evaluation, benchmarks, estimates, reports, this machine."""
