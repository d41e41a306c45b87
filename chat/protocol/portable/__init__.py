"""Conversations that come from elsewhere, or go there: our own export, ChatGPT's and Open WebUI's, and Markdown."""
