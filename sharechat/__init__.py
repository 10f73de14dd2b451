"""An anonymous, horizontally scalable chat server: supervised trio actors over a log."""
