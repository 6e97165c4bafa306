"""What kwok plays: nodes that are ready, pods that run at once and succeed after a while, pods that go when they are told to."""

from __future__ import annotations

import json

_NODE = """
conditions:
{{ range NodeConditions }}
- type: {{ .type }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ Now | Quote }}
  lastTransitionTime: {{ Now | Quote }}
{{ end }}
addresses: [{type: InternalIP, address: 10.0.0.1}]
capacity: {cpu: "1000", memory: 1Ti, pods: "1000000"}
allocatable: {cpu: "1000", memory: 1Ti, pods: "1000000"}
"""
_RUNNING = """
phase: Running
startTime: {{ Now | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ Now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ Now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ Now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  state: {running: {startedAt: {{ Now | Quote }}}}
{{ end }}
"""
_DONE = """
phase: Succeeded
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  restartCount: 0
  state:
    terminated: {exitCode: 0, reason: Completed, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}}
{{ end }}
"""
_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'


def stages(seconds: float) -> str:
    """Stage objects for pods that run this long, as a YAML stream."""
    there = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    gone = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    objects = [
        _stage("node", "Node", [{"key": _READY, "operator": "NotIn", "values": ["True"]}], {"statusTemplate": _NODE}),
        _stage("start", "Pod", [there, _phase("Pending")], {"statusTemplate": _RUNNING}),
        _stage("succeed", "Pod", [there, _phase("Running")], {"statusTemplate": _DONE}, seconds),
        _stage("delete", "Pod", [gone], {"delete": True}),
    ]
    return "\n---\n".join(json.dumps(each) for each in objects)


def _phase(name: str) -> dict[str, object]:
    return {"key": ".status.phase", "operator": "In", "values": [name]}


def _stage(
    name: str, kind: str, expressions: list[dict[str, object]], after: dict[str, object], seconds: float = 0.0
) -> dict[str, object]:
    spec: dict[str, object] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": expressions},
        "next": after,
    }
    if seconds:
        spec["delay"] = {"durationMilliseconds": int(seconds * 1000)}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}
