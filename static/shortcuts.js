// Registry of keyboard shortcuts. A command has a title, and optionally keys: "J", "Shift+E", "Ctrl+K", "?", "/".
// Letters are physical keys (event.code), so they work in every keyboard layout. Keys without Ctrl never fire while
// the user types or while a chat opens, and can be turned off in the desk settings (WCAG 2.1.4).
(() => {
  const data = JSON.parse(document.getElementById("commands")?.textContent || "{}");
  const commands = new Map();
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
  const hasSingleKeys = () => document.getElementById("palette")?.dataset.singleKeys !== "off";

  // `when`: whether the command makes sense now. `also`: more words by which the palette finds it.
  const add = ({ name, keys = "", title, section = "chat", also = "", run, when = () => true }) => {
    commands.set(name || title, { name: name || title, keys, title, section, also, run, when });
  };
  // Give a command of the server's catalog its action.
  const define = (name, run, when = () => true) => {
    const command = data.commands?.find((one) => one.name === name);
    if (command) add({ ...command, run, when });
  };

  const isTyping = (target) => Boolean(target?.closest?.("input:not([type=checkbox], [type=radio], [type=button], [type=range]), textarea, select, [contenteditable]"));
  // The operator may type a reply before the chat is there to receive it.
  const isOpening = () => Boolean(document.querySelector("#desk.is-opening"));
  const isCovered = () => Boolean(document.querySelector("dialog[open], [aria-modal=true]:not([hidden])"));

  const matches = (keys, event) => {
    const parts = keys.split("+"), key = parts.pop();
    const isControl = event.ctrlKey || event.metaKey;
    if (event.altKey || parts.includes("Ctrl") !== isControl) return false;
    if (/^[A-Z]$/.test(key)) return event.code === `Key${key}` && parts.includes("Shift") === event.shiftKey;
    if (key === "?") return event.key === "?" || (event.code === "Slash" && event.shiftKey && event.key !== "/");
    if (key === "/") return event.key === "/" || (event.code === "Slash" && !event.shiftKey);
    return event.key === key && parts.includes("Shift") === event.shiftKey;
  };

  // The bubbling phase, so that fields and menus can handle a key first.
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.repeat && !/^Key[JK]$/.test(event.code)) return;
    const isControl = event.ctrlKey || event.metaKey;
    if (!isControl && event.key !== "Escape" && (!hasSingleKeys() || isTyping(event.target) || isOpening())) return;
    if (isCovered()) return;
    // Keys of selected chats come before the same keys of the open chat.
    const isForSelection = ({ section }) => section === "selection";
    for (const command of [...commands.values()].sort((a, b) => isForSelection(b) - isForSelection(a))) {
      if (!command.keys || !matches(command.keys, event) || !command.when(event)) continue;
      event.preventDefault();
      command.run(event);
      return;
    }
  });

  // Keys as shown to the user.
  const keyParts = (keys) => keys.split("+").map((key) => ({ Ctrl: isMac ? "⌘" : "Ctrl", Escape: "Esc" })[key] || key);
  const list = () => [...commands.values()];
  const sections = () => data.sections || {};

  window.okno = Object.assign(window.okno || {}, { shortcuts: { add, define, list, sections, keyParts, hasSingleKeys } });
})();
