"""A load generator for any server of this API: `sharechat bench URL`.

Client processes use raw non-blocking sockets and parse only frame headers, so that the
server under test, not the generator, is the bottleneck. Afterwards the generator checks
what every member heard: nothing lost, nothing repeated, one order.
"""
