from __future__ import annotations

from django.db import models


class LongNamedIndex(models.Index):
    """An index whose name may be as long as PostgreSQL lets it be; Django's own limit is Oracle's."""

    max_name_length = 63
