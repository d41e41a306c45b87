import { type CreateUIMessage, useChat } from "@ai-sdk/react";
import {
  ActionBarPrimitive,
  type AppendMessage,
  AssistantRuntimeProvider,
  ComposerPrimitive,
  MessagePrimitive,
  type ReasoningMessagePartComponent,
  type TextMessagePartComponent,
  ThreadPrimitive,
  type ToolCallMessagePartComponent,
} from "@assistant-ui/react";
import { useAISDKRuntime } from "@assistant-ui/react-ai-sdk";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses, type UIMessage } from "ai";
import { useEffect, useMemo, useRef } from "react";
import Markdown from "react-markdown";

import { headers, stopTurn } from "./api";
import type { ConversationProps } from "./App";

/**
 * assistant-ui over the same useChat(). Two things are said to the server that it keeps to itself: which message an edit
 * takes the place of (it cuts the history and sends a new message), and that the stop button means the turn.
 */
export function AssistantUI({ id, initial, changed, begun }: ConversationProps) {
  const edited = useRef<string | undefined>(undefined);
  const transport = useMemo(() => new DefaultChatTransport<UIMessage>({
    headers,
    prepareSendMessagesRequest: ({ id, messages, trigger, messageId }) => {
      const body = { id, messages, trigger, messageId: messageId ?? edited.current };
      edited.current = undefined;
      return { body };
    },
  }), []);
  const chat = useChat({
    id,
    messages: initial,
    resume: true,
    transport,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    onFinish: changed,
  });
  const last = chat.messages.at(-1);
  useEffect(() => void (last && begun()), [last, begun]);
  const runtime = useAISDKRuntime({ ...chat, stop: async () => void (await stopTurn(id)) }, {
    toCreateMessage: <M extends UIMessage>(message: AppendMessage) => {
      edited.current = message.sourceId ?? undefined;
      const parts = message.content.filter((part) => part.type === "text").map(({ type, text }) => ({ type, text }));
      return { role: message.role, parts } as CreateUIMessage<M>;
    },
  });
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <ThreadPrimitive.Root className="conversation">
        <ThreadPrimitive.Viewport className="messages">
          <ThreadPrimitive.Messages components={{ UserMessage, AssistantMessage, EditComposer }} />
        </ThreadPrimitive.Viewport>
        {chat.error && <p role="alert" className="problem">{chat.error.message}</p>}
        <ComposerPrimitive.Root className="composer">
          <ComposerPrimitive.Input aria-label="Message" rows={2} submitMode="enter" />
          <ThreadPrimitive.If running={false}>
            <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
          </ThreadPrimitive.If>
          <ThreadPrimitive.If running>
            <ComposerPrimitive.Cancel>Stop</ComposerPrimitive.Cancel>
          </ThreadPrimitive.If>
        </ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

const Text: TextMessagePartComponent = ({ text }) => <Markdown>{text}</Markdown>;

const Reasoning: ReasoningMessagePartComponent = ({ text }) => (
  <details><summary>Reasoning</summary>{text}</details>
);

const Tool: ToolCallMessagePartComponent = ({ toolName, args, result, approval, respondToApproval }) =>
  approval && approval.approved === undefined && !approval.resolution ? (
    <div className="approval" role="group" aria-label={`Approve ${toolName}`}>
      <p>May <b>{toolName}</b> run with <code>{JSON.stringify(args)}</code>?</p>
      <button onClick={() => respondToApproval({ approved: true })}>Approve</button>
      <button className="quiet" onClick={() => respondToApproval({ approved: false })}>Deny</button>
    </div>
  ) : (
    <details>
      <summary>{toolName}</summary>
      <pre>{JSON.stringify({ input: args, output: result }, null, 2)}</pre>
    </details>
  );

const parts = { Text, Reasoning, tools: { Fallback: Tool } };

const UserMessage = () => (
  <MessagePrimitive.Root className="user" data-role="user">
    <MessagePrimitive.Parts components={parts} />
    <ActionBarPrimitive.Root hideWhenRunning>
      <ActionBarPrimitive.Edit className="quiet">Edit</ActionBarPrimitive.Edit>
    </ActionBarPrimitive.Root>
  </MessagePrimitive.Root>
);

const AssistantMessage = () => (
  <MessagePrimitive.Root className="assistant" data-role="assistant">
    <MessagePrimitive.Parts components={parts} />
    <MessagePrimitive.If last>
      <ActionBarPrimitive.Root hideWhenRunning>
        <ActionBarPrimitive.Reload className="quiet">Regenerate</ActionBarPrimitive.Reload>
      </ActionBarPrimitive.Root>
    </MessagePrimitive.If>
  </MessagePrimitive.Root>
);

const EditComposer = () => (
  <ComposerPrimitive.Root className="composer">
    <ComposerPrimitive.Input aria-label="Edit the message" rows={2} submitMode="enter" />
    <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
  </ComposerPrimitive.Root>
);
