from django.db import migrations

from chat.migrations._copilot_elements import ELEMENTS, TIME


class Migration(migrations.Migration):
    """Elements without an id that say the same are messages of their own, and what is no array is told of: for those
    whose 0007 was another.
    """

    dependencies = [("chat", "0020_transcript_views")]

    operations = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (TIME, ELEMENTS)]
