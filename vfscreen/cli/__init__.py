"""The command line: parse, call a job, print, map errors to exit codes. Nothing else."""
