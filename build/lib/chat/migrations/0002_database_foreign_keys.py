from django.db import migrations

from chat.migrations._operations import AddForeignKey


class Migration(migrations.Migration):
    """What goes with its parent, and what stays: decided by the database, so that any program's DELETE is right."""

    dependencies = [("chat", "0001_tables")]

    operations = [
        AddForeignKey("chat_turns", "thread_id", "chat_threads", "CASCADE"),
        AddForeignKey("chat_turns", "copilot_chat_id", "copilot_chats", "CASCADE"),
        AddForeignKey("chat_turns", "replaces_id", "chat_turns", "SET NULL"),
        AddForeignKey("chat_messages", "thread_id", "chat_threads", "CASCADE"),
        # Usage outlives what it paid for.
        AddForeignKey("token_usage", "turn_id", "chat_turns", "SET NULL"),
        AddForeignKey("token_usage", "message_id", "chat_messages", "SET NULL"),
        AddForeignKey("token_usage", "thread_id", "chat_threads", "SET NULL"),
        AddForeignKey("token_usage", "copilot_chat_id", "copilot_chats", "SET NULL"),
    ]
