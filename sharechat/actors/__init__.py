"""The actors: supervised trio tasks, each with one mailbox."""
