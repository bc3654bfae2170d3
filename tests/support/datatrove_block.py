"""A datatrove filter that removes with a reason and changes text."""

from __future__ import annotations

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter


class ShortFilter(BaseFilter):
    name = "short"

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        if len(doc.text) < self.limit:
            return False, "too_short"
        doc.text = doc.text.upper()
        return True
