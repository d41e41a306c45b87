from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedModules(CompressedManifestStaticFilesStorage):
    """Hashed names also inside the ES modules' imports: else a browser mixes old and new ones after a deploy."""

    support_js_module_import_aggregation = True
