"""What the application can do: each service takes its resources as arguments and knows no container."""
