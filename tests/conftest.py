"""What every test has: a time limit, and servers if it asks for them."""

import hypothesis

# A busy machine may take any time for one example; the time limit of a test holds for all.
hypothesis.settings.register_profile("no deadlines", deadline=None)
hypothesis.settings.load_profile("no deadlines")

pytest_plugins = ["tests.harness.time_limit", "tests.harness.servers"]
