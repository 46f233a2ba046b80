"""What the commands do: demo, status, client configuration."""
