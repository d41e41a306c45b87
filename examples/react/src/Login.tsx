import { useState } from "react";

import { token } from "./api";

/** Two ways in: the site's own session, or a bearer token (`manage.py create_token USERNAME`). */
export function Login({ done, problem }: { done: () => void; problem: string }) {
  const [value, setValue] = useState("");
  const here = encodeURIComponent(location.pathname);
  return (
    <main className="login">
      <h1>Durable chat in React</h1>
      <a className="button" href={`/login/?next=${here}`}>Log in with your account</a>
      <p>or</p>
      {problem && <p role="alert" className="problem">{problem}</p>}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          token.write(value.trim());
          done();
        }}
      >
        <label htmlFor="token">Bearer token</label>
        <input id="token" type="password" autoComplete="off" required value={value}
          onChange={(event) => setValue(event.target.value)} />
        <button type="submit">Use the token</button>
      </form>
    </main>
  );
}
