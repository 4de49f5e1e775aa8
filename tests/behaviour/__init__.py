"""What users meet: flows and tasks called through the public names, in both colours."""
