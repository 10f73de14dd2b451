"""The numbers that the actors go by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How long, how much, how often; all times in seconds."""

    message_rate: float = 20
    """Messages a second from one member; 0 is no limit."""
    message_burst: int = 40
    """How many messages a member may send at once before `message_rate` holds."""
    max_waiting_bytes: int = 1 << 20
    """What may wait for a slow member before it is closed."""
    max_waiting_batches: int = 4096
    """The same, as the size of the member's mailbox."""
    room_mailbox: int = 1024
    """What a room may be behind before it drops what comes and reads it from the Repository."""
    journal_mailbox: int = 512
    """The largest batch that is stored in one commit."""
    store_timeout: float = 5
    """How long a sender waits for its message to be stored."""
    retry_interval: float = 0.2
    """Between attempts while the Repository is away."""
    gap_patience: float = 0.005
    """How long a room waits for what the Queue may only have reordered."""
    read_limit: int = 1000
    """The largest number of entries read from the Repository at once."""
    room_linger: float = 5
    """How long a room's actor outlives its last member."""
    follow_interval: float = 5
    """Between looks at the heads of all rooms while the Queue works."""
    follow_interval_unwell: float = 1
    """The same while the Queue is away."""
    lease_interval: float = 2
    """Between renewals of this process's lease."""
    lease_ttl: float = 10
    """How long a process may fail to renew before it counts as dead."""
    room_ttl: float = 24 * 3600
    """How long a room lasts that nobody is in."""
    reconcile_interval: float = 30
    """Between comparisons of the stored members with those who are here."""
    max_members: int = 16384
    """Members on this process; who comes then is turned away."""
    stop_timeout: float = 8
    """How long stopping may take until what is left is cut off."""
    stop_spread: float = 3
    """Over how long a thousand and more members are told, so that they do not return at once."""
