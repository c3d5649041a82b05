"""The templates of the pages."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def page_template(name: str) -> Template:
    """A template of `reporting/templates/`: it escapes what it is given and refuses names that it is not given."""
    return _templates().get_template(name)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("minorkey.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
