from django.db import migrations

from chat.migrations._operations import Backfill

# A thousand rows a transaction; run again after a kill it only adds what is missing.
BACKFILL = """
DO $$
DECLARE
    thread uuid := '00000000-0000-0000-0000-000000000000';
    message bigint := 0;
BEGIN
    LOOP
        thread := chat_search_fill_titles(thread, 1000);
        EXIT WHEN thread IS NULL;
        COMMIT;
    END LOOP;
    LOOP
        message := chat_search_fill(message, 1000);
        EXIT WHEN message IS NULL;
        COMMIT;
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    """What was said before there were triggers."""

    atomic = False
    dependencies = [("chat", "0017_search")]

    operations = [Backfill(BACKFILL, migrations.RunSQL.noop, elidable=True)]
