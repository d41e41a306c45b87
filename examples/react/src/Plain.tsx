import { useChat } from "@ai-sdk/react";
import { lastAssistantMessageIsCompleteWithApprovalResponses, type UIMessage } from "ai";
import { type FormEvent, useEffect, useState } from "react";

import { stopTurn, transport } from "./api";
import type { ConversationProps } from "./App";
import { Parts } from "./Parts";

/** useChat() as it comes: its endpoint, its request, its resume. */
export function Plain({ id, initial, changed, begun }: ConversationProps) {
  const { messages, sendMessage, regenerate, status, error, addToolApprovalResponse } = useChat({
    id,
    messages: initial,
    resume: true,
    transport,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    onFinish: changed,
  });
  const [edited, setEdited] = useState<string>();
  const busy = status === "submitted" || status === "streaming";
  const last = messages.at(-1);
  useEffect(() => void (last && begun()), [last, begun]);
  return (
    <section className="conversation" aria-busy={busy}>
      <ol className="messages" aria-label="Messages" aria-live="polite">
        {messages.map((message) => (
          <li key={message.id} className={message.role} data-role={message.role}>
            {edited === message.id ? (
              <Composer
                label="Edit the message"
                text={textOf(message)}
                send={(text) => {
                  setEdited(undefined);
                  void sendMessage({ text, files: filesOf(message), messageId: message.id });
                }}
              />
            ) : (
              <Parts message={message} decide={(call, approved) => addToolApprovalResponse({ id: call, approved })} />
            )}
            {!busy && message.role === "user" && edited !== message.id && (
              <button className="quiet" onClick={() => setEdited(message.id)}>Edit</button>
            )}
            {!busy && message.role === "assistant" && message === last && (
              <button className="quiet" onClick={() => regenerate()}>Regenerate</button>
            )}
          </li>
        ))}
      </ol>
      {error && <p role="alert" className="problem">{error.message}</p>}
      <Composer
        label="Message"
        busy={busy}
        send={(text) => void sendMessage({ text })}
        stop={() => void stopTurn(id)}
      />
    </section>
  );
}

const textOf = (message: UIMessage) =>
  message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");

const filesOf = (message: UIMessage) => message.parts.filter((part) => part.type === "file");

interface ComposerProps {
  label: string;
  text?: string;
  busy?: boolean;
  send: (text: string) => void;
  stop?: () => void;
}

function Composer({ label, text = "", busy = false, send, stop }: ComposerProps) {
  const [value, setValue] = useState(text);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (busy || !value.trim()) return;
    send(value);
    setValue("");
  };
  return (
    <form className="composer" onSubmit={submit}>
      <textarea aria-label={label} rows={2} value={value} onChange={(event) => setValue(event.target.value)}
        onKeyDown={(event) =>
          event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing && submit(event)} />
      {busy ? <button type="button" onClick={stop}>Stop</button> : <button type="submit">Send</button>}
    </form>
  );
}
