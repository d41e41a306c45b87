"""The fault kit: what this project tries its promises with, for a host project's own tests. See docs/testing.md.

Nothing here is imported by the application. ``httpx`` and ``pytest`` come with the extra ``testing``.
"""
