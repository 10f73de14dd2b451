"""The Queue over Redis pub/sub: hiredis parses the protocol, trio does the I/O."""

from sharechat.adapters.redis.queue import RedisQueue

__all__ = ["RedisQueue"]
