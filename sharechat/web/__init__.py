"""What clients speak to: REST and websockets."""
