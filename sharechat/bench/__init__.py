"""A load generator for any server of this API: `sharechat bench URL`.

Client processes hold raw non-blocking sockets and look at nothing but frame headers, so
that the server under test is the limit. What every member heard is checked afterwards.
"""
