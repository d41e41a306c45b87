import { deleteThread, isCalled, renameThread, type Thread } from "./api";

interface Props {
  threads: Thread[];
  current: string | undefined;
  frontEnd: string;
  changed: () => void;
  attempt: (work: () => Promise<void>) => Promise<void>;
  showOlder?: () => void;
}

export function Sidebar({ threads, current, frontEnd, changed, attempt, showOlder }: Props) {
  const rename = (thread: Thread) => attempt(async () => {
    const title = prompt("Title", thread.title)?.trim();
    if (!title) return;
    await renameThread(thread.id, title);
    changed();
  });
  const remove = (thread: Thread) => attempt(async () => {
    if (!confirm(`Delete “${thread.title}”?`)) return;
    await deleteThread(thread.id);
    if (isCalled(thread, current)) location.hash = frontEnd;
    changed();
  });
  return (
    <aside>
      <a className="button" href={`#${frontEnd}/`}>New thread</a>
      <ul aria-label="Threads">
        {threads.map((thread) => (
          <li key={thread.id}>
            <a href={`#${frontEnd}/${thread.id}`} aria-current={isCalled(thread, current) ? "page" : undefined}>
              {thread.title || "Untitled"}
            </a>
            <button className="quiet" aria-label={`Rename ${thread.title}`} onClick={() => rename(thread)}>✎</button>
            <button className="quiet" aria-label={`Delete ${thread.title}`} onClick={() => remove(thread)}>×</button>
          </li>
        ))}
      </ul>
      {showOlder && <button className="quiet" onClick={showOlder}>Older threads</button>}
    </aside>
  );
}
