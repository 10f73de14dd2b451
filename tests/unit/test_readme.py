"""The README names what there is."""

from pathlib import Path

from sharechat.config import options

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_lists_every_option_and_its_variable() -> None:
    for option in options():
        assert f"`{option.opts[0]}`" in README
        assert f"`{option.envvar}`" in README
