// Unsent text, stored in this browser per user and chat. Survives reloads, crashes and sign-outs.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const KEPT_FOR = 30 * 24 * 3600e3; // milliseconds
  const PREFIX = "okno.kept.";
  const memory = new Map(); // fallback if localStorage is unavailable

  const nameOf = (kind, chat) => `${PREFIX}${desk.dataset.user}.${kind}.${chat}`;
  const read = (kind, chat) => {
    const name = nameOf(kind, chat);
    try {
      return JSON.parse(localStorage.getItem(name)) ?? null;
    } catch {
      return memory.get(name) ?? null;
    }
  };
  const write = (kind, chat, value) => {
    const name = nameOf(kind, chat);
    try {
      localStorage.setItem(name, JSON.stringify(value));
    } catch {
      memory.set(name, value);
    }
  };
  const remove = (kind, chat) => {
    const name = nameOf(kind, chat);
    memory.delete(name);
    try { localStorage.removeItem(name); } catch { /* nothing is stored */ }
  };

  const newKey = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // Remove expired entries of all users.
  try {
    for (const name of Object.keys(localStorage).filter((one) => one.startsWith(PREFIX))) {
      const kept = JSON.parse(localStorage.getItem(name));
      const at = Array.isArray(kept) ? Math.max(0, ...kept.map((one) => one.at)) : kept?.at;
      if (!(Date.now() - at < KEPT_FOR)) localStorage.removeItem(name);
    }
  } catch { /* not readable: nothing to tidy */ }

  window.okno = Object.assign(window.okno || {}, { kept: { read, write, remove, nameOf }, newKey });
})();
