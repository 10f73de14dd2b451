"""The Queue over Redis' pub/sub: hiredis for the protocol, trio for the I/O."""

from sharechat.adapters.redis.queue import RedisQueue

__all__ = ["RedisQueue"]
