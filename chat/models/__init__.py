from chat.models.approval import ApprovalKind, ApprovalStatus, ToolApproval
from chat.models.copilot import CopilotChat, CopilotMessage, ReconcileMode, ReconcileRun
from chat.models.message import Message, Role
from chat.models.quota import QuotaCounter
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
    "CopilotChat",
    "CopilotMessage",
    "Message",
    "QuotaCounter",
    "ReconcileMode",
    "ReconcileRun",
    "Role",
    "StreamEvents",
    "Thread",
    "TokenUsage",
    "ToolApproval",
    "Trigger",
    "Turn",
    "TurnStatus",
    "UsageSource",
]
