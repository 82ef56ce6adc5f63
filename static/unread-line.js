// Line above the messages that were unread when the chat was opened. It goes when the operator replies.
(() => {
  if (!document.getElementById("desk")) return;
  const byId = (id) => document.getElementById(id);
  let chat = null, before = null; // the chat, and the ID of its first new message

  const place = () => {
    const messages = byId("messages");
    messages?.querySelector(".unread-line")?.remove();
    const first = before && chat === byId("chat") && byId(before);
    if (!first) return null;
    const line = document.createElement("li");
    line.className = "unread-line";
    line.dataset.key = "unread";
    line.textContent = chat.dataset.newWords;
    first.before(line);
    return line;
  };
  // Show the line of a chat that was just opened. If the new messages do not fit, begin with the first.
  const show = (scroll) => {
    chat = byId("chat");
    const count = Number(chat.dataset.new || 0);
    const inbound = [...byId("messages").querySelectorAll(".msg[data-side='inbound']:not([hidden])")];
    before = count && !byId("messages").dataset.at ? (inbound.at(-count) || inbound[0])?.id : null;
    const line = place();
    if (line && line.offsetTop < scroll.scrollTop) scroll.scrollTop = line.offsetTop - scroll.clientHeight / 8;
  };
  addEventListener("okno:thread-drawn", ({ detail }) => {
    if (detail.hasOwn) before = null;
    place();
  });
  window.okno = Object.assign(window.okno || {}, { unreadLine: { show } });
})();
