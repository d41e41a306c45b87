import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

from chat.migrations._operations import AddForeignKey


class Migration(migrations.Migration):
    """Tool calls that wait for a person, or for the client that runs them, and who decided what."""

    dependencies = [
        ("chat", "0015_quotas"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ToolApproval",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("tool_call_id", models.TextField()),
                ("approval_id", models.TextField(blank=True, db_default="")),
                ("tool_name", models.CharField(max_length=256)),
                ("kind", models.CharField(choices=[("approval", "Approval"), ("output", "Output")], max_length=16)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("approved", "Approved"),
                            ("denied", "Denied"),
                            ("answered", "Answered"),
                            ("expired", "Expired"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        db_default="pending",
                        max_length=16,
                    ),
                ),
                ("input", models.JSONField(null=True)),
                ("changed_input", models.JSONField(blank=True, null=True)),
                ("output", models.JSONField(blank=True, null=True)),
                ("error_text", models.TextField(blank=True, db_default="")),
                ("reason", models.TextField(blank=True, db_default="")),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="approvals",
                        to="chat.turn",
                    ),
                ),
            ],
            options={
                "db_table": "chat_tool_approvals",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["expires_at"],
                        name="chat_tool_approvals_expiry_idx",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("turn"),
                        django.db.models.functions.text.MD5(models.F("tool_call_id")),
                        name="chat_tool_approvals_call_key",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["approval", "output"])), name="chat_tool_approvals_kind_valid"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "approved", "denied", "answered", "expired", "withdrawn"])
                        ),
                        name="chat_tool_approvals_status_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("status", "pending")),
                            models.Q(models.Q(("status", "pending"), _negated=True), ("decided_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="chat_tool_approvals_decided",
                    ),
                ],
            },
        ),
        AddForeignKey("chat_tool_approvals", "turn_id", "chat_turns", "CASCADE"),
    ]
