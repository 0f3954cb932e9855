"""Find and describe: walk the archive, read headers, decide who is screened."""
