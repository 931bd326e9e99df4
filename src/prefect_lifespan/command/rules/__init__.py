"""What `check` looks for: a module for each kind of mistake, and each a function of the program."""
