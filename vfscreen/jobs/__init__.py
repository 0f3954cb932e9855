"""One file a job; each reads as its protocol, one named step a line. Only jobs join the rooms."""
