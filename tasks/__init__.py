"""The steps of a job: plain functions that are tested without Prefect, and thin task wrappers."""
