import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """What users have used of their quotas."""

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("chat", "0014_usage_by_time"),
    ]

    operations = [
        migrations.CreateModel(
            name="QuotaCounter",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "live",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "began",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DateTimeField(), default=list, size=None
                    ),
                ),
                ("day", models.DateField()),
                ("tokens", models.BigIntegerField()),
                ("refused", models.CharField(default="", max_length=20)),
            ],
            options={
                "db_table": "chat_quotas",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("refused", "")), name="chat_quotas_admitted")
                ],
            },
        ),
    ]
