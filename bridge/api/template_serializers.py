"""What the API says of templates and held replies, and what callers say of them. Fields are added, never renamed."""

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
    label = serializers.CharField()  # type: ignore[assignment]  # the operators' word for it
    example = serializers.CharField()
    hint = serializers.CharField()
    default = serializers.CharField()  # what is taken where nobody gives a value
    place = serializers.CharField(help_text=gettext_lazy("header, body, button, offer or card."))
    title = serializers.CharField(help_text=gettext_lazy("How people see it, in the caller's language."))
    kind = serializers.CharField(help_text=gettext_lazy("What the value must look like: text, media, moment…"))
    required = serializers.BooleanField()  # type: ignore[assignment]  # as ``label`` above


class MissingPartSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    code = serializers.CharField(help_text=gettext_lazy("A stable code."))
    sentence = serializers.CharField(help_text=gettext_lazy("A sentence in the caller's language."))


class TemplateSerializer(serializers.ModelSerializer[Template]):
    """A template in the provider's shape, with what we say of its variables."""

    channel = serializers.IntegerField(source="api_channel_id", read_only=True)
    variables = serializers.SerializerMethodField(help_text=gettext_lazy("In the order in which values are listed."))
    sendable = serializers.BooleanField(
        source="is_sendable",
        read_only=True,
        help_text=gettext_lazy("Approved, and with no part that cannot be filled."),
    )
    missing = serializers.SerializerMethodField(
        help_text=gettext_lazy("The parts that Okno cannot fill. A template with any of them is not sent.")
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
            pattern = template.pattern
        except InvalidTemplate:
            return []
        return [_describe_variable(pattern, variable) for variable in pattern.variables]

    @extend_schema_field(MissingPartSerializer(many=True))
    def get_missing(self, template: Template) -> list[Any]:
        return [{"field": one.field, "code": one.code, "sentence": str(one.sentence)} for one in template.missing]


def _describe_variable(pattern: TemplateDefinition, variable: Variable) -> dict[str, Any]:
    names = ("key", "label", "example", "hint", "default")
    return {name: getattr(variable, name) for name in names} | {
        "place": variable.place.value,
        "title": str(variable_title(pattern, variable)),
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
    """A list for numbered variables, an object for named ones, or an object by the variables' keys."""


class ValuesSerializer(serializers.Serializer[Any]):
    parameters = ParametersField(required=False)


class ButtonSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    text = serializers.CharField()
    target = serializers.CharField(help_text=gettext_lazy("The link, the phone number or the coupon's code."))


class ProblemSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    code = serializers.CharField(help_text=gettext_lazy("A stable code."))
    sentence = serializers.CharField(help_text=gettext_lazy("A sentence in the caller's language."))


class CardSerializer(serializers.Serializer[Any]):
    media = serializers.CharField(help_text=gettext_lazy("The header's file or product, as it was given."))
    body = serializers.CharField()
    buttons = ButtonSerializer(many=True)


class PreviewSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(help_text=gettext_lazy("Header, body and footer, as operators paste them."))
    header = serializers.CharField()
    body = serializers.CharField()
    footer = serializers.CharField()
    media = serializers.CharField(help_text=gettext_lazy("The header's file or product, as it was given."))
    filename = serializers.CharField(help_text=gettext_lazy("The name under which a document arrives."))
    offer = serializers.CharField(help_text=gettext_lazy("The words of a limited-time offer, and until when."))
    cards = CardSerializer(many=True)
    buttons = ButtonSerializer(many=True)
    html = serializers.CharField(help_text=gettext_lazy("The body as the phone shows it; safe to put into a page."))
    ready = serializers.BooleanField(help_text=gettext_lazy("Whether it may go out as it is."))
    problems = ProblemSerializer(many=True)


@extend_schema_field(
    {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "minLength": 1, "maxLength": 200}]}
)
class ChannelField(serializers.Field[Any, Any, Any, Any]):
    """An API channel's number or name."""

    def to_internal_value(self, data: Any) -> int | str:
        if isinstance(data, bool) or not isinstance(data, int | str) or data == "" or len(str(data)) > 200:
            raise serializers.ValidationError(_("Give the API channel's number or its name."))
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
    parameters = ParametersField(help_text=gettext_lazy("Null stands for a value that could not be told."))
    candidates = IdentitySerializer(many=True)
    difference = DifferenceSerializer(many=True)
    reason = serializers.CharField(help_text=gettext_lazy("A sentence in the caller's language."))


class HeldReplySerializer(serializers.ModelSerializer[HeldReply]):
    chat_id = serializers.IntegerField(source="conversation_id", read_only=True)
    opener_id = serializers.IntegerField(
        source="opening_template_id",
        read_only=True,
        allow_null=True,
        help_text=gettext_lazy("The template's message that went out meanwhile."),
    )
    message_id = serializers.IntegerField(
        read_only=True, allow_null=True, help_text=gettext_lazy("The message that the text became.")
    )

    class Meta:
        model = HeldReply
        fields: tuple[str, ...] = (
            *("id", "chat_id", "author", "text", "state", "opener_id", "message_id"),
            *("created_at", "drop_at", "finished_at"),
        )
        read_only_fields: tuple[str, ...] = fields


class SentMessageSerializer(MessageSerializer):
    """The message that goes out. Where a text is held, that is the template's."""

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


# --- what callers say ------------------------------------------------------------------------------------


class TemplateToSendSerializer(serializers.Serializer[Any]):
    """By ``id``, or by ``name`` and ``language``."""

    id = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    name = serializers.CharField(required=False, max_length=512)
    language = serializers.CharField(required=False, max_length=20)
    parameters = ParametersField(required=False)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "id" not in asked and not ("name" in asked and "language" in asked):
            raise serializers.ValidationError(_("Say which template: its id, or its name and language."))
        return asked


class HoldSerializer(serializers.Serializer[Any]):
    template = TemplateToSendSerializer(help_text=gettext_lazy("What goes out while the text waits."))


class NewMessageSerializer(serializers.Serializer[Any]):
    """``text``; or ``template``; or ``text`` with ``hold``: kept until the client writes, a template goes out."""

    # An empty text is for the relay to refuse, with its own sentence.
    text = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False, max_length=100_000)
    template = TemplateToSendSerializer(required=False)
    hold = HoldSerializer(required=False)
    replies_to = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=2**63 - 1,
        help_text=gettext_lazy("A message of this chat, to be quoted, where the provider shows quotes."),
    )

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "template" in asked and ("text" in asked or "hold" in asked):
            raise serializers.ValidationError(_("Give a text or a template, not both."))
        if "text" not in asked and "template" not in asked:
            raise serializers.ValidationError({"text": [_("Give a text or a template.")]})
        return asked
