"""The admin: the history as an operator reads it. Django's autodiscovery imports this package."""

from chat.admin.approvals import ToolApprovalAdmin
from chat.admin.attachments import AttachmentAdmin
from chat.admin.audit import TranscriptViewAdmin
from chat.admin.copilot import CopilotChatAdmin
from chat.admin.feedback import FeedbackAdmin
from chat.admin.login import AdminLogin
from chat.admin.messages import MessageAdmin
from chat.admin.shares import ShareAdmin
from chat.admin.threads import ThreadAdmin
from chat.admin.tokens import ApiTokenAdmin
from chat.admin.turns import TurnAdmin
from chat.admin.usage import TokenUsageAdmin

__all__ = [
    "AdminLogin",
    "ApiTokenAdmin",
    "AttachmentAdmin",
    "CopilotChatAdmin",
    "FeedbackAdmin",
    "MessageAdmin",
    "ShareAdmin",
    "ThreadAdmin",
    "TokenUsageAdmin",
    "ToolApprovalAdmin",
    "TranscriptViewAdmin",
    "TurnAdmin",
]
