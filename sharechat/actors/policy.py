"""The limits and intervals that the actors work by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How long, how much and how often. All times are in seconds."""

    message_rate: float = 20
    """Messages a second from one member; 0 sets no limit."""
    message_burst: int = 40
    """How many messages a member may send at once before `message_rate` applies."""
    max_rest: int = 256
    """How many texts of a client that has gone are still stored."""
    rest_timeout: float = 2
    """How long a client that has gone stays a member while these are taken up."""
    max_waiting_bytes: int = 1 << 20
    """How many bytes may wait for a slow member before it is closed.

    A batch is taken whatever its size if nothing else waits, since the member could never be sent
    a larger one. By `batch_bytes` and the limit on a message it has far less than the default.
    """
    max_waiting_batches: int = 4096
    """How many batches may wait for a slow member: the size of its mailbox."""
    room_mailbox: int = 1024
    """How much mail may wait for a room before it drops entries and reads them later."""
    fan_out_slice: int = 256
    """How many members a room delivers to before it lets other tasks run."""
    journal_mailbox: int = 512
    """The most drafts that are stored in one commit."""
    batch_bytes: int = 1 << 18
    """About how many bytes are stored in one commit, or delivered to members in one batch.

    A larger message makes a batch by itself.
    """
    store_timeout: float = 5
    """How long after it was submitted an author is told that its message was not stored."""
    retry_interval: float = 0.2
    """Between attempts while the Repository is away."""
    gap_patience: float = 0.005
    """How long a room waits for an entry that the Queue may only have reordered."""
    read_limit: int = 1000
    """The most entries that are read from the Repository at once."""
    read_bytes: int = 256 * 1024
    """The most bytes of JSON that are read at once, unless a single message has more."""
    history_readers: int = 2
    """How many pages are read at a time for clients that read old messages."""
    history_patience: float = 5
    """How long such a client waits for its turn to read a page."""
    history_bytes: int = 16 << 20
    """How many bytes of JSON all pages that such clients have yet to take may have together."""
    arrivals_at_once: int = 128
    """How many members come in at a time, from the look for their room to what they missed."""
    longest_arrival: float = 1
    """How long the turn of one of them lasts at most while others wait."""
    room_freshness: float = 1
    """How long after an entry of its log a room is taken to exist without asking the Repository."""
    room_linger: float = 5
    """How long a room's actor runs on after its last member has left."""
    follow_interval: float = 5
    """Between looks at the heads of all rooms while the Queue works."""
    follow_interval_unwell: float = 1
    """Between looks at the heads of all rooms while the Queue is away."""
    lease_interval: float = 2
    """Between renewals of this process's lease."""
    lease_ttl: float = 10
    """How long a process may fail to renew its lease before it counts as dead."""
    room_ttl: float = 24 * 3600
    """How long a room lasts with nobody in it."""
    unjoined_ttl: float = 600
    """How long a room lasts that nobody has ever joined, if `room_ttl` is longer."""
    reconcile_interval: float = 30
    """Between comparisons of the stored members with those who are connected."""
    stop_timeout: float = 8
    """How long stopping may take before what is left is cut off."""
    stop_spread: float = 3
    """Over how long members are closed when stopping, if there are a thousand or more."""
