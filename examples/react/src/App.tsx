import { generateId, type UIMessage } from "ai";
import { useCallback, useEffect, useRef, useState } from "react";

import { listThreads, NotLoggedIn, readMessages, type Thread, token } from "./api";
import { AssistantUI } from "./AssistantUI";
import { Login } from "./Login";
import { Plain } from "./Plain";
import { Sidebar } from "./Sidebar";

const FRONT_ENDS = { plain: Plain, "assistant-ui": AssistantUI };
type FrontEnd = keyof typeof FRONT_ENDS;

/** The address says which front end shows which conversation: /#plain/<id>. */
function address(): { frontEnd: FrontEnd; id: string | undefined } {
  const [name, id] = location.hash.slice(1).split("/");
  return { frontEnd: name in FRONT_ENDS ? (name as FrontEnd) : "plain", id: id ? decodeURIComponent(id) : undefined };
}

/** Conversations that this page has made and nothing was sent in: the server does not know them. */
const unsent = new Set<string>();

export function App() {
  const [{ frontEnd, id }, setAddress] = useState(address);
  const pages = useRef(1); // of the list; what asks for it anew may have been made a render ago
  const [{ threads, older }, setList] = useState<{ threads: Thread[]; older: boolean }>({ threads: [], older: false });
  const [loggedIn, setLoggedIn] = useState(true);
  const [messages, setMessages] = useState<{ of: string; list: UIMessage[] }>();
  const [problem, setProblem] = useState("");

  const attempt = useCallback(async (work: () => Promise<void>) => {
    try {
      await work();
      setProblem("");
    } catch (error) {
      if (error instanceof NotLoggedIn) {
        setLoggedIn(false);
        if (token.read()) {
          token.forget();
          setProblem("This token is not known.");
        }
      } else setProblem((error as Error).message);
    }
  }, []);
  const refresh = useCallback(() => attempt(async () => {
    setList(await listThreads(pages.current));
    setLoggedIn(true);
  }), [attempt]);

  useEffect(() => {
    const follow = () => setAddress(address());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  useEffect(() => {
    if (id !== undefined) return;
    const made = generateId();
    unsent.add(made);
    location.replace(`#${frontEnd}/${made}`);
  }, [frontEnd, id]);
  useEffect(() => void refresh(), [refresh]);
  useEffect(() => {
    let current = true; // the other answer of a quick switch comes too late
    if (id) void attempt(async () => {
      const list = unsent.has(id) ? [] : await readMessages(id);
      if (current) setMessages({ of: `${frontEnd}/${id}`, list });
    });
    return () => void (current = false);
  }, [frontEnd, id, loggedIn, attempt]);

  if (!loggedIn) return <Login done={refresh} problem={problem} />;
  const Conversation = FRONT_ENDS[frontEnd];
  const ready = id !== undefined && messages?.of === `${frontEnd}/${id}`;
  return (
    <div className="app">
      <Sidebar threads={threads} current={id} frontEnd={frontEnd} changed={refresh} attempt={attempt}
        showOlder={older ? () => (pages.current++, void refresh()) : undefined} />
      <main>
        <header>
          <nav aria-label="Front end">
            {Object.keys(FRONT_ENDS).map((name) => (
              <a key={name} href={`#${name}/${id ?? ""}`} aria-current={name === frontEnd ? "page" : undefined}>
                {name === "plain" ? "useChat()" : name}
              </a>
            ))}
          </nav>
          {token.read() && (
            <button className="quiet" onClick={() => (token.forget(), location.reload())}>Forget the token</button>
          )}
        </header>
        {problem && <p role="alert" className="problem">{problem}</p>}
        {ready && <Conversation key={messages.of} id={id} initial={messages.list} changed={() => void refresh()}
          begun={() => unsent.delete(id)} />}
      </main>
    </div>
  );
}

export interface ConversationProps {
  id: string;
  initial: UIMessage[];
  changed: () => void;
  begun: () => void;
}

