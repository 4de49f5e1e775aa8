"""The snippets that people know from Prefect's quick reference, run as printed and as async code."""
