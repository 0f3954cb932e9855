"""Reports: reading them from what a hospital exports, and what each says about the finding."""
