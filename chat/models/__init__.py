from chat.models.approval import ApprovalKind, ApprovalStatus, ToolApproval
from chat.models.attachment import Attachment
from chat.models.audit import TranscriptView
from chat.models.copilot import CopilotChat, CopilotMessage, ReconcileMode, ReconcileRun
from chat.models.feedback import Feedback, Rating
from chat.models.message import Message, Role
from chat.models.quota import QuotaCounter
from chat.models.search import SearchEntry
from chat.models.share import Share
from chat.models.stream import StreamEvents
from chat.models.thread import Thread
from chat.models.token import ApiToken
from chat.models.turn import BUSY, ENDED, Trigger, Turn, TurnStatus
from chat.models.usage import TokenUsage, UsageSource

__all__ = [
    "BUSY",
    "ENDED",
    "ApiToken",
    "ApprovalKind",
    "ApprovalStatus",
    "Attachment",
    "CopilotChat",
    "CopilotMessage",
    "Feedback",
    "Message",
    "QuotaCounter",
    "Rating",
    "ReconcileMode",
    "ReconcileRun",
    "Role",
    "SearchEntry",
    "Share",
    "StreamEvents",
    "Thread",
    "TokenUsage",
    "ToolApproval",
    "TranscriptView",
    "Trigger",
    "Turn",
    "TurnStatus",
    "UsageSource",
]
