"""One document and one kernel: what runs and ran, who has seen what."""
