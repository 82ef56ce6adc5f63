"""The Helm chart, linted and rendered by Helm's library, and compared with the schemas of Kubernetes (`make chart`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

helm = pytest.importorskip("helm_python.chart", reason="make chart installs Helm's library")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="make chart installs it")

CHART = Path(settings.BASE_DIR) / "docs" / "deploy" / "helm" / "okno"
KUBERNETES = "1.37"


def render(**values: Any) -> list[dict[str, Any]]:
    with helm.Chart.load(str(CHART)) as chart:
        rendered = chart.render(values=values, name="okno")
    return [one for text in rendered.values() for one in yaml.safe_load_all(text) if one]


def test_helm_has_no_complaint() -> None:
    found = helm.lint(str(CHART))

    assert found["errors"] == [] and [one["error"] for one in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": {"digest": "sha256:" + "a" * 64}, "imagePullSecrets": [{"name": "registry"}]},
        {
            "settings": {"MEDIA_S3_BUCKET": "okno"},
            "nodeSelector": {"disk": "fast"},
            "persistence": {"existingClaim": "x"},
        },
        {name: {"enabled": False} for name in ("backup", "ingress", "networkPolicy", "podDisruptionBudget")},
    ],
)
def test_every_object_fits_the_schema_of_kubernetes(values: dict[str, Any]) -> None:
    objects = render(**values)

    assert len(objects) >= 9
    for one in objects:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    "values",
    [
        {"publicUrl": "http://okno.example.com"},
        {"workers": {"outbound": {"replicas": 0}}},
        {"image": {"digest": "sha256:short"}},
        {"replicas": 3},
        {"settings": {"WEB_THREADS": 4}},
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"values|schema"):
        render(**values)


def test_pods_are_hardened_and_limited() -> None:
    pods = [json.loads(json.dumps(spec)) for one in render() if (spec := pod_of(one))]

    assert len(pods) == 8
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        container = pod["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] and container["envFrom"] == [{"secretRef": {"name": "okno"}}]


def pod_of(one: dict[str, Any]) -> dict[str, Any] | None:
    spec = one["spec"].get("jobTemplate", one).get("spec", {})
    pod: dict[str, Any] | None = spec.get("template", {}).get("spec")
    return pod
