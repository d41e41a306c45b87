import { getToolName, isToolUIPart, type UIMessage } from "ai";
import Markdown from "react-markdown";

interface Props {
  message: UIMessage;
  decide: (approvalId: string, approved: boolean) => void;
}

/** A message's parts: text as Markdown (react-markdown makes no HTML of its own), reasoning and tools folded. */
export function Parts({ message, decide }: Props) {
  return message.parts.map((part, place) => {
    if (part.type === "text") return <Markdown key={place}>{part.text}</Markdown>;
    if (part.type === "reasoning") {
      return <details key={place}><summary>Reasoning</summary>{part.text}</details>;
    }
    if (part.type === "source-url") {
      return <a key={place} href={part.url} target="_blank" rel="noreferrer noopener">{part.title ?? part.url}</a>;
    }
    if (!isToolUIPart(part)) return null;
    if (part.state === "approval-requested") {
      const { approval } = part;
      return (
        <div key={place} className="approval" role="group" aria-label={`Approve ${getToolName(part)}`}>
          <p>May <b>{getToolName(part)}</b> run with <code>{JSON.stringify(part.input)}</code>?</p>
          <button onClick={() => decide(approval.id, true)}>Approve</button>
          <button className="quiet" onClick={() => decide(approval.id, false)}>Deny</button>
        </div>
      );
    }
    return (
      <details key={place}>
        <summary>{getToolName(part)}: {part.state.replace("output-", "").replace("-", " ")}</summary>
        <pre>{JSON.stringify({ input: part.input, output: part.output ?? part.errorText }, null, 2)}</pre>
      </details>
    );
  });
}
