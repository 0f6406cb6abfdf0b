"""What `authz inject` puts into pods without a template is what the chart does with its default values."""

from __future__ import annotations

import json
from pathlib import Path

from authz.injection.template import Template
from tests.support.default_template import KEPT, rendered


def test_the_packaged_template_is_the_chart_s(tmp_path: Path) -> None:
    assert json.loads(KEPT.read_text()) == json.loads(rendered(tmp_path)), (
        "the chart has changed: run `python -m tests.support.default_template`"
    )


def test_it_can_be_used_and_has_pods_say_what_they_serve() -> None:
    template = Template.parse(KEPT.read_bytes())
    assert {each.name: each.default for each in template.variables}["hosts"] == ""
