"""Error responses and ranges of IDs that are added to every call in the OpenAPI schema."""

from __future__ import annotations

from typing import Any

from channels_setup.codecs.values import MAX_ID

ERROR_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
ERROR_DESCRIPTIONS = {
    "400": "A parameter or field is invalid.",
    "401": "The token is missing or wrong.",
    "429": "Too many calls with this token, or with wrong tokens. Retry-After holds the seconds to wait.",
    "404": "Not found, or you do not have access.",
}


def complete_schema(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: add error responses and the range of integer parameters."""
    for path, calls in result["paths"].items():
        for method, call in calls.items():
            codes = ["401", "429"] if method != "get" else ["400", "401", "429", *(["404"] if "{" in path else [])]
            for code in codes:
                call["responses"].setdefault(code, {"content": ERROR_CONTENT, "description": ERROR_DESCRIPTIONS[code]})
            for parameter in call.get("parameters", []):
                schema = parameter["schema"]
                if schema.get("type") == "integer" and "enum" not in schema:
                    schema.setdefault("minimum", 1)
                    schema.setdefault("maximum", MAX_ID)
    return result
