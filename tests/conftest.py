"""What every test has: a time limit, and servers if it asks for them."""

import os
import signal

import hypothesis

# A server that is not told where to keep its rooms does not start, here and in every command that
# a test runs, instead of using the rooms of whoever runs the tests.
os.environ["XDG_DATA_HOME"] = "/dev/null/none"

# In the background or under `nohup`, this process may ignore them, and so would the commands
# that a test runs.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine may take any time for one example; the time limit of a test holds for all.
hypothesis.settings.register_profile("no deadlines", deadline=None)
hypothesis.settings.load_profile("no deadlines")

pytest_plugins = ["tests.harness.time_limit", "tests.harness.servers"]
