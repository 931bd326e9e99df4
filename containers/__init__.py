"""What the reference application is made of: its settings, its resources, and the services built on them."""
