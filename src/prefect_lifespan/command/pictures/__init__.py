"""Pictures of a container: for the terminal, as text for other programs, and as one self-contained file."""
