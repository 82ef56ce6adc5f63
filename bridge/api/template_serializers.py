"""Serializers of templates and held replies. Fields may be added, but never renamed: programs depend on them."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from bridge.models import HeldReply
from templates_registry.content.components import TemplateDefinition, Variable
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.content.titles import variable_title
from templates_registry.matching.result import MatchOutcome
from templates_registry.models import Template

from .serializers import MessageSerializer


class VariableSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field named like DRF's attribute
    example = serializers.CharField()
    hint = serializers.CharField()
    default = serializers.CharField()  # used if no value is given
    place = serializers.CharField(help_text=gettext_lazy("header, body, button, offer or card."))
    title = serializers.CharField(help_text=gettext_lazy("Title for people, in the caller's language."))
    kind = serializers.CharField(help_text=gettext_lazy("Type of the value: text, media, moment…"))
    required = serializers.BooleanField()  # type: ignore[assignment]  # as above


class MissingPartSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    code = serializers.CharField(help_text=gettext_lazy("A stable code."))
    sentence = serializers.CharField(help_text=gettext_lazy("A sentence in the caller's language."))


class TemplateSerializer(serializers.ModelSerializer[Template]):
    """A template in the provider's format, with descriptions of its variables."""

    channel = serializers.IntegerField(source="api_channel_id", read_only=True)
    variables = serializers.SerializerMethodField(help_text=gettext_lazy("In the order of the values in a list."))
    sendable = serializers.BooleanField(
        source="is_sendable",
        read_only=True,
        help_text=gettext_lazy("Approved, and Okno supports all its parts."),
    )
    missing = serializers.SerializerMethodField(
        help_text=gettext_lazy("Parts that Okno does not support. A template with such parts cannot be sent.")
    )

    class Meta:
        model = Template
        fields: tuple[str, ...] = (
            *("id", "channel", "name", "language", "category", "status", "quality", "parameter_format"),
            *(
                "components",
                "variables",
                "sendable",
                "missing",
                "reject_reason",
                "tags",
                "external_id",
                "last_used_at",
                "times_used",
            ),
            *("approved_at", "created_at", "updated_at"),
        )
        read_only_fields: tuple[str, ...] = fields

    @extend_schema_field(VariableSerializer(many=True))
    def get_variables(self, template: Template) -> list[Any]:
        try:
            definition = template.definition
        except InvalidTemplate:
            return []
        return [_describe_variable(definition, variable) for variable in definition.variables]

    @extend_schema_field(MissingPartSerializer(many=True))
    def get_missing(self, template: Template) -> list[Any]:
        return [{"field": one.field, "code": one.code, "sentence": str(one.sentence)} for one in template.missing]


def _describe_variable(definition: TemplateDefinition, variable: Variable) -> dict[str, Any]:
    names = ("key", "label", "example", "hint", "default")
    return {name: getattr(variable, name) for name in names} | {
        "place": variable.place.value,
        "title": str(variable_title(definition, variable)),
        "kind": variable.kind.value,
        "required": variable.is_required,
    }


@extend_schema_field(
    {
        "oneOf": [
            {"type": "array", "items": {"type": "string", "nullable": True}},
            {"type": "object", "additionalProperties": {"type": "string", "nullable": True}},
        ]
    }
)
class ParametersField(serializers.JSONField):
    """Values: a list for numbered variables, an object for named ones, or an object by variable keys."""


class ValuesSerializer(serializers.Serializer[Any]):
    parameters = ParametersField(required=False)


class ButtonSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    text = serializers.CharField()
    target = serializers.CharField(help_text=gettext_lazy("The link, phone number or coupon code."))


class ProblemSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    code = serializers.CharField(help_text=gettext_lazy("A stable code."))
    sentence = serializers.CharField(help_text=gettext_lazy("A sentence in the caller's language."))


class CardSerializer(serializers.Serializer[Any]):
    media = serializers.CharField(help_text=gettext_lazy("File or product of the header, as given."))
    body = serializers.CharField()
    buttons = ButtonSerializer(many=True)


class PreviewSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(help_text=gettext_lazy("Header, body and footer, as operators paste them."))
    header = serializers.CharField()
    body = serializers.CharField()
    footer = serializers.CharField()
    media = serializers.CharField(help_text=gettext_lazy("File or product of the header, as given."))
    filename = serializers.CharField(help_text=gettext_lazy("File name that the recipient sees."))
    offer = serializers.CharField(help_text=gettext_lazy("Text and end of a limited-time offer."))
    cards = CardSerializer(many=True)
    buttons = ButtonSerializer(many=True)
    html = serializers.CharField(help_text=gettext_lazy("The body with WhatsApp formatting, as safe HTML."))
    ready = serializers.BooleanField(help_text=gettext_lazy("Whether the message can be sent as it is."))
    problems = ProblemSerializer(many=True)


@extend_schema_field(
    {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "minLength": 1, "maxLength": 200}]}
)
class ChannelField(serializers.Field[Any, Any, Any, Any]):
    """ID or name of an API channel."""

    def to_internal_value(self, data: Any) -> int | str:
        if isinstance(data, bool) or not isinstance(data, int | str) or data == "" or len(str(data)) > 200:
            raise serializers.ValidationError(_("Give the ID or name of an API channel."))
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class TextToRecognizeSerializer(serializers.Serializer[Any]):
    channel = ChannelField()
    text = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=100_000)


class IdentitySerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    language = serializers.CharField()


class DifferenceSerializer(serializers.Serializer[Any]):
    approved = serializers.CharField()
    yours = serializers.CharField()


class RecognitionSerializer(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(choices=[outcome.value for outcome in MatchOutcome])
    template = IdentitySerializer(allow_null=True)
    parameters = ParametersField(help_text=gettext_lazy("Null means that a value was not recognized."))
    candidates = IdentitySerializer(many=True)
    difference = DifferenceSerializer(many=True)
    reason = serializers.CharField(help_text=gettext_lazy("A sentence in the caller's language."))


class HeldReplySerializer(serializers.ModelSerializer[HeldReply]):
    chat_id = serializers.IntegerField(source="conversation_id", read_only=True)
    opener_id = serializers.IntegerField(
        source="opening_template_id",
        read_only=True,
        allow_null=True,
        help_text=gettext_lazy("ID of the template message that was sent first."),
    )
    message_id = serializers.IntegerField(
        read_only=True, allow_null=True, help_text=gettext_lazy("ID of the message that was created from the text.")
    )

    class Meta:
        model = HeldReply
        fields: tuple[str, ...] = (
            *("id", "chat_id", "author", "text", "state", "opener_id", "message_id"),
            *("created_at", "drop_at", "finished_at"),
        )
        read_only_fields: tuple[str, ...] = fields


class SentMessageSerializer(MessageSerializer):
    """The message that is sent. If the text is held, this is the template's message."""

    held_reply_id = serializers.SerializerMethodField()

    class Meta(MessageSerializer.Meta):
        fields: tuple[str, ...] = (*MessageSerializer.Meta.fields, "held_reply_id")
        read_only_fields: tuple[str, ...] = fields

    def get_held_reply_id(self, _message: Any) -> int:
        return int(self.context["held"].pk)

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if "held" in self.context and self.context["held"] is None:
            del fields["held_reply_id"]
        return fields


# --- input -----------------------------------------------------------------------------------------------


class TemplateToSendSerializer(serializers.Serializer[Any]):
    """A template by ``id``, or by ``name`` and ``language``."""

    id = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    name = serializers.CharField(required=False, max_length=512)
    language = serializers.CharField(required=False, max_length=20)
    parameters = ParametersField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "id" not in attrs and not ("name" in attrs and "language" in attrs):
            raise serializers.ValidationError(_("Give the template's ID, or its name and language."))
        return attrs


class HoldSerializer(serializers.Serializer[Any]):
    template = TemplateToSendSerializer(
        help_text=gettext_lazy("The template that is sent now. The text is sent when the client replies.")
    )


class NewMessageSerializer(serializers.Serializer[Any]):
    """A ``text``; a ``template``; or a ``text`` with ``hold``: a template goes out now, the text after the reply."""

    # The relay rejects an empty text with its own message.
    text = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False, max_length=100_000)
    template = TemplateToSendSerializer(required=False)
    hold = HoldSerializer(required=False)
    replies_to = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=2**63 - 1,
        help_text=gettext_lazy("ID of a message in this chat to quote, if the provider supports quotes."),
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "template" in attrs and ("text" in attrs or "hold" in attrs):
            raise serializers.ValidationError(_("Give a text or a template, not both."))
        if "text" not in attrs and "template" not in attrs:
            raise serializers.ValidationError({"text": [_("Give a text or a template.")]})
        return attrs
