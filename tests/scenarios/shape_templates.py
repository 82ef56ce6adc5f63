"""Templates of every shape, as Meta lists them and as a sync stores them."""

from __future__ import annotations

from typing import Any

from channels_setup.models import ApiChannel
from templates_registry import lifecycle
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Template
from templates_registry.provider import provider_template
from tests.simulators import template_sends
from tests.simulators import templates as theirs
from tests.simulators.errors import GraphError
from tests.template_shapes import SHAPES, Shape

NOW = 1_790_000_000.0


def slug(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")


def list_at_meta(shape: Shape, name: str) -> theirs.Template:
    """Return the approved template as Meta lists it."""
    row = shape.row(name)
    return theirs.Template(
        id="1",
        name=name,
        language="ru",
        category=shape.category,
        components=theirs.convert_to_listed(row) if "otp" in name and name != "otp as listed" else row["components"],
        parameter_format=row["parameter_format"],
        status="APPROVED",
    )


def refusal_code(template: theirs.Template, sent: list[Any]) -> int:
    """Return Meta's error code for these parameters, 0 if they are accepted."""
    try:
        template_sends.fill(template, sent, now=NOW)
    except GraphError as error:
        return error.code
    return 0


def store_template(channel: ApiChannel, name: str, components: list[Any] | None = None) -> Template:
    """Store an approved template of this shape, or with these components, as a sync does."""
    row = SHAPES[name].row(slug(name)) if components is None else SHAPES["text"].row(slug(name))
    row |= {"status": "APPROVED"} | ({"components": components} if components is not None else {})
    new = provider_template.build_template(provider_template.parse_row(row), api_channel_id=channel.pk)
    return lifecycle.create(new, by=ChangeAuthor(source=Source.SYNC))
