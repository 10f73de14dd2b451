"""The domain: values, errors and ports. It imports nothing else of sharechat's."""
