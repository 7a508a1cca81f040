"""What we change in Great Expectations' pages: they load nothing from elsewhere, and tell errors from warnings.

Its own templates take style sheets, scripts and pictures from six public servers; those in ``templates``
stand before them. Imported by Great Expectations alone, when it renders.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from great_expectations.render import RenderedStringTemplateContent
from great_expectations.render.renderer.content_block import ValidationResultsTableContentBlockRenderer
from great_expectations.render.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader

TEMPLATES = Path(__file__).parent / "templates"


class OfflinePageView(DefaultJinjaPageView):
    """A suite's page or a result's page."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.env.loader = ChoiceLoader([FileSystemLoader(TEMPLATES), self.env.loader])


class OfflineIndexPageView(DefaultJinjaIndexPageView):
    """The index of all results."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.env.loader = ChoiceLoader([FileSystemLoader(TEMPLATES), self.env.loader])


class SeverityTableRenderer(ValidationResultsTableContentBlockRenderer):
    """The table of a result, whose status says ``error`` or ``warning`` where a check did not hold."""

    @classmethod
    def _get_content_block_fn(cls, *args: Any, **kwargs: Any) -> Callable:
        render_row = super()._get_content_block_fn(*args, **kwargs)

        def render_row_with_severity(*, result: Any = None, **options: Any) -> list:
            rows = render_row(result=result, **options)
            if result is not None and not result.success:
                severity = result.expectation_config.meta["severity"]
                rows[0][0] = _word(severity, "text-danger" if severity == "error" else "text-warning")
            return rows

        return render_row_with_severity


def _word(text: str, color: str) -> RenderedStringTemplateContent:
    styling = {"params": {"word": {"tag": "strong", "classes": [color]}}}
    return RenderedStringTemplateContent(
        content_block_type="string_template",
        string_template={"template": "$word", "params": {"word": text}, "styling": styling},
    )
