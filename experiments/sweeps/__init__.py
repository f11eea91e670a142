"""Many runs of one file: what the file says, each run's folder, the processes, the table."""
