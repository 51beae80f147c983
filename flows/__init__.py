"""What Prefect runs: flows only, each short enough to read as the story of a job."""
