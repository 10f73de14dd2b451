"""What every test has: a time limit, and servers if it asks for them."""

pytest_plugins = ["tests.harness.time_limit", "tests.harness.servers"]
