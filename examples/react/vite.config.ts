import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Django stands behind the same address, as it does behind a proxy in production: the browser sends its session cookie,
// and an Origin that is the host's.
const django = process.env.DJANGO_URL ?? "http://127.0.0.1:8000";
const proxy = Object.fromEntries(
  ["/api", "/login", "/logout", "/static"].map((path) => [path, { target: django, changeOrigin: false }]),
);

export default defineConfig({ plugins: [react()], server: { proxy }, preview: { proxy } });
