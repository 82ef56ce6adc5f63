"""What every call of ``/api/v1/`` may answer and take, added to the OpenAPI schema in one place."""

from __future__ import annotations

from typing import Any

from channels_setup.codecs.values import MAX_ID

ERROR_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
ERROR_DESCRIPTIONS = {
    "400": "A parameter or a field cannot be read.",
    "401": "The token is missing or wrong.",
    "429": "Too many calls with this token, or with a wrong one. Retry-After says when the next may come.",
    "404": "Not found, or you do not have access.",
}


def complete_schema(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: refusals of reading calls, and the range of numbers."""
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
