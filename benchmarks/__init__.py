"""Each claim of speed as a command: see README.md beside this file."""
